"""DSIFT: dense SIFT descriptors say which source is sharp, and find what fits where that is not sure.

Y. Liu, S. Liu, Z. Wang, Multi-focus image fusion with dense SIFT, Information Fusion 23, 2015.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.metrics.windows import gaussian, separable
from fuse.models.guided import box_sum, line_sum
from fuse.models.masks import large_regions, winners
from fuse.models.sharpness import gradients

ORIENTATIONS, SHARPNESS = 8, 9
CELL, CELLS = 6, 4  # pixels between the cells of a descriptor, and cells on a side: a patch of 24
VOTER = 8  # side of the sliding blocks
SURE = 0.99  # of the votes
SMALLEST = 3600 / 520**2  # region, as a share of the picture
SEARCH = 3  # pixels
BELL = gaussian(9, 1.0)
SLOPE = tuple(torch.gradient(torch.tensor(BELL, dtype=torch.float64))[0].neg().tolist())


class Dsift(nn.Module):
    """Dense SIFT: sliding blocks vote for the largest activity; where they disagree matched patches are compared.

    The paper has two sources and looks for the partners of the first one's patches. Here every source looks for its
    partners in every other, and a comparison counts for the sharper patch, so that there can be more sources and
    their order does not matter; pixels where the most comparisons are won by several are averages of these.
    """

    selects, luma = True, "full"
    everywhere = "what a small region is depends on the whole picture"  # hence no margin

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1."""
        luma = torch.cat(sources, 1)
        cells = [histograms(x) for x in sources]
        sure = torch.cat([large_regions(x, SMALLEST) for x in surely(activity(cells)).split(1, 1)], 1)
        decided = sure.any(1, keepdim=True)
        if bool(decided.all()) or len(sources) == 1:
            return winners(sure.to(luma.dtype))
        return torch.where(decided, sure.to(luma.dtype), winners(won(cells, spatial_frequency(luma))))


def orientations(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 8 h w"]:
    """Gradient magnitude times max(cos(angle to the orientation), 0)^9, of the picture divided by its maximum.

    Derivatives of a Gaussian of deviation 1, cut at 4, the outermost pixels repeated.
    """
    peak = x.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    padded = F.pad(x / peak, [4, 4, 4, 4], mode="replicate")
    across, down = separable(padded, BELL, SLOPE), separable(padded, SLOPE, BELL)
    strength = torch.sqrt(across**2 + down**2)
    unit = strength.clamp_min(torch.finfo(x.dtype).tiny)
    angles = [2 * math.pi * k / ORIENTATIONS for k in range(ORIENTATIONS)]
    cosines = torch.cat([(math.cos(a) * across + math.sin(a) * down) / unit for a in angles], 1)
    return strength * cosines.clamp_min(0) ** SHARPNESS


def histograms(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 8 y x"]:
    """Orientations under the triangular window of a cell centred at every pixel, up to 9 pixels beyond the borders.

    The descriptor of a pixel is these 8 numbers at the 4x4 places 3 and 9 pixels away from it.
    """
    around = CELL - 1 + (CELLS - 1) * CELL // 2
    padded = F.pad(orientations(x), [around] * 4)
    return box_sum(box_sum(padded, CELL), CELL) / CELL**2


def over_cells(x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c h w"]:
    """Sum over the 16 cells of the descriptor around every pixel."""
    for axis in (-1, -2):
        length = x.shape[axis] - (CELLS - 1) * CELL
        x = torch.stack([x.narrow(axis, CELL * k, length) for k in range(CELLS)]).sum(0)
    return x


def activity(cells: Sequence[Float[Tensor, "b 8 y x"]]) -> Float[Tensor, "b n h w"]:
    """Sum of the 128 numbers of the descriptor, per source."""
    return torch.cat([over_cells(x.sum(1, keepdim=True)) for x in cells], 1)


def surely(scores: Float[Tensor, "b n h w"]) -> Bool[Tensor, "b n h w"]:
    """Where more than 99 % of the 8x8 blocks that cover a pixel have their largest sum of scores in one source.

    Of pictures smaller than a block the block is as large as they are.
    """
    height, width = (min(VOTER, side) for side in scores.shape[-2:])
    votes = winners(line_sum(line_sum(scores, width, -1), height, -2))
    spread = [width - 1, width - 1, height - 1, height - 1]
    votes, blocks = F.pad(votes, spread), F.pad(torch.ones_like(votes[:, :1]), spread)
    received, possible = (line_sum(line_sum(x, width, -1), height, -2) for x in (votes, blocks))
    return received > SURE * possible


def spatial_frequency(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Squared differences to the next pixel, across and down, added over 7x7; what lies outside counts nothing."""
    across, down = gradients(x)
    return box_sum(F.pad(across**2 + down**2, [3, 3, 3, 3]), 7)


def won(cells: Sequence[Float[Tensor, "b 8 y x"]], sharp: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
    """How many comparisons a source wins at every pixel, each source with its partner patches in each other."""
    lengths = torch.cat([over_cells((x * x).sum(1, keepdim=True)) for x in cells], 1).sqrt()
    points = [torch.zeros_like(sharp[:, :1]) for _ in cells]
    for one in range(len(cells)):
        for other in range(len(cells)):
            if one != other:
                theirs = partner(cells[one], cells[other], lengths[:, other, None], sharp[:, other, None])
                points[one] = points[one] + (sharp[:, one, None] > theirs)
                points[other] = points[other] + (sharp[:, one, None] < theirs)
    return torch.cat(points, 1)


def partner(
    here: Float[Tensor, "b 8 y x"],
    there: Float[Tensor, "b 8 y x"],
    lengths: Float[Tensor, "b 1 h w"],
    values: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, "b 1 h w"]:
    """The value, up to 3 pixels away, where the normalised descriptor of `there` is most like the one of `here`.

    Most like: smallest Euclidean distance, which is largest cosine. Of equal ones the nearest; places outside of the
    picture are none. `lengths` are those of the descriptors of `there`.
    """
    best, found = torch.full_like(values, -1), values
    height, width = values.shape[-2:]
    window = F.pad(there, [SEARCH] * 4)
    inside = F.pad(lengths.clamp_min(1e-12), [SEARCH] * 4, value=math.inf)
    beyond = F.pad(values, [SEARCH] * 4)
    moves = [(y, x) for y in range(2 * SEARCH + 1) for x in range(2 * SEARCH + 1)]
    for y, x in sorted(moves, key=lambda move: (move[0] - SEARCH) ** 2 + (move[1] - SEARCH) ** 2):
        moved = window[..., y : y + here.shape[-2], x : x + here.shape[-1]]
        like = over_cells((here * moved).sum(1, keepdim=True)) / inside[..., y : y + height, x : x + width]
        better = like > best
        best = torch.where(better, like, best)
        found = torch.where(better, beyond[..., y : y + height, x : x + width], found)
    return found
