"""What decision maps have in common: who wins, opening and closing with a disk, removal of small regions."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from fuse.errors import InputError
from fuse.metrics.regions import regions
from fuse.models.guided import line_sum


def winners(scores: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
    """Weights that sum to 1: 1 where a source scores highest, else 0; those with equal scores share.

    Sharing makes the result independent of the order of the sources.
    """
    best = (scores == scores.amax(1, keepdim=True)).to(scores.dtype)
    return best / best.sum(1, keepdim=True)


def dilated(mask: Bool[Tensor, "b c h w"], radius: int) -> Bool[Tensor, "b c h w"]:
    """1 wherever a 1 is at most `radius` away (Euclidean); nothing is beyond the border."""
    height, width = mask.shape[-2:]
    ones = F.pad(mask, [radius, radius, radius, radius]).to(torch.int16)
    result = torch.zeros_like(mask)
    for down in range(-radius, radius + 1):
        reach = math.isqrt(radius**2 - down**2)
        rows = ones[..., radius + down : radius + down + height, radius - reach : radius + reach + width]
        result |= line_sum(rows, 2 * reach + 1, -1) > 0
    return result


def eroded(mask: Bool[Tensor, "b c h w"], radius: int) -> Bool[Tensor, "b c h w"]:
    """1 wherever everything up to `radius` away is 1; beyond the border everything is."""
    return ~dilated(~mask, radius)


def opened(mask: Bool[Tensor, "b c h w"], radius: int) -> Bool[Tensor, "b c h w"]:
    """Morphological opening with the disk {x^2 + y^2 <= radius^2}: parts into which it does not fit become 0."""
    return dilated(eroded(mask, radius), radius)


def closed(mask: Bool[Tensor, "b c h w"], radius: int) -> Bool[Tensor, "b c h w"]:
    """Morphological closing with the disk {x^2 + y^2 <= radius^2}: gaps into which it does not fit become 1."""
    return eroded(dilated(mask, radius), radius)


def large_regions(mask: Bool[Tensor, "b 1 h w"], least: float) -> Bool[Tensor, "b 1 h w"]:
    """The connected regions (8 neighbours) of 1 that have at least `least` pixels, or that share of all if below 1.

    Regions are found on the CPU, by OpenCV, one picture after the other; it is the only step of any map that is.

    Raises:
        InputError: `least` is negative, or the step is to become part of an exported graph.
    """
    if torch.compiler.is_exporting():
        raise InputError("small regions are removed from its map, for which ONNX has no operator")
    if least < 0:
        raise InputError(f"regions of at least {least} pixels: give a number of pixels, or a share below 1")
    threshold = least * mask[0].numel() if least < 1 else least
    kept = torch.empty(mask.shape, dtype=torch.bool)
    for picture, into in zip(mask[:, 0].cpu(), kept[:, 0], strict=True):
        labels, sizes = regions(picture, corners=True)
        large = sizes >= threshold
        large[0] = False  # what is 0
        into.copy_(large[labels])
    return kept.to(mask.device)


def small_regions_removed(mask: Bool[Tensor, "b 1 h w"], least: float) -> Bool[Tensor, "b 1 h w"]:
    """Regions of 1 with fewer than `least` pixels (or that share of all, if below 1) become 0, then such of 0 become 1.

    Raises:
        InputError: `least` is negative.
    """
    return ~large_regions(~large_regions(mask, least), least)
