"""How far two pictures are off each other, block by block, and how many of the blocks say so."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fuse.align.refine import reduced
from fuse.data import offset

LONGEST = 768  # pixels of the longer side that is measured
SOLID = 0.9  # share of a block that must be known
NEAR = 2.0  # pixels at that size within which a block counts as in place
CLEAR = 0.3  # confidence from which a block that is off is believed, if a neighbour is off likewise
ALIKE = 1.5  # pixels at that size by which neighbours may differ


class Misalignment(NamedTuple):
    """Offsets of blocks of the moving picture, as the reference sees it, in pixels of the reference.

    `map`: dx, dy and confidence (0: not known) `(rows, columns, 3)`; `block`: side of a block, they overlap by half.
    `off`: median length of the offsets of trusted blocks, weighted by the square of their confidence; NaN without any.
    `agree`: share of all known blocks that are trusted and within `NEAR` of their place; by chance it is 2 %.
    `apart`: share of the clear blocks that are farther off, as a neighbour is too; `parallax`: their median length.
    """

    map: Float[Tensor, "rows columns 3"]
    block: int
    off: float
    agree: float
    apart: float
    parallax: float


def misalignment(reference: np.ndarray, moving: np.ndarray, matrix: np.ndarray, blur: float = 0) -> Misalignment:
    """Of grey pictures, the moving one seen through a matrix of the kind that `Transform` has.

    `blur`: deviation in pixels, at the size measured, of a Gaussian over both first. Where one is sharp and the other
    out of focus, phase correlation finds one of the rims of a disc of confusion, some pixels off, and needs it.
    """
    longest = min(LONGEST, max(reference.shape), max(moving.shape))
    (fixed, back), (other, to_moving) = reduced(reference, longest), reduced(moving, longest)
    fixed, other = (cv2.GaussianBlur(x, (0, 0), blur) if blur else x for x in (fixed, other))
    small = np.linalg.inv(to_moving) @ matrix @ back
    shape, how = (fixed.shape[1], fixed.shape[0]), cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(other, small, shape, flags=cv2.INTER_CUBIC | how, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpPerspective(np.ones(other.shape, np.float32), small, shape, flags=cv2.INTER_NEAREST | how)
    a, b = (offset.edges(torch.from_numpy(x)) for x in (fixed, moved))
    smallest, largest = offset.BLOCK
    side = min(max(min(a.shape) // 4, smallest), largest, *a.shape)
    found = offset.blocks(a, b, side)
    covered = torch.from_numpy(inside)[1:-1, 1:-1].unfold(0, side, side // 2).unfold(1, side, side // 2).mean((2, 3))
    known = covered >= SOLID
    found[..., 2] *= known
    length, confidence = torch.hypot(found[..., 0], found[..., 1]), found[..., 2]
    trusted, clear = confidence >= offset.TRUSTED, confidence >= CLEAR
    far = clear & (length > NEAR) & together(found)
    scale = float(back[0, 0])
    off = median(length[trusted], confidence[trusted] ** 2) * scale
    agree = (trusted & (length <= NEAR)).sum().item() / max(int(known.sum()), 1)
    apart = far.sum().item() / max(int(clear.sum()), 1)
    parallax = length[far].median().item() * scale if far.any() else 0.0
    found[..., :2] *= scale
    return Misalignment(found, round(side * scale), off, agree, apart, parallax)


def median(values: Float[Tensor, " n"], weights: Float[Tensor, " n"]) -> float:
    """The value that half of the weight lies below; NaN of none."""
    if not len(values):
        return float("nan")
    order = values.argsort()
    share = weights[order].cumsum(0)
    return values[order][int((share < share[-1] / 2).sum())].item()


def together(found: Float[Tensor, "rows columns 3"]) -> Bool[Tensor, "rows columns"]:
    """Which blocks have a trusted neighbour, above, below or beside, with about the same offset."""
    rows, columns = found.shape[:2]
    padded = torch.full((rows + 2, columns + 2, 3), torch.inf)
    padded[1:-1, 1:-1] = torch.where(found[..., 2:] >= offset.TRUSTED, found, torch.inf)
    alike = torch.zeros(rows, columns, dtype=torch.bool)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other = padded[down : down + rows, across : across + columns]
        alike |= torch.hypot(found[..., 0] - other[..., 0], found[..., 1] - other[..., 1]) <= ALIKE
    return alike
