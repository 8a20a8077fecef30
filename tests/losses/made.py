"""Made samples for the tests of loss terms, filters in SciPy, and what every term must do."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import correlate
from torch import Tensor

from fuse.data.sample import Sample

LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
RING = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]]) / 8
ACROSS = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
ROLES = ("ir", "vi", "third")
Term = Callable[[Tensor, Sample], Tensor]


def pictures(count: int, height: int = 14, width: int = 17, channels: int = 1, seed: int = 0) -> list[Tensor]:
    """Batches of two in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64) for _ in range(count)]


def sample_of(
    *sources: Tensor, reference: Tensor | None = None, weights: Tensor | None = None, **inside: Tensor
) -> Sample:
    """A sample with the roles ir, vi, third."""
    return Sample(tuple(sources), reference, (), ROLES[: len(sources)], weights, inside)


def each(picture: Tensor, kernel: np.ndarray, mode: str = "constant") -> np.ndarray:
    """Every channel of every picture correlated with a kernel; beyond its border zeros, or the border again."""
    return np.stack([[correlate(c, kernel.astype(float), mode=mode) for c in x] for x in picture.numpy()])


def falls(term: Term, fused: Tensor, sample: Sample, length: float = 1e-3) -> bool:
    """Whether a step against the gradient lowers the term."""
    start = fused.clone().requires_grad_()
    before = term(start, sample)
    (slope,) = torch.autograd.grad(before, start)
    return bool(slope.norm() > 0) and bool(term(fused - length * slope / slope.norm(), sample) < before)


def agrees_with_differences(term: Term, fused: Tensor, sample: Sample) -> bool:
    """Whether the gradient is that of finite differences, in float64, along random directions."""
    return torch.autograd.gradcheck(lambda x: term(x, sample), fused.clone().requires_grad_(), fast_mode=True)


def survives_flat_pictures(term: Term, size: int = 14, levels: tuple[float, ...] = (0.0, 0.5, 1.0)) -> bool:
    """Whether value and gradient are numbers for constant pictures of any of the levels."""
    for made in levels:
        for level in levels:
            fused = torch.full((1, 1, size, size), made).requires_grad_()
            source = torch.full((1, 1, size, size), level)
            value = term(fused, sample_of(source, torch.full_like(source, 0.5), reference=source))
            value.backward()
            if not (torch.isfinite(value) and fused.grad is not None and bool(torch.isfinite(fused.grad).all())):
                return False
    return True
