"""Laplacian and contrast pyramids, and pictures blended level by level.

P. J. Burt, E. H. Adelson, A multiresolution spline with application to image mosaics, ACM TOG 2(4), 1983.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.metrics.windows import decimated
from fuse.models.borders import mirrored
from fuse.models.masks import winners
from fuse.order import summed

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def reduce(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Binomial 5x5 blur (borders mirrored), every second sample."""
    return decimated(mirrored(x, 2, 2, 2, 2), BINOMIAL)


def expand(x: Float[Tensor, "b c h2 w2"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Zeros between the samples, then the same blur times four; borders repeat the outermost sample."""
    for axis, length in ((-2, height), (-1, width)):
        padded = F.pad(x, [0, 0, 1, 1] if axis == -2 else [1, 1, 0, 0], mode="replicate")
        before, here, after = (padded.narrow(axis, start, x.shape[axis]) for start in range(3))
        on = torch.add(before + after, here, alpha=6) / 8
        x = torch.stack([on, (here + after) / 2], axis if axis == -1 else -2)
        x = x.flatten(-2) if axis == -1 else x.flatten(-3, -2)
        x = x.narrow(axis, 0, length)
    return x


def gaussian_pyramid(x: Float[Tensor, "b c h w"], levels: int, smallest: int = 4) -> list[Float[Tensor, "b c _ _"]]:
    """The picture and up to `levels` reductions of it; sides of `smallest` pixels or less are not reduced further."""
    layers = [x]
    while len(layers) <= levels and min(layers[-1].shape[-2:]) > smallest:
        layers.append(reduce(layers[-1]))
    return layers


def blended(
    sources: Sequence[Float[Tensor, "b c h w"]], weights: Float[Tensor, "b n h w"], levels: int, smallest: int = 4
) -> Float[Tensor, "b c h w"]:
    """Sources mixed by weights, every level of their Laplacian pyramids by that level of the weights' Gaussian one.

    Weights that sum to 1 keep what the sources have in common; the result may overshoot the range.
    """
    shares = gaussian_pyramid(weights, levels, smallest)
    parts: list[list[Tensor]] = [[] for _ in shares]
    for number, source in enumerate(sources):
        layers = gaussian_pyramid(source, levels, smallest)
        for level, layer in enumerate(layers):
            if level + 1 < len(layers):
                layer = layer - expand(layers[level + 1], *layer.shape[-2:])
            parts[level].append(shares[level][:, number : number + 1] * layer)
    fused = summed(parts.pop())
    while parts:
        detail = summed(parts.pop())
        fused = expand(fused, *detail.shape[-2:]) + detail
    return fused


class Laplacian(nn.Module):
    """Laplacian pyramid: at every level the coefficient of largest magnitude, at the base the mean.

    Burt and Kolczynski, Enhanced image capture through fusion, ICCV 1993. Coefficients of equal magnitude are averaged.
    """

    channels, luma = 1, "full"

    def __init__(self, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.multiple = 2**levels  # tiles must begin where the coarsest samples lie
        self.margin = 4 * 2**levels

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; may overshoot the range. Sides of 4 pixels or less end the pyramid early."""
        layers = gaussian_pyramid(torch.cat(sources, 1), self.levels)
        fused = summed(layers[-1].split(1, 1)) / len(sources)
        for level, below in zip(layers[-2::-1], layers[:0:-1], strict=True):
            detail = level - expand(below, *level.shape[-2:])
            chosen = summed((winners(detail.abs()) * detail).split(1, 1))
            fused = expand(fused, *level.shape[-2:]) + chosen
        return fused


class Contrast(nn.Module):
    """Contrast pyramid (ratio of low-pass): at every level the ratio farthest from 1, at the base the mean.

    R_l = x_l / (expand(x_(l+1)) + 1/1000), undone by x_l = R_l (expand(x_(l+1)) + 1/1000). Toet, Image fusion by a
    ratio of low-pass pyramid, Pattern Recognition Letters 9(4), 1989, takes the largest R, which favours what is
    bright; |R - 1| favours neither. Equal ones are averaged.
    """

    channels, luma = 1, "full"

    def __init__(self, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.multiple = 2**levels
        self.margin = 4 * 2**levels

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; may overshoot the range. Sides of 4 pixels or less end the pyramid early."""
        layers = gaussian_pyramid(torch.cat(sources, 1), self.levels)
        fused = summed(layers[-1].split(1, 1)) / len(sources)
        for level, below in zip(layers[-2::-1], layers[:0:-1], strict=True):
            ratio = level / (expand(below, *level.shape[-2:]) + 1e-3)
            chosen = summed((winners((ratio - 1).abs()) * ratio).split(1, 1))
            fused = chosen * (expand(fused, *level.shape[-2:]) + 1e-3)
        return fused
