"""Loss terms: pure functions `(fused, sample) -> scalar`, in the range of the recipe, averaged over pixels and batch.

Weights stand in `conf/loss/`, never here. A term that takes `role` compares with that source, or with `reference`.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.metrics.structure import ssim_map

Picture = Float[Tensor, "b c h w"]

# A Gaussian of sigma 1.5 cut to 3x3, in the digits MFF-GAN uses (they sum to 0.9998).
LOW_PASS = ((0.0947, 0.1183, 0.0947), (0.1183, 0.1478, 0.1183), (0.0947, 0.1183, 0.0947))
LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def filtered(x: Picture, kernel: Sequence[Sequence[float]]) -> Picture:
    """Every channel filtered with a 3x3 kernel, zeros beyond the border (zero is mid-grey on [-1, 1])."""
    channels = x.shape[1]
    return F.conv2d(x, x.new_tensor(kernel).expand(channels, 1, 3, 3), padding=1, groups=channels)


def laplacian(x: Picture) -> Picture:
    """Signed four-neighbour Laplacian."""
    return filtered(x, LAPLACE)


def decision(sources: Sequence[Picture], window: int = 1) -> Float[Tensor, "n b c h w"]:
    """MFF-GAN's adaptive decision block: 1 for the source that a repeated blur changes most, per pixel, else 0.

    Repeated-blur distance |I - LP(LP(I))|; ties go to the first source. No gradient flows through it. `window`: side of
    the square around each pixel over which the distances are averaged first; the paper decides pixel by pixel.

    Raises:
        InputError: an even window.
    """
    if window % 2 == 0:
        raise InputError(f"window={window}: must be odd, to have a centre")
    with torch.no_grad():
        distance = torch.stack([(x - filtered(filtered(x, LOW_PASS), LOW_PASS)).abs() for x in sources])
        around = F.avg_pool2d(distance.flatten(0, 1), window, 1, window // 2).view_as(distance)
        return F.one_hot(around.argmax(0), len(sources)).movedim(-1, 0).to(distance.dtype)


def decided_intensity(fused: Picture, sample: Sample, window: int = 1) -> Tensor:
    """L_int of MFF-GAN: sum over sources of mean(S_i (F - I_i)^2), S the decision (its `window` is 1 in the paper)."""
    chosen = decision(sample.sources, window)
    return sum_over((s * (fused - x) ** 2).mean() for s, x in zip(chosen, sample.sources, strict=True))


def decided_gradient(fused: Picture, sample: Sample, window: int = 1) -> Tensor:
    """L_grad of MFF-GAN: sum over sources of mean(S_i (lap F - lap I_i)^2), S the decision, Laplacians signed."""
    chosen, edges = decision(sample.sources, window), laplacian(fused)
    return sum_over((s * (edges - laplacian(x)) ** 2).mean() for s, x in zip(chosen, sample.sources, strict=True))


def mse(fused: Picture, sample: Sample, role: str) -> Tensor:
    """Mean squared difference to one source or the reference."""
    return F.mse_loss(fused, sample.role(role))


def l1(fused: Picture, sample: Sample, role: str) -> Tensor:
    """Mean absolute difference to one source or the reference."""
    return F.l1_loss(fused, sample.role(role))


def gradient(fused: Picture, sample: Sample, role: str) -> Tensor:
    """Mean squared difference of signed Laplacians to one source or the reference."""
    return F.mse_loss(laplacian(fused), laplacian(sample.role(role)))


def ssim(fused: Picture, sample: Sample, role: str, data_range: float = 1.0) -> Tensor:
    """1 - SSIM to one source or the reference: 11x11 Gaussian of sigma 1.5, valid windows."""
    return 1 - ssim_map(fused, sample.role(role), data_range=data_range)[0].mean()


def structure(fused: Picture, sample: Sample, role: str, data_range: float = 1.0) -> Tensor:
    """1 - mean of SSIM's contrast-structure factor alone, which ignores brightness (DenseFuse's SSIM)."""
    return 1 - ssim_map(fused, sample.role(role), data_range=data_range)[1].mean()


def sum_over(values: Iterable[Tensor]) -> Tensor:
    """Sum of scalar tensors."""
    return torch.stack(list(values)).sum()
