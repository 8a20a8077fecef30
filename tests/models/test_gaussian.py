"""Laplacian energy under a Gaussian window, against SciPy."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, laplace

from fuse.models.gaussian import Gaussian


def test_it_agrees_with_scipy() -> None:
    sources = torch.rand(3, 1, 1, 40, 47, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    energies = [laplace(x[0, 0].numpy(), mode="nearest") ** 2 for x in sources]
    seen = np.stack([gaussian_filter(x, 2.0, mode="nearest", radius=6) for x in energies])
    expected = np.arange(3)[:, None, None] == seen.argmax(0)
    assert np.array_equal(Gaussian(2.0)(*sources)[0].numpy(), expected)
    assert len(np.unique(seen.argmax(0))) == 3


def test_the_window_is_cut_at_three_deviations() -> None:
    assert len(Gaussian().window) == 31
    assert Gaussian().margin == 16
