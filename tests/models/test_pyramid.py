"""Rules without weights, by hand and against a pyramid written in NumPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch import Tensor

from fuse.models.average import Average, Maximum
from fuse.models.pyramid import Laplacian, expand, reduce

TAPS = np.array([1, 4, 6, 4, 1]) / 16


def row(*levels: float) -> Tensor:
    return torch.tensor(levels).view(1, 1, 1, -1)


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


def test_average_by_hand() -> None:
    assert Average()(row(0.1, 0.9), row(0.5, 0.5)).tolist() == [[[[0.5, 0.5]], [[0.5, 0.5]]]]
    weights = Average()(*[row(0.3, 0.4, 0.5)] * 3)
    assert weights.shape == (1, 3, 1, 3)
    assert torch.equal(weights, torch.full((1, 3, 1, 3), 1 / 3))


def test_maximum_by_hand_and_ties_go_to_the_first() -> None:
    weights = Maximum()(row(0.1, 0.9, 0.5, 0.2), row(0.3, 0.2, 0.5, 0.7), row(0.2, 0.1, 0.5, 0.7))
    assert weights[0, :, 0].tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]]


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
