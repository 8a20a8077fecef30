"""What must hold for any picture: symmetry in the sources, worse with noise or blur, derivatives."""

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fuse.metrics import METRICS, measure
from fuse.metrics.structure import ssim_map

# ties go to one of the sources (viff, q_p), windows are compared in order (fmi), s is that of the first source (q_c)
ORDERED = ("viff", "q_p", "fmi_edge", "fmi_raw", "fmi_gradient", "fmi_dct", "fmi_w", "q_c")
SYMMETRIC = [n for n, m in METRICS.items() if m.uses == "sources" and n not in ORDERED and not n.startswith("ms_ssim")]
# one source, which F has lost something of: none of these may reward that
FAITHFUL = [
    *("mi", "nmi", "mse", "rmse", "psnr", "cc", "ssim", "mef_ssim", "q_s", "q_w", "q_e", "q_c", "q_y", "vif", "viff"),
    *("q_g", "epi", "q_cv", "q_cb", "q_m", "fmi_raw", "fmi_edge", "mi_body", "ssim_body", "vif_body", "q_g_body"),
]
ACTIVITY = ["sf", "ag", "ei"]
DIFFERENTIABLE = [
    *("mean", "sd", "sf", "ag", "ei", "mse", "rmse", "psnr", "cc", "scd", "ssim", "mef_ssim", "q_s", "q_w", "q_e"),
    *("q_c", "q_y", "vif", "viff", "q_g", "l_abf", "n_abf", "epi", "q_m", "q_sf", "brightness_shift", "ghost"),
    *("mse_ref", "rmse_ref", "psnr_ref", "ssim_ref", "psnr_inner"),
    *("sd_body", "scd_body", "ssim_body", "vif_body", "q_g_body"),
]


def smooth(side: int, seed: int, extra: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(1, 1, side + 2, side + 2 + extra, generator=generator, dtype=torch.float64)
    return functional.avg_pool2d(rough, 3, 1) * 255


@given(seed=st.integers(0, 10**6))
def test_ssim_is_symmetric_and_bounded(seed: int) -> None:
    x, y = smooth(15, seed), smooth(15, seed + 1)
    there, back = ssim_map(x, y)[0], ssim_map(y, x)[0]
    torch.testing.assert_close(there, back)
    assert float(there.abs().max()) <= 1 + 1e-12
    torch.testing.assert_close(ssim_map(x, x)[0], torch.ones_like(there))


def test_order_of_the_sources_does_not_matter() -> None:
    fused, a, b = (smooth(47, seed, extra=2).round() for seed in range(3))
    there, back = measure(fused, [a, b], names=SYMMETRIC), measure(fused, [b, a], names=SYMMETRIC)
    for name in SYMMETRIC:
        torch.testing.assert_close(there[name], back[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FAITHFUL)
@pytest.mark.parametrize("fault", ["noise", "blur"])
def test_worse_pictures_score_worse(name: str, fault: str) -> None:
    source = smooth(64, 7).round()
    grain = torch.randn(source.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    blurred = [functional.avg_pool2d(source, n, 1, n // 2, count_include_pad=False) for n in (1, 3, 7)]
    steps = blurred if fault == "blur" else [source + grain * deviation for deviation in (0, 4, 16)]
    if name == "epi" and fault == "blur":
        steps = steps[:2]  # a strong blur leaves of the finest edges only their sign
    scores = [METRICS[name].function(step.round().clamp(0, 255), [source, source]).item() for step in steps]
    assert scores == sorted(scores, reverse=METRICS[name].better > 0)
    assert scores[0] != scores[-1]


@pytest.mark.parametrize("name", ACTIVITY)
def test_noise_raises_and_blur_lowers_activity(name: str) -> None:
    source = smooth(40, 9)
    grain = torch.randn(source.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 5
    function = METRICS[name].function
    assert function(functional.avg_pool2d(source, 3, 1)) < function(source) < function(source + grain)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name: str) -> None:
    metric = METRICS[name]
    side = max(metric.min_side, 14)
    a, b = smooth(side, 1), smooth(side, 2)
    others = {"fused": (), "sources": ([a, b],), "reference": (a,)}[metric.uses]
    fused = ((a + b) / 2 + 0.1 * smooth(side, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: metric.function(x, *others), (fused,), fast_mode=True)


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, "ms_ssim"])
def test_derivatives_are_finite_beside_flat_areas(name: str) -> None:
    metric = METRICS[name]
    side = max(metric.min_side, 24)
    images = [smooth(side, seed) for seed in range(3)]
    for picture in images:
        picture[..., : side // 2] = 0
    fused, a, b = images
    fused.requires_grad_()
    others = {"fused": (), "sources": ([a, b],), "reference": (a,)}[metric.uses]
    metric.function(fused, *others).sum().backward()
    assert fused.grad is not None
    assert bool(torch.isfinite(fused.grad).all())
    assert bool((fused.grad != 0).any())


def test_ssim_map_in_float32() -> None:
    x, y = smooth(30, 1), smooth(30, 2)
    exact = ssim_map(x, y)
    for scale in (1.0, 255.0):
        single = ssim_map((x / scale).float(), (y / scale).float(), data_range=255.0 / scale)
        for ours, theirs in zip(single, exact, strict=True):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours.double(), theirs, atol=2e-4, rtol=0)


def test_ssim_map_takes_each_channel_for_itself() -> None:
    x, y = torch.cat([smooth(14, 1), smooth(14, 2)], 1), torch.cat([smooth(14, 3), smooth(14, 4)], 1)
    both = ssim_map(x, y)[0]
    for channel in range(2):
        one = slice(channel, channel + 1)
        torch.testing.assert_close(both[:, one], ssim_map(x[:, one], y[:, one])[0])
