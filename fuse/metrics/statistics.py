"""Metrics of the fused picture alone: they know nothing of the sources, so noise raises most of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.gradient import root
from fuse.metrics.information import entropy, histogram
from fuse.metrics.levels import Image, Scores, grey, total
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo


def mean(fused: Image, *, memo: Memo | None = None) -> Scores:
    """Mean grey level, 0..255. No direction: what is right depends on the sources (see `brightness_shift`)."""
    memo = memo or Memo()
    return average(memo(grey, fused))


def en(fused: Image, *, memo: Memo | None = None) -> Scores:
    """EN: entropy of the histogram over 256 levels, -sum p log2 p, in bits, 0..8.

    Higher is better, but noise and a stretched histogram raise it too. Not differentiable. Shannon 1948.
    """
    memo = memo or Memo()
    return entropy(memo(histogram, fused))


def sd(fused: Image, *, sample: bool = False, memo: Memo | None = None) -> Scores:
    """SD: standard deviation of the grey levels over the whole picture (divisor h w), 0..127.5.

    `sample`: divisor h w - 1, as MATLAB `std2`. Higher is better, but says nothing of detail: a black and white
    half each reach the maximum.
    """
    memo = memo or Memo()
    return memo(grey, fused).flatten(1).std(1, correction=int(sample))


def differences(image: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 h w-1"], Float[Tensor, "b 1 h-1 w"]]:
    """First differences across and down."""
    return image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]


def sf(fused: Image, *, whole: bool = False, memo: Memo | None = None) -> Scores:
    """SF: root of the mean squared horizontal plus the mean squared vertical first differences, levels.

    Each mean is over the differences that exist. `whole`: both sums divided by h w, as Eskicioglu & Fisher 1995 and
    VIFB (0.2 % lower). Higher is better, but noise raises it too.
    """
    memo = memo or Memo()
    across, down = memo(differences, memo(grey, fused))
    if whole:
        pixels = fused.shape[-2] * fused.shape[-1]
        return torch.sqrt((total(across**2) + total(down**2)) / pixels)
    return torch.sqrt(average(across**2) + average(down**2))


def central_differences(image: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Gradient across and down as `numpy.gradient`: half the difference of the neighbours, one-sided at the borders."""
    down, across = torch.gradient(image, dim=(-2, -1))
    return across, down


def ag(fused: Image, *, divisor: str = "inner", memo: Memo | None = None) -> Scores:
    """AG, average gradient: sum of sqrt((gx^2 + gy^2) / 2) of central differences, over (h-1)(w-1), grey levels.

    `divisor`: `inner` is (h-1)(w-1), `whole` is h w (CDDFuse, 0.8 % lower). Higher is better, but noise raises it
    too. Cui et al. 2015.
    """
    memo = memo or Memo()
    across, down = memo(central_differences, memo(grey, fused))
    height, width = fused.shape[-2:]
    pixels = height * width if divisor == "whole" else (height - 1) * (width - 1)
    return total(root((across**2 + down**2) / 2)) / pixels
