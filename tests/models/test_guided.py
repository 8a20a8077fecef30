"""Box sums and the guided filter against SciPy's windows and a least-squares fit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor

from fuse.models.guided import box_mean, box_sum, guided_filter


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def counted_mean(picture: np.ndarray, radius: int) -> np.ndarray:
    """Mean over the pixels of the window that exist, by SciPy: zeros outside, divided by the share that is inside."""
    size = 2 * radius + 1
    inside = uniform_filter(np.ones_like(picture), size, mode="constant")
    return uniform_filter(picture, size, mode="constant") / inside


@given(size=st.integers(1, 40), seed=st.integers(0, 9))
def test_box_sums_of_integers_are_exact(size: int, seed: int) -> None:
    x = (noise(2, 40, 43, seed=seed) * 256).floor()
    windows = x.unfold(-2, size, 1).unfold(-2, size, 1)
    assert torch.equal(box_sum(x, size), windows.sum((-1, -2)))


def test_box_sum_by_hand() -> None:
    assert box_sum(torch.tensor([[1.0, 2, 3], [4, 5, 6]])[None, None], 2).tolist() == [[[[12.0, 16.0]]]]


def test_equal_windows_have_equal_sums_wherever_they_lie() -> None:
    x = noise(1, 1, 50, 50).float()
    assert torch.equal(box_sum(x, 11)[..., 7:, 9:], box_sum(x[..., 7:, 9:], 11))


@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_box_mean_agrees_with_scipy(radius: int) -> None:
    x = noise(2, 3, 17, 24)
    ours = box_mean(x, radius)
    for picture, expected in zip(ours.flatten(0, 1), x.flatten(0, 1), strict=True):
        assert np.allclose(picture, counted_mean(expected.numpy(), radius), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("radius", "eps"), [(1, 0.1), (4, 1e-6), (7, 0.3)])
def test_the_guided_filter_agrees_with_its_formula(radius: int, eps: float) -> None:
    guide, x = noise(2, 1, 20, 33), noise(2, 2, 20, 33, seed=1)
    ours = guided_filter(guide, x, radius, eps)
    for b in range(2):
        for c in range(2):
            i, p = guide[b, 0].numpy(), x[b, c].numpy()
            mean_i, mean_p = counted_mean(i, radius), counted_mean(p, radius)
            slope = (counted_mean(i * p, radius) - mean_i * mean_p) / (counted_mean(i * i, radius) - mean_i**2 + eps)
            expected = counted_mean(slope, radius) * i + counted_mean(mean_p - slope * mean_i, radius)
            assert np.allclose(ours[b, c], expected, rtol=0, atol=1e-10)


def test_a_step_in_the_guide_keeps_the_step_and_a_flat_guide_blurs_it() -> None:
    step = torch.zeros(1, 1, 16, 32, dtype=torch.float64)
    step[..., 16:] = 1
    torch.testing.assert_close(guided_filter(step, step, 3, 1e-6), step, rtol=0, atol=1e-5)
    flat = guided_filter(torch.full_like(step, 0.3), step, 3, 1e-6)
    torch.testing.assert_close(flat, box_mean(box_mean(step, 3), 3))


def test_single_precision_is_enough_for_the_smallest_eps() -> None:
    guide = 0.9 + 0.01 * noise(1, 1, 64, 64)
    x = (noise(1, 1, 64, 64, seed=1) > 0.5).double()
    exact = guided_filter(guide, x, 7, 1e-6)
    assert (guided_filter(guide.float(), x.float(), 7, 1e-6) - exact).abs().max() < 0.02
