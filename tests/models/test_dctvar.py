"""Variance of blocks: against the DCT, and the vote against SciPy."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import uniform_filter
from torch import Tensor

from fuse.models.dctvar import DctVar


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_dct(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """1 where the near picture is taken: level shift, 8x8 DCT over 8, squares of the AC; means of 7x7, twice."""
    rows, columns = near.shape[0] // 8, near.shape[1] // 8
    votes = np.empty((rows, columns))
    for y in range(rows):
        for x in range(columns):
            square = np.s_[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
            variances = []
            for picture in (near, far):
                coefficients = dctn(255 * picture[square] - 128, norm="ortho") / 8
                variances.append((coefficients**2).sum() - coefficients[0, 0] ** 2)
            votes[y, x] = 1 if variances[0] > variances[1] else -1
    for _ in range(2):
        votes = uniform_filter(votes, 7, mode="mirror")
    return np.kron(votes > 0, np.ones((8, 8)))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_agrees_with_the_dct(seed: int) -> None:
    near, far = noise(2, 1, 1, 80, 96, seed=seed)
    near[..., 40:] *= 0.95
    far[..., :40] *= 0.95
    expected = by_dct(near[0, 0].numpy(), far[0, 0].numpy())
    assert 0.1 < expected.mean() < 0.9
    weights = DctVar()(near, far)[0].numpy()
    assert np.array_equal(weights, np.stack([expected, 1 - expected]))


def test_what_is_beyond_the_last_block_is_judged_with_its_edge_repeated() -> None:
    near, far = noise(2, 1, 1, 61, 45)
    whole = [torch.nn.functional.pad(x, [0, 3, 0, 3], mode="replicate") for x in (near, far)]
    assert torch.equal(DctVar()(near, far), DctVar()(*whole)[..., :61, :45])


def test_a_single_block_is_outvoted() -> None:
    far, near = 0.5 * noise(1, 1, 80, 80), noise(1, 1, 80, 80)
    near[..., 32:40, 32:40] = 0.5
    assert DctVar()(near, far)[0, 0].min() == 1


def test_it_sees_no_farther_than_its_margin() -> None:
    same = noise(1, 1, 160, 160)
    assert (DctVar()(same, same) == 0.5).all()
    farthest = 0
    for place in (72, 79):
        other = same.clone()
        other[..., place, place] += 3
        decided = (DctVar()(same, other)[0, 1] == 1).nonzero()
        farthest = max(farthest, int((decided - place).abs().max()))
    assert farthest == DctVar.margin
