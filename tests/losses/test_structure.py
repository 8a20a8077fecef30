"""Terms of local structure against NumPy, SciPy and the metrics; `test_terms.py` holds SSIM against scikit-image."""

from functools import partial

import numpy as np
import pytest
import torch
from made import Term, agrees_with_differences, falls, pictures, sample_of, survives_flat_pictures
from scipy.ndimage import gaussian_filter
from torch import Tensor

from fuse.losses import importance, structure, terms
from fuse.metrics import ms_ssim

TERMS: dict[str, Term] = {
    "role": partial(structure.to_role, role="ir"),
    "contrast": partial(structure.to_role, role="ir", luminance=False, window=5),
    "maximum": structure.to_maximum,
    "sources": partial(structure.to_sources, importance=importance.histogram_contrast),
    "multiscale": partial(structure.multiscale_to_role, role="ir", normalised=True),
    "multiscale_sources": structure.multiscale_to_sources,
    "multiscale_mixture": partial(structure.multiscale_to_mixture, importance=importance.equal, normalised=True),
    "blend": structure.blend_to_sources,
}


def gauss(side: int) -> np.ndarray:
    """Window of sigma 1.5 and sum 1."""
    taps = np.exp(-((np.arange(side) - (side - 1) / 2) ** 2) / 4.5)
    return np.outer(taps, taps) / taps.sum() ** 2


def alike(first: Tensor, second: Tensor, data_range: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure factor at the valid places, in plain NumPy."""
    x, y, local = first.numpy(), second.numpy(), partial(windowed, window=gauss(side))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = local(x), local(y)
    cs = (2 * (local(x * y) - mx * my) + c2) / (local(x * x) - mx**2 + local(y * y) - my**2 + c2)
    return cs * (2 * mx * my + c1) / (mx**2 + my**2 + c1), cs


def windowed(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Sums under a window, valid places."""
    views = np.lib.stride_tricks.sliding_window_view(values, window.shape, (-2, -1))
    return (views * window).sum((-1, -2))


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("window", [5, 11])
def test_ssim_agrees_with_numpy(data_range: float, window: int) -> None:
    fused, ir, vi = (x * data_range for x in pictures(3, 16, 21, channels=2))
    fused, sample = 0.7 * ir + 0.3 * fused, sample_of(ir, vi)
    settings = {"data_range": data_range, "window": window}
    one = 1 - alike(fused, ir, data_range, window)[0].mean()
    assert structure.to_role(fused, sample, "ir", **settings).item() == pytest.approx(one, rel=1e-9)
    most = 1 - alike(fused, torch.maximum(ir, vi), data_range, window)[0].mean()
    assert structure.to_maximum(fused, sample, **settings).item() == pytest.approx(most, rel=1e-9)
    shares = importance.gradient_share(sample).numpy()
    both = sum(
        np.mean(w * (1 - alike(fused, x, data_range, window)[0])) for w, x in zip(shares, sample.sources, strict=True)
    )
    ours = structure.to_sources(fused, sample, importance.gradient_share, **settings)
    assert ours.item() == pytest.approx(both, rel=1e-9)


def test_maps_of_weights_count_at_the_centres_of_the_windows() -> None:
    fused, ir, vi = pictures(3, 16, 21)
    sample = sample_of(ir, vi)
    weights = importance.histogram_contrast(sample).numpy()[..., 5:-5, 5:-5]
    expected = sum(np.mean(w * (1 - alike(fused, x, 1.0, 11)[0])) for w, x in zip(weights, (ir, vi), strict=True))
    ours = structure.to_sources(fused, sample, importance.histogram_contrast)
    assert ours.item() == pytest.approx(expected, rel=1e-9)


def test_the_terms_of_the_readers_path_are_special_cases() -> None:
    fused, ir = pictures(2)
    sample = sample_of(ir)
    assert structure.to_role(fused, sample, "ir", 2.0).item() == terms.ssim(fused, sample, "ir", 2.0).item()
    plain = structure.to_role(fused, sample, "ir", luminance=False)
    assert plain.item() == terms.structure(fused, sample, "ir").item()
    assert structure.to_sources(fused, sample).item() == pytest.approx(structure.to_role(fused, sample, "ir").item())


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_multiscale_ssim_is_the_metric_where_that_is_defined(data_range: float) -> None:
    fused, ir, vi = pictures(3, 176, 177)
    fused = 0.5 * ir + 0.4 * vi + 0.1 * fused  # something in common with both
    expected = ms_ssim(fused * 255, [ir * 255]).mean().item()
    sample = sample_of(ir * data_range, vi * data_range)
    ours = structure.multiscale_to_role(fused * data_range, sample, "ir", data_range)
    assert ours.item() == pytest.approx(1 - expected, rel=1e-9)
    both = ms_ssim(fused * 255, [ir * 255, vi * 255]).mean().item()
    ours = structure.multiscale_to_sources(fused * data_range, sample, data_range=data_range)
    assert ours.item() == pytest.approx(1 - both, rel=1e-9)


def test_normalised_multiscale_ssim_by_its_scales() -> None:
    fused, ir = pictures(2, 64, 80)
    x, y, expected = fused, ir, np.ones(2)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        whole, contrast = alike(x, y, 1.0, min(11, x.shape[2]))
        expected = expected * (((whole if scale == 4 else contrast).mean((1, 2, 3)) + 1) / 2) ** weight
        if scale < 4:
            x, y = ((v[..., ::2, ::2] + v[..., 1::2, ::2] + v[..., ::2, 1::2] + v[..., 1::2, 1::2]) / 4 for v in (x, y))
    ours = structure.multiscale_to_role(fused, sample_of(ir), "ir", normalised=True)
    assert ours.item() == pytest.approx(1 - expected.mean(), rel=1e-9)


def test_pictures_with_nothing_in_common_still_teach_when_normalised() -> None:
    ir, other = pictures(2, 32, 32)
    fused, sample = 0.8 * (1 - ir) + 0.2 * other, sample_of(ir)
    term = partial(structure.multiscale_to_role, role="ir", data_range=0.01)
    assert not falls(term, fused, sample)
    assert falls(partial(term, normalised=True), fused, sample)


def test_the_blend_against_scipy() -> None:
    fused, ir, vi = pictures(3, 20, 24)
    expected = 0.0
    for y in (ir.numpy(), vi.numpy()):
        x, product = fused.numpy(), np.ones((2, 1, 20, 24))
        for sigma in (0.5, 1, 2, 4, 8):
            blur = partial(gaussian_filter, sigma=sigma, mode="constant", axes=(2, 3), radius=16)
            mx, my = blur(x), blur(y)
            product = product * (2 * (blur(x * y) - mx * my) + 9e-4)
            product = product / (blur(x * x) - mx**2 + blur(y * y) - my**2 + 9e-4)
        product = product * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        expected += 0.5 * np.mean(200 * (0.025 * (1 - product) + 0.975 * blur(np.abs(x - y))))
    assert structure.blend_to_sources(fused, sample_of(ir, vi)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["role", "maximum", "sources", "multiscale", "multiscale_sources", "blend"])
@pytest.mark.parametrize("scale", [2.0, 255.0])
def test_with_its_data_range_the_scale_does_not_matter(name: str, scale: float) -> None:
    fused, ir, vi = pictures(3, 32, 32)
    term = TERMS[name]
    plain = term(fused, sample_of(ir, vi)).item()
    scaled = sample_of(scale * ir, scale * vi)
    span = {"importance": partial(importance.histogram_contrast, span=[0, scale])} if name == "sources" else {}
    assert partial(term, data_range=scale, **span)(scale * fused, scaled).item() == pytest.approx(plain, rel=1e-9)
    assert partial(term, **span)(scale * fused, scaled).item() != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("name", TERMS)
def test_equal_pictures_cost_nothing(name: str) -> None:
    ir = pictures(1, 32, 32)[0]
    assert TERMS[name](ir, sample_of(ir, ir)).item() == pytest.approx(0, abs=1e-9)
    assert TERMS[name](1 - ir, sample_of(ir, ir)).item() > 0.1


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    fused, ir, vi = (x[:1, :, :11, :12].contiguous() for x in pictures(3))
    assert agrees_with_differences(TERMS[name], 0.5 * ir + 0.5 * fused, sample_of(ir, vi))
    assert falls(TERMS[name], 0.5 * ir + 0.5 * fused, sample_of(ir, vi), 1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_numbers_on_flat_pictures(name: str) -> None:
    assert survives_flat_pictures(TERMS[name])
