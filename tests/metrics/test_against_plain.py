"""Every metric equals its plain NumPy, SciPy or scikit-image evaluation on made pictures of odd and even sizes."""

import numpy as np
import pytest
import torch
from plain_table import PLAIN
from scipy import ndimage
from torch import Tensor

from fuse.metrics import METRICS


def texture(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    rough = sum(ndimage.gaussian_filter(generator.normal(size=(height, width)), s) * s for s in (0.8, 2, 5))
    return (rough - rough.min()) / np.ptp(rough) * 255


def made_pair(height: int, width: int) -> list[np.ndarray]:
    """Fused and two sources: one blurred and veiled, one darker, then averaged with noise; whole levels."""
    generator = np.random.default_rng(height)
    scene, veil = texture(generator, height, width), texture(generator, height, width)
    a, b = ndimage.gaussian_filter(scene, 1) + 0.3 * veil, 0.7 * scene + 20
    fused = (a + b) / 2 + generator.normal(size=a.shape) * 3
    return [np.round(x).clip(0, 255) for x in (fused, a, b)]


def tensors(arrays: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(x)[None, None] for x in arrays]


def test_the_plain_table_is_complete() -> None:
    worst = {name for name in METRICS if name.endswith(("_min", "_max"))}
    reference = {name for name, metric in METRICS.items() if metric.uses == "reference"}
    assert set(PLAIN) == set(METRICS) - worst - reference


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("size", [(61, 58), (48, 73)])
def test_equals_plain(name: str, size: tuple[int, int]) -> None:
    if name == "ms_ssim":
        size = (size[0] + 128, size[1] + 128)
    metric, arrays = METRICS[name], made_pair(*size)
    fused, *sources = tensors(arrays)
    ours = metric.function(fused) if metric.uses == "fused" else metric.function(fused, sources)
    theirs = PLAIN[name](*arrays[: 1 if metric.uses == "fused" else 3])
    assert ours.item() == pytest.approx(theirs, rel=1e-9)


WORST = [name for name in METRICS if name.endswith(("_min", "_max")) and name != "scd_min"]  # which needs both sources


@pytest.mark.parametrize("name", WORST)
def test_worst_source_is_the_worst_of_the_single_ones(name: str) -> None:
    size = 180 if "ms_ssim" in name else 50
    fused, *sources = tensors(made_pair(size, size))
    plain, word = name.rsplit("_", 1)
    singles = [METRICS[plain].function(fused, [source]).item() for source in sources]
    assert METRICS[name].function(fused, sources).item() == pytest.approx(
        {"min": min, "max": max}[word](singles), rel=1e-9
    )


def test_reference_forms_are_those_of_one_source() -> None:
    fused, reference, _ = tensors(made_pair(40, 44))
    for name in ("mse", "rmse", "psnr", "ssim"):
        expected = METRICS[name].function(fused, [reference])
        assert torch.equal(METRICS[f"{name}_ref"].function(fused, reference), expected)
    inner = METRICS["psnr"].function(fused[..., 8:-8, 8:-8], [reference[..., 8:-8, 8:-8]])
    assert torch.equal(METRICS["psnr_inner"].function(fused, reference), inner)
