"""Double edges: contours that a fused picture holds twice, from two sources that do not lie on each other."""

from collections.abc import Sequence
from itertools import combinations

import cv2
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.align.pair import BLURS
from fuse.data import offset

LARGEST = 1024  # pixels: longer sides are averaged down first
SMALLEST = 8  # pixels: sides below hold no second edge
CELL = 16  # pixels: parts of the picture for which is asked which sources they are made of
RIDGE = 0.01  # share of the mean energy of gradients that steadies the answer where sources are alike
PAIRS = 8  # pairs of sources that are compared, those that mix most


def ghosts(fused: Float[Tensor, "h w"], sources: Sequence[Float[Tensor, "h w"]]) -> float:
    """Mean distance in pixels between the edges of the fused picture and their doubles, 0 without any; grey levels.

    sum e c m |d| / sum e over cells: e the energy of the gradients in the fused picture, |d| the distance by which the
    two sources are off each other there, c the confidence of that, and m how evenly they mix: gradients of the fused
    picture are explained by those of the sources, grad F = sum_i w_i grad S_i with least squares, and
    m = 2 min(w_i, w_j) / sum w is 0 for a selection and 1 for an average. So two pictures off by d give about d when
    averaged (0.6 d and more), as much less when one outweighs the other, and nothing when cells are chosen from one of
    them. From about 1 on double edges are seen. Shifts beyond a quarter of the blocks that are compared (12 to 40
    pixels) count less.
    """
    if min(fused.shape) < SMALLEST:
        return 0.0
    shrink = -(-max(fused.shape) // LARGEST)
    small = [F.avg_pool2d(x.float()[None, None], shrink)[0, 0] if shrink > 1 else x.float() for x in (fused, *sources)]
    fields = torch.stack([gradient(x) for x in small])
    share, energy = mixture(fields[0], fields[1:])
    total = energy.sum().clamp_min(1e-12)
    mixed = {(i, j): 2 * torch.minimum(share[..., i], share[..., j]) for i, j in combinations(range(len(sources)), 2)}
    most = sorted(mixed, key=lambda pair: -(mixed[pair] * energy).sum().item())[:PAIRS]
    score = sum((mixed[i, j] * energy * apart(small[i + 1], small[j + 1], energy.shape)).sum() / total for i, j in most)
    return float(score) * shrink


def gradient(grey: Float[Tensor, "h w"]) -> Float[Tensor, "2 _ _"]:
    """First differences across and down, where both exist."""
    return torch.stack([grey[1:, 1:] - grey[1:, :-1], grey[1:, 1:] - grey[:-1, 1:]])


def mixture(
    fused: Float[Tensor, "2 h w"], sources: Float[Tensor, "n 2 h w"]
) -> tuple[Float[Tensor, "rows columns n"], Float[Tensor, "rows columns"]]:
    """Share of each source in the gradients of every cell, they sum to 1, and the energy of those of the fused one."""

    def summed(first: Tensor, second: Tensor) -> Tensor:
        products = (first * second).sum(-3)
        cell = min(CELL, *products.shape[-2:])
        return F.avg_pool2d(products.reshape(-1, 1, *products.shape[-2:]), cell)[:, 0].movedim(0, -1)

    count = len(sources)
    normal = summed(sources[:, None], sources[None])
    normal = normal.unflatten(-1, (count, count))
    right = summed(sources, fused[None])
    steady = RIDGE * normal.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-6)
    weights = torch.linalg.solve(normal + steady[..., None, None] * torch.eye(count), right[..., None])[..., 0]
    weights = weights.clamp_min(0)
    energy = summed(fused[None], fused[None])[..., 0]
    return weights / weights.sum(-1, keepdim=True).clamp_min(1e-6), energy


def apart(first: Float[Tensor, "h w"], second: Float[Tensor, "h w"], shape: torch.Size) -> Float[Tensor, "_ _"]:
    """How far two pictures are off each other times the confidence of that, at the cells of a grid of that shape.

    Measured as they are and blurred, the lesser counts: see `fuse.align.measure.misalignment` on what defocus pretends.
    """
    found = []
    for blur in BLURS:
        a, b = (offset.edges(blurred(x, blur)) for x in (first, second))
        smallest, largest = offset.BLOCK
        side = min(max(min(a.shape) // 4, smallest), largest, *a.shape)
        blocks = offset.blocks(a, b, side)
        found.append(torch.hypot(blocks[..., 0], blocks[..., 1]) * blocks[..., 2])
    return F.interpolate(torch.stack(found).amin(0)[None, None], tuple(shape), mode="bilinear")[0, 0]


def blurred(grey: Float[Tensor, "h w"], deviation: float) -> Float[Tensor, "h w"]:
    """By a Gaussian of that deviation in pixels, or as it is."""
    return torch.from_numpy(cv2.GaussianBlur(grey.numpy(), (0, 0), deviation)) if deviation else grey
