"""Pyramids and what is chosen in them, against the same written in NumPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from fuse.models.pyramid import Contrast, Laplacian, blended, expand, gaussian_pyramid, reduce

TAPS = np.array([1, 4, 6, 4, 1]) / 16


def halved(picture: np.ndarray) -> np.ndarray:
    """Binomial blur with borders mirrored about the outermost pixel, every second sample."""
    blurred = correlate1d(correlate1d(picture, TAPS, 0, mode="mirror"), TAPS, 1, mode="mirror")
    return blurred[::2, ::2]


def doubled(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Between two samples their mean; on a sample 6/8 of it and 1/8 of each neighbour; edges repeated."""
    for axis, length in enumerate(shape):
        line = np.moveaxis(coarse, axis, 0)
        padded = np.concatenate([line[:1], line, line[-1:]])
        fine = np.empty((2 * len(line), *line.shape[1:]))
        fine[::2] = (padded[:-2] + 6 * padded[1:-1] + padded[2:]) / 8
        fine[1::2] = (padded[1:-1] + padded[2:]) / 2
        coarse = np.moveaxis(fine[:length], 0, axis)
    return coarse


def fused(pictures: list[np.ndarray], levels: int) -> np.ndarray:
    """Burt and Kolczynski's rule: largest magnitude of the details, mean of the base."""
    if levels == 0 or min(pictures[0].shape) <= 4:
        return np.mean(pictures, 0)
    coarse = [halved(x) for x in pictures]
    details = np.stack([x - doubled(c, x.shape) for x, c in zip(pictures, coarse, strict=True)])
    chosen = np.take_along_axis(details, np.abs(details).argmax(0)[None], 0)[0]
    return doubled(fused(coarse, levels - 1), pictures[0].shape) + chosen


@pytest.mark.parametrize("shape", [(16, 16), (17, 22), (5, 9), (6, 31)])
def test_reduce_and_expand_agree_with_numpy(shape: tuple[int, int]) -> None:
    picture = torch.rand(1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coarse = reduce(picture)
    assert np.allclose(coarse[0, 0], halved(picture[0, 0].numpy()), rtol=0, atol=1e-14)
    assert np.allclose(expand(coarse, *shape)[0, 0], doubled(coarse[0, 0].numpy(), shape), rtol=0, atol=1e-14)


def test_reduce_and_expand_keep_a_plane() -> None:
    flat = torch.full((1, 1, 12, 15), 0.3)
    torch.testing.assert_close(reduce(flat), torch.full((1, 1, 6, 8), 0.3))
    torch.testing.assert_close(expand(reduce(flat), 12, 15), flat)


def by_ratio(pictures: list[np.ndarray], levels: int) -> np.ndarray:
    """Of every level's ratios to what is expected from below the one farthest from 1; mean of the base."""
    if levels == 0 or min(pictures[0].shape) <= 4:
        return np.mean(pictures, 0)
    coarse = [halved(x) for x in pictures]
    ratios = np.stack([x / (doubled(c, x.shape) + 1e-3) for x, c in zip(pictures, coarse, strict=True)])
    chosen = np.take_along_axis(ratios, np.abs(ratios - 1).argmax(0)[None], 0)[0]
    return chosen * (doubled(by_ratio(coarse, levels - 1), pictures[0].shape) + 1e-3)


def mixed(pictures: list[np.ndarray], weights: list[np.ndarray], levels: int) -> np.ndarray:
    """Burt and Adelson's spline: at every level the details weighted by the weights as coarse as they are."""
    if levels == 0:
        return np.sum([w * x for w, x in zip(weights, pictures, strict=True)], 0)
    coarse = [halved(x) for x in pictures]
    details = [x - doubled(c, x.shape) for x, c in zip(pictures, coarse, strict=True)]
    below = mixed(coarse, [halved(w) for w in weights], levels - 1)
    return doubled(below, pictures[0].shape) + np.sum([w * d for w, d in zip(weights, details, strict=True)], 0)


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("count", [2, 3])
def test_contrast_agrees_with_numpy(levels: int, count: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    pictures = [torch.rand(1, 1, 37, 50, dtype=torch.float64, generator=generator) for _ in range(count)]
    ours = Contrast(levels)(*pictures)[0, 0].numpy()
    assert np.allclose(ours, by_ratio([x[0, 0].numpy() for x in pictures], levels), rtol=0, atol=1e-11)


def test_contrast_prefers_the_dark_line_to_the_faint_bright_one() -> None:
    dark, bright = torch.full((2, 1, 1, 32, 32), 0.5)
    dark[..., 16], bright[..., 16] = 0.1, 0.6
    assert Contrast(3)(dark, bright)[0, 0, 16, 16] < 0.15


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("shape", [(40, 48), (33, 41)])
def test_blending_agrees_with_numpy(levels: int, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(levels)
    pictures = [torch.rand(1, 3, *shape, dtype=torch.float64, generator=generator) for _ in range(3)]
    weights = torch.rand(1, 3, *shape, dtype=torch.float64, generator=generator)
    ours = blended(pictures, weights, levels)
    for channel in range(3):
        expected = mixed([x[0, channel].numpy() for x in pictures], list(weights[0].numpy()), levels)
        assert np.allclose(ours[0, channel], expected, rtol=0, atol=1e-13)


def test_a_pyramid_ends_where_it_is_told_to() -> None:
    sides = [x.shape[-1] for x in gaussian_pyramid(torch.rand(1, 1, 90, 33), 9)]
    assert sides == [33, 17, 9, 5, 3]
    assert [x.shape[-1] for x in gaussian_pyramid(torch.rand(1, 1, 90, 33), 9, smallest=1)] == [33, 17, 9, 5, 3, 2, 1]
    assert len(gaussian_pyramid(torch.rand(1, 1, 90, 33), 2)) == 3


@pytest.mark.parametrize("levels", [1, 3, 4])
@pytest.mark.parametrize("shape", [(48, 64), (37, 41), (9, 70)])
@pytest.mark.parametrize("count", [2, 3])
def test_the_pyramid_agrees_with_numpy(levels: int, shape: tuple[int, int], count: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    pictures = [torch.rand(1, 1, *shape, dtype=torch.float64, generator=generator) for _ in range(count)]
    ours = Laplacian(levels)(*pictures)[0, 0].numpy()
    assert np.allclose(ours, fused([x[0, 0].numpy() for x in pictures], levels), rtol=0, atol=1e-13)


def test_without_levels_it_is_the_mean() -> None:
    a, b = torch.rand(2, 1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Laplacian(0)(a, b), (a + b) / 2)
    tiny = [x[..., :4, :] for x in (a, b)]
    torch.testing.assert_close(Laplacian(4)(*tiny), (tiny[0] + tiny[1]) / 2)


def test_a_sharp_line_beside_a_blurred_one_wins() -> None:
    sharp = torch.zeros(1, 1, 32, 32)
    sharp[..., 16] = 1
    blurred = torch.full((1, 1, 32, 32), sharp.mean().item())
    result = Laplacian(4)(blurred, sharp)
    assert result[0, 0, 16, 16] > 0.95
    assert result[0, 0, 16, :12].max() < 0.1
