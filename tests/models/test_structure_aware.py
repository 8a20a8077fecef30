"""Structure-aware fusion: its recursion step by step, the method for two sources in plain NumPy."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from fuse.models.structure import Structure, domain_filter, recursion


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def swept(x: np.ndarray, steps: np.ndarray, spatial: float, range_: float) -> np.ndarray:
    """Gastal and Oliveira's recursive filter along the rows of `x`: to the right, then back."""
    kept = np.exp(-math.sqrt(2) / spatial) ** (1 + spatial / range_ * steps)
    y = x.copy()
    for k in range(1, x.shape[1]):
        y[:, k] += kept[:, k - 1] * (y[:, k - 1] - y[:, k])
    for k in range(x.shape[1] - 2, -1, -1):
        y[:, k] += kept[:, k] * (y[:, k + 1] - y[:, k])
    return y


def smoothed(guides: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    across = np.mean([np.abs(np.diff(g, axis=1)) for g in guides], 0)
    down = np.mean([np.abs(np.diff(g, axis=0)) for g in guides], 0)
    return swept(swept(x, across, 10.0, 0.2).T, down.T, 10.0, 0.2).T


@pytest.mark.parametrize("length", [1, 2, 7, 64, 65])
def test_the_recursion_agrees_with_its_definition(length: int) -> None:
    x, kept = noise(2, 3, 4, length), noise(2, 1, 4, length, seed=1)
    kept[..., 0] = 0
    expected = x.clone()
    for k in range(1, length):
        expected[..., k] = (1 - kept[..., k]) * x[..., k] + kept[..., k] * expected[..., k - 1]
    torch.testing.assert_close(recursion(kept, x, -1), expected)
    turned = recursion(kept.mT, x.mT, -2)
    torch.testing.assert_close(turned, expected.mT)


def test_the_edge_aware_filter_agrees_with_numpy() -> None:
    guides, x = 0.1 * noise(1, 2, 20, 33), noise(1, 1, 20, 33, seed=1)
    expected = smoothed(list(guides[0].numpy()), x[0, 0].numpy())
    assert np.allclose(domain_filter(guides, x, 10.0, 0.2)[0, 0], expected, rtol=0, atol=1e-12)


def test_a_flat_stays_flat_and_an_edge_of_the_guide_stops_it() -> None:
    guide = torch.zeros(1, 1, 8, 60, dtype=torch.float64)
    guide[..., 30:] = 1
    flat = torch.full_like(guide, 0.7)
    torch.testing.assert_close(domain_filter(guide, flat, 10.0, 0.2), flat)
    torch.testing.assert_close(domain_filter(guide, guide, 10.0, 0.2), guide, rtol=0, atol=1e-2)
    assert domain_filter(torch.zeros_like(guide), guide, 10.0, 0.2)[0, 0, 4, 29] > 0.3


def structure_map(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Weight of the near picture, after Li et al., the edges of both guiding."""

    def box(picture: np.ndarray) -> np.ndarray:
        inside = uniform_filter(np.ones_like(picture), 7, mode="constant")
        return uniform_filter(picture, 7, mode="constant") / inside

    def structure(x: np.ndarray) -> np.ndarray:
        slope = (box(x * x) - box(x) ** 2) / (box(x * x) - box(x) ** 2 + 0.01)
        smooth = box(slope) * x + box(box(x) - slope * box(x))
        across = np.abs(np.diff(smooth, axis=1, append=smooth[:, -1:]))
        return box(across + np.abs(np.diff(smooth, axis=0, append=smooth[-1:])))

    chosen = (structure(near) > structure(far)).astype(float)
    for _ in range(3):
        chosen = smoothed([near, far], (chosen > 0.5).astype(float))
    return chosen


def test_the_map_of_two_sources_agrees_with_numpy() -> None:
    near, far = 0.2 * noise(2, 1, 1, 48, 50)
    expected = structure_map(near[0, 0].numpy(), far[0, 0].numpy())
    assert 0.3 < expected.mean() < 0.7
    weights = Structure()(near, far)
    assert np.allclose(weights[0], np.stack([expected, 1 - expected]), rtol=0, atol=1e-10)


def test_the_sharp_halves_are_found() -> None:
    near, far = noise(2, 1, 1, 48, 50)
    near[..., 25:], far[..., :25] = 0.5, 0.5
    weights = Structure()(near, far)
    assert weights[0, 0, :, :15].min() > 0.99
    assert weights[0, 1, :, 35:].min() > 0.99
