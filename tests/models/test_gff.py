"""Guided filter fusion against its formulas written with SciPy."""

import numpy as np
import torch
from scipy.ndimage import correlate, laplace, uniform_filter
from torch import Tensor

from fuse.models.gff import Gff, refined

LUMA = np.array([0.299, 0.587, 0.114])


def box(picture: np.ndarray, radius: int) -> np.ndarray:
    inside = uniform_filter(np.ones_like(picture), 2 * radius + 1, mode="constant")
    return uniform_filter(picture, 2 * radius + 1, mode="constant") / inside


def guided(guide: np.ndarray, x: np.ndarray, radius: int, eps: float) -> np.ndarray:
    centre, level = box(guide, radius), box(x, radius)
    slope = (box(guide * x, radius) - centre * level) / (box(guide**2, radius) - centre**2 + eps)
    return box(slope, radius) * guide + box(level - slope * centre, radius)


def plain(sources: list[np.ndarray]) -> np.ndarray:
    """Li, Kang and Hu's method for pictures (3, h, w)."""
    grey = [np.tensordot(LUMA, x, 1) for x in sources]
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 50)
    salient = [correlate(np.abs(laplace(x, mode="nearest")), window / window.sum(), mode="nearest") for x in grey]
    first = np.argmax(salient, 0)
    fused = np.zeros_like(sources[0])
    for radius, eps, part in ((45, 0.3, 0), (7, 1e-6, 1)):
        maps = [guided(x, (first == i).astype(float), radius, eps).clip(0) for i, x in enumerate(grey)]
        for source, weight in zip(sources, maps, strict=True):
            base = np.stack([box(channel, 15) for channel in source])
            fused += weight / np.sum(maps, 0) * (source - base if part else base)
    return fused


def test_it_agrees_with_scipy() -> None:
    sources = torch.rand(3, 1, 3, 60, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = Gff()(*sources)[0].numpy()
    assert np.allclose(ours, plain([x[0].numpy() for x in sources]), rtol=0, atol=1e-9)


def test_weights_sum_to_one_even_where_the_filter_leaves_nothing() -> None:
    chosen = torch.zeros(1, 3, 9, 9)
    torch.testing.assert_close(refined(chosen, torch.rand(1, 3, 9, 9), 2, 0.1), torch.full((1, 3, 9, 9), 1 / 3))


def half_blurred() -> tuple[Tensor, Tensor, Tensor]:
    sharp = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    near, far = sharp.clone(), sharp.clone()
    near[..., 48:], far[..., :48] = soft[..., 48:], soft[..., :48]
    return sharp, near, far


def test_the_sharp_halves_are_found() -> None:
    sharp, near, far = half_blurred()
    error = (Gff()(near, far) - sharp).abs()
    assert error[..., :24].max() < 0.01  # beyond 20 pixels from the seam only the blurred base can be mixed
    assert error[..., 72:].max() < 0.01
    assert error.mean() < 0.15 * (near - sharp).abs().mean()
