"""A transform applied to the pixels of a picture, once, and the area that all pictures share."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from fuse.align.transforms import Transform, said_size
from fuse.errors import InputError

LONGEST = 32766  # pixels: what OpenCV's coordinates can tell
SHRUNK = 1.25  # from this reduction on a picture is smoothed first, or fine texture would turn into false patterns
COARSE = 256  # lines of the grid on which the largest rectangle is looked for


def warp(
    picture: Shaped[Tensor, "c h w"], transform: Transform
) -> tuple[Shaped[Tensor, "c height width"], Bool[Tensor, "1 height width"]]:
    """The moving picture (uint8, uint16 or floating point) as the reference sees it, and where it has anything to show.

    Lanczos' interpolation over 8x8 pixels (forth and back by half a pixel it changes a photograph half as much as the
    cubic one) within the range of the picture; what is outside repeats the border. Reductions are smoothed by a
    Gaussian first. A transform that moves nothing returns the picture itself.

    Raises:
        InputError: the picture has another size than the transform, or is longer than OpenCV can handle.
    """
    height, width = transform.reference
    if tuple(picture.shape[1:]) != transform.moving:
        own = (picture.shape[1], picture.shape[2])
        raise InputError(f"the transform is for a picture of {said_size(transform.moving)}, this is {said_size(own)}")
    if transform.untouched:
        return picture, torch.ones(1, height, width, dtype=torch.bool)
    if max(*transform.moving, height, width) > LONGEST:
        raise InputError(f"pictures of more than {LONGEST} pixels a side cannot be aligned; switch the alignment off")
    matrix, sigma = transform.matrix.numpy(), smoothing(transform)

    def moved(plane: np.ndarray) -> np.ndarray:
        source = cv2.GaussianBlur(plane, (0, 0), sigma) if sigma else plane
        how = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        made = cv2.warpPerspective(source, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
        return made if plane.dtype.kind == "u" else np.clip(made, plane.min(), plane.max(), out=made)

    made = torch.stack([torch.from_numpy(moved(plane.contiguous().numpy())) for plane in picture])
    return made, valid(transform)


def smoothing(transform: Transform) -> float:
    """Deviation in pixels of the Gaussian that a reduction asks for: 0.5 sqrt(s^2 - 1) for a reduction by s."""
    (down, across), magnification = transform.moving, transform.motion()[1]
    shrink = magnification * math.sqrt(down * across / (transform.reference[0] * transform.reference[1]))
    return 0.5 * math.sqrt(shrink**2 - 1) if shrink > SHRUNK else 0.0


def valid(transform: Transform) -> Bool[Tensor, "1 h w"]:
    """Where in the reference the moving picture has a pixel less than half a pixel away."""
    height, width = transform.reference
    inside = np.ones(transform.moving, np.uint8)
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    mask = cv2.warpPerspective(inside, transform.matrix.numpy(), (width, height), flags=how, borderValue=0)
    return torch.from_numpy(mask)[None] > 0


def common_area(transforms: Sequence[Transform]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right (the last two excluded) of the largest upright rectangle that all pictures cover.

    The area that a picture covers is convex, so that a rectangle is inside if its corners are: it is found on a coarse
    grid, and its sides moved outwards pixel by pixel.

    Raises:
        InputError: there is none.
    """
    height, width = transforms[0].reference
    rows = torch.linspace(0, height - 1, min(height, COARSE), dtype=torch.float64).round()
    columns = torch.linspace(0, width - 1, min(width, COARSE), dtype=torch.float64).round()
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    free = covered(transforms, torch.stack([x.flatten(), y.flatten()], 1)).view(y.shape)
    if not free.any():
        raise InputError("the pictures have no area in common after alignment")
    first, left, last, right = largest_rectangle(free.numpy())
    sides = [int(rows[first]), int(columns[left]), int(rows[last]), int(columns[right])]  # all of them inside
    limits, steps = (0, 0, height - 1, width - 1), (-1, -1, 1, 1)
    growing = True
    while growing:
        growing = False
        for side in range(4):
            larger = [*sides]
            larger[side] += steps[side]
            if (sides[side] != limits[side]) and bool(covered(transforms, corners(larger)).all()):
                sides, growing = larger, True
    return sides[0], sides[1], sides[2] + 1, sides[3] + 1


def corners(sides: Sequence[int]) -> Tensor:
    """The corners (x, y) of top, left, bottom, right, all of them included."""
    top, left, bottom, right = sides
    return torch.tensor([(left, top), (right, top), (left, bottom), (right, bottom)], dtype=torch.float64)


def covered(transforms: Sequence[Transform], points: Tensor) -> Bool[Tensor, " n"]:
    """Which places (x, y) of the reference every moving picture has a pixel for."""
    inside = torch.ones(len(points), dtype=torch.bool)
    for transform in transforms:
        place = transform.at(points)
        limit = place.new_tensor([transform.moving[1] - 0.5, transform.moving[0] - 0.5])
        inside &= ((place > -0.5) & (place < limit)).all(1)
    return inside


def largest_rectangle(free: np.ndarray) -> tuple[int, int, int, int]:
    """First row and column and last row and column of the largest rectangle of true cells.

    Row by row, over the heights of the columns of true cells that end there, with a stack of rising heights.
    """
    best, found = 0, (0, 0, 0, 0)
    heights = np.zeros(free.shape[1] + 1, int)
    for row, cells in enumerate(free):
        heights[:-1] = np.where(cells, heights[:-1] + 1, 0)
        rising: list[tuple[int, int]] = []  # where a rectangle of that height begins
        for column, tall in enumerate(heights.tolist()):
            begin = column
            while rising and rising[-1][1] >= tall:
                begin, high = rising.pop()
                if high * (column - begin) > best:
                    best, found = high * (column - begin), (row - high + 1, begin, row, column - 1)
            rising.append((begin, tall))
    return found
