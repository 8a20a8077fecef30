"""Terms of information: what the fused picture leaves open about a source."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample

EPSILON = 5e-4  # added to the variances, on [0, 1]: noise below which nothing is told


def regional(
    fused: Float[Tensor, "b c h w"], sample: Sample, role: str, radius: int = 1, data_range: float = 1.0
) -> Tensor:
    """log det(S_I - S_IF (S_F + e)^-1 S_FI + e) / 2d - log(e) / 2, in nats per pixel: 0 where F tells all of I, to 3.1.

    Regional mutual information, up to what depends on the source alone: regions of d = (2 radius + 1)^2 pixels count
    as Gaussian vectors, S are their covariances over the places of a picture, e = 5e-4 (`data_range` brings pictures
    to it). Mean over pictures and channels; float64 inside. MATR 1 and 2.5; Zhao et al. 2019.
    """
    made, theirs = (regions(x / data_range, radius) for x in (fused, sample.role(role)))
    noise = EPSILON * torch.eye(made.shape[1], dtype=made.dtype, device=made.device)
    known = torch.linalg.solve(covariance(made, made) + noise, covariance(made, theirs))
    left = covariance(theirs, theirs) - covariance(made, theirs).mT @ known + noise
    open_ = torch.linalg.slogdet(left).logabsdet / (2 * made.shape[1]) - math.log(EPSILON) / 2
    return open_.mean().to(fused.dtype)


def regions(picture: Float[Tensor, "b c h w"], radius: int) -> Float[Tensor, "k d n"]:
    """Every region inside every channel of every picture, without their mean over the places."""
    rows = F.unfold(picture.to(torch.float64).flatten(0, 1).unsqueeze(1), 2 * radius + 1)
    return rows - rows.mean(2, keepdim=True)


def covariance(x: Float[Tensor, "k d n"], y: Float[Tensor, "k d n"]) -> Float[Tensor, "k d d"]:
    """Mean of x y^T over the places."""
    return x @ y.mT / x.shape[2]
