"""Fusion rules without weights, for any number of sources."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class Average(nn.Module):
    """Every source with the same weight; the row that metrics of similarity favour."""

    selects, luma, margin = True, "full", 0

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights 1/n."""
        stack = torch.cat(sources, 1)
        return torch.full_like(stack, 1 / len(sources))


class Maximum(nn.Module):
    """The brightest source at every pixel; on ties the first."""

    selects, luma, margin = True, "full", 0

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights 1 at the largest luma, else 0."""
        stack = torch.cat(sources, 1)
        return F.one_hot(stack.argmax(1), len(sources)).movedim(-1, 1).to(stack.dtype)


def reduce(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
    """Binomial 5x5 blur (borders reflected), every second sample."""
    line = x.new_tensor(BINOMIAL)
    kernel = (line[:, None] * line).expand(1, 1, 5, 5)
    return F.conv2d(F.pad(x, [2, 2, 2, 2], mode="reflect"), kernel, stride=2)


def expand(x: Float[Tensor, "b 1 h2 w2"], height: int, width: int) -> Float[Tensor, "b 1 h w"]:
    """Zeros between the samples, then the same blur times four; borders repeat the outermost sample."""
    padded = F.pad(x, [1, 1, 1, 1], mode="replicate")
    spread = padded.new_zeros(*padded.shape[:2], 2 * padded.shape[2], 2 * padded.shape[3])
    spread[..., ::2, ::2] = padded
    line = x.new_tensor(BINOMIAL) * 2
    blurred = F.conv2d(spread, (line[:, None] * line).expand(1, 1, 5, 5))
    return blurred[..., :height, :width]


class Laplacian(nn.Module):
    """Laplacian pyramid: at every level the coefficient of largest magnitude, at the base the mean.

    Burt and Kolczynski, Enhanced image capture through fusion, ICCV 1993.
    """

    channels, luma = 1, "full"

    def __init__(self, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.multiple = 2**levels  # tiles must begin where the coarsest samples lie
        self.margin = 4 * 2**levels

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; may overshoot the range. Sides of 4 pixels or less end the pyramid early."""
        layers = [list(sources)]
        while len(layers) <= self.levels and min(layers[-1][0].shape[-2:]) > 4:
            layers.append([reduce(x) for x in layers[-1]])
        fused = torch.stack(layers[-1]).mean(0)
        for level, below in zip(layers[-2::-1], layers[:0:-1], strict=True):
            size = level[0].shape[-2:]
            detail = torch.stack([x - expand(coarse, *size) for x, coarse in zip(level, below, strict=True)])
            winner = detail.abs().argmax(0, keepdim=True)
            fused = expand(fused, *size) + detail.gather(0, winner)[0]
        return fused
