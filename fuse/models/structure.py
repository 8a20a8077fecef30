"""S-A: structure of the smoothed sources, compared, and the comparison smoothed along edges three times.

W. Li, Y. Xie, H. Zhou, Y. Han, K. Zhan, Structure-aware image fusion, Optik 172, 2018; the edge-aware filter is that of
E. S. L. Gastal, M. M. Oliveira, Domain transform for edge-aware image and video processing, ACM TOG 30(4), 2011.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.guided import box_mean, guided_filter
from fuse.models.masks import winners
from fuse.models.sharpness import gradients
from fuse.order import summed

ROUNDS = 3


class Structure(nn.Module):
    """Structure-aware fusion: the source whose smoothed gradients are the largest in 7x7, its map then refined.

    Every source is smoothed by its own guided filter (radius 3, eps 0.01); structure is |dx| + |dy| of that. Three
    times the map is made hard and smoothed by the domain transform (sigma 10 pixels, 0.2 of the range). The paper lets
    the first of two sources guide that; here all do, so that there can be more and their order does not matter.
    """

    selects, luma = True, "full"
    everywhere = "its recursive filter runs along whole rows and columns"  # hence no margin

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1, soft along the edges of the map."""
        across, down = gradients(torch.cat([guided_filter(x, x, 3, 0.01) for x in sources], 1))
        weights = box_mean(across.abs() + down.abs(), 3)
        for _ in range(ROUNDS):
            weights = domain_filter(torch.cat(sources, 1), winners(weights), 10.0, 0.2)
        return weights / summed(weights.split(1, 1))


def domain_filter(
    guides: Float[Tensor, "b n h w"], x: Float[Tensor, "b c h w"], spatial: float, range_: float
) -> Float[Tensor, "b c h w"]:
    """`x` smoothed along the edges of the guides: one iteration of the recursive domain transform, rows then columns.

    Per line y(k) = (1 - a^d(k)) x(k) + a^d(k) y(k - 1), there and back, where a = exp(-sqrt(2) / `spatial`) and
    d = 1 + `spatial` / `range_` |difference of the guides, in the mean|. Never leaves the range of `x`.
    """
    for axis in (-1, -2):
        rest = guides.shape[axis] - 1
        jumps = (guides.narrow(axis, 1, rest) - guides.narrow(axis, 0, rest)).abs()
        steps = summed(jumps.split(1, 1)) / guides.shape[1]
        kept = torch.exp(-math.sqrt(2) / spatial * (1 + spatial / range_ * steps))
        first = torch.zeros_like(guides[:, :1].narrow(axis, 0, 1))
        x = recursion(torch.cat([first, kept], axis), x, axis)
        x = recursion(torch.cat([first, kept.flip(axis)], axis), x.flip(axis), axis).flip(axis)
    return x


def recursion(kept: Float[Tensor, "b 1 h w"], x: Float[Tensor, "b c h w"], axis: int) -> Float[Tensor, "b c h w"]:
    """y(k) = (1 - kept(k)) x(k) + kept(k) y(k - 1) along `axis`, where kept(0) = 0, in log2(length) steps.

    Step s lets every y reach twice as far back, by the recursion applied to itself.
    """
    y, step, length = (1 - kept) * x, 1, x.shape[axis]
    while step < length:
        rest = length - step
        later = y.narrow(axis, step, rest) + kept.narrow(axis, step, rest) * y.narrow(axis, 0, rest)
        y = torch.cat([y.narrow(axis, 0, step), later], axis)
        both = kept.narrow(axis, step, rest) * kept.narrow(axis, 0, rest)
        kept = torch.cat([kept.narrow(axis, 0, step), both], axis)
        step *= 2
    return y
