"""Metrics as loss terms: which can be, in which direction, on which levels."""

import re
from functools import partial

import pytest
import torch
from made import pictures, sample_of
from torch import Tensor
from torch.nn import functional as F

from fuse.config import construct
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.metric import STEPPED, levels, metric, of, usable
from fuse.metrics import METRICS, measure

PLAIN = [name for name in METRICS if not name.endswith(("_min", "_max"))]
SMOOTH = [name for name in PLAIN if name not in STEPPED and METRICS[name].better is not None]


def scene(name: str, seed: int = 0) -> tuple[Tensor, Sample]:
    """A pair of pictures with structure and noise, and a fused one that is not the best."""
    side = max(METRICS[name].min_side + 1, 41)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(3, 2, 1, 8, 8, generator=generator, dtype=torch.float64)
    ir, vi, noise = (F.interpolate(x, (side, side), mode="bicubic").clamp(0, 1) for x in coarse)
    grain = 0.1 * torch.rand(2, 2, 1, side, side, generator=generator, dtype=torch.float64)
    ir, vi = 0.1 + 0.7 * ir + grain[0], 0.1 + 0.7 * vi + grain[1]
    fused = 0.5 * ir + 0.3 * vi + 0.1 * noise
    if name == "ghost":  # a double contour, or there is nothing to see
        fused = 0.5 * ir + 0.5 * ir.roll(4, -1)
    return fused, sample_of(ir, vi, reference=ir)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_loss_is_the_metric_in_its_direction(name: str) -> None:
    fused, sample = scene(name)
    sources = [255 * x for x in sample.sources]
    value = measure(255 * fused, sources, 255 * sample.sources[0], [name])[name]
    better = METRICS[name].better
    expected = value.abs() if better == 0 else -better * value
    assert metric(fused, sample, name).item() == pytest.approx(expected.mean().item(), rel=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_is_that_of_finite_differences_and_not_zero(name: str) -> None:
    fused, sample = scene(name)
    start = fused.clone().requires_grad_()
    (slope,) = torch.autograd.grad(metric(start, sample, name), start)
    direction = slope.sign() * torch.rand(slope.shape, generator=torch.Generator().manual_seed(1), dtype=slope.dtype)
    step = 1e-7
    ends = [metric(fused + sign * step * direction, sample, name) for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * step)
    assert (slope * direction).sum().item() == pytest.approx(difference.item(), rel=2e-3)
    assert difference > 0


@pytest.mark.parametrize("name", sorted(STEPPED))
def test_metrics_that_count_levels_have_no_gradient_and_are_refused(name: str) -> None:
    fused, sample = scene(name)
    start = levels(fused, (0, 1)).requires_grad_()
    value = of(METRICS[name], start, [levels(x, (0, 1)) for x in sample.sources]).sum()
    slope = torch.autograd.grad(value, start)[0] if value.requires_grad else torch.zeros(())
    assert slope.abs().max() == 0
    worst = {f"{name}_{word}" for word in ("min", "max")} & set(METRICS)
    for refused in (name, *worst):
        with pytest.raises(InputError, match=f"metric '{refused}' has no gradient"):
            usable(refused)


def test_every_metric_is_known_as_smooth_or_not() -> None:
    assert set(METRICS) >= STEPPED
    assert set(SMOOTH) | STEPPED | {"mean"} == set(PLAIN)
    assert metric.__doc__ is not None
    assert set(re.findall(r"\w+", metric.__doc__)) >= STEPPED


@pytest.mark.parametrize("low", [-1.0, 0.0])
@pytest.mark.parametrize("high", [1.0, 255.0])
def test_levels_come_from_the_range_of_the_recipe(low: float, high: float) -> None:
    fused, sample = scene("psnr")
    sources = tuple(low + (high - low) * x for x in sample.sources)
    ours = metric(low + (high - low) * fused, sample._replace(sources=sources), "psnr", [low, high])
    assert ours.item() == pytest.approx(metric(fused, sample, "psnr").item(), rel=1e-9)


def test_what_cannot_be_a_loss_is_refused() -> None:
    fused, sample = scene("q_g")
    with pytest.raises(InputError, match="no metric 'q_q'; did you mean"):
        metric(fused, sample, "q_q")
    with pytest.raises(InputError, match="'mean' is neither better high nor low"):
        metric(fused, sample, "mean")
    with pytest.raises(InputError, match="'ms_ssim' needs patches of 176 pixels, not 41"):
        metric(fused, sample, "ms_ssim")
    with pytest.raises(InputError, match="role 'reference' is not in this data"):
        metric(fused, sample._replace(reference=None), "psnr_ref")


def test_a_reference_can_have_another_name() -> None:
    fused, sample = scene("psnr_ref")
    assert metric(fused, sample, "psnr_ref", role="vi") != metric(fused, sample, "psnr_ref", role="ir")


@pytest.mark.parametrize("name", ["cc", "scd", "psnr"])
def test_pictures_for_which_the_metric_is_undefined_are_left_out(name: str) -> None:
    fused, sample = scene(name)
    flat = [torch.cat([x, torch.full_like(x[:1], 0.5)]) for x in (fused, *sample.sources)]
    alone = metric(fused, sample, name)
    start = flat[0].clone().requires_grad_()
    value = metric(start, sample_of(*flat[1:]), name)
    value.backward()
    assert value.item() == pytest.approx(alone.item(), rel=1e-12)
    assert torch.isfinite(start.grad).all()
    assert start.grad[:2].abs().min() > 0
    nothing = torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
    value = metric(nothing, sample_of(nothing.detach(), nothing.detach()), name)
    value.backward()
    assert value.item() == 0
    assert nothing.grad.abs().max() == 0


def test_channels_are_pictures_and_the_result_has_the_precision_of_the_pictures() -> None:
    fused, ir, vi = (x.float() for x in pictures(3, 24, 24, channels=3))
    ours = metric(fused, sample_of(ir, vi), "q_g")
    assert ours.dtype == torch.float32
    apart = [metric(fused[:, i : i + 1], sample_of(ir[:, i : i + 1], vi[:, i : i + 1]), "q_g") for i in range(3)]
    assert ours.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-5)


def test_a_recipe_names_it() -> None:
    term = construct({"_target_": "fuse.losses.metric.metric", "name": "ssim", "span": [0, 255]})
    fused, sample = scene("ssim")
    assert term(fused, sample).item() == partial(metric, name="ssim", span=[0, 255])(fused, sample).item()
