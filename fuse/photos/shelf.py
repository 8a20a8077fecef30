"""Pictures between reading and fusing: kept in memory or a file, with small copies for those who only look."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from fuse.align import Transform, warp
from fuse.photos import photo, radiometric
from fuse.photos.frames import Frames
from fuse.photos.kinds import Kind, alike
from fuse.photos.photo import Photo, Stored, white
from fuse.photos.reduced import grey, reduced

LOOKED_AT = 512  # pixels along the longer side, at which the task is told
ALIGNED_AT = 1024  # and at which the alignment is found
ROWS = 256  # that are floating point at a time
COARSE, BLUR = 128, 4.0  # pixels along the longer side at which brightness is compared, and how smoothly
ENDS = 0.1, 99.9  # per cent: what a stretch spreads over the range


class Held(NamedTuple):
    """A picture on the shelf: pixels and transparency (one frame each), and small copies for those who only look."""

    pixels: Frames
    alpha: Frames | None
    stored: Stored
    size: tuple[int, int]  # height, width
    small: Tensor  # (c, a, b) in [0, 1]
    grey: Tensor  # (a, b) levels 0..255
    filled: float  # share of the range of 16 bits that a grey picture of that depth has; else 1


@contextmanager
def shelved(path: Path, spooled: bool, stretch: bool) -> Iterator[Held]:
    """A picture, read once, in memory or in a file, until the end of the job; `stretch`: spread what measures.

    Raises:
        InputError: it cannot be read.
    """
    read = photo.read(path)
    pixels, filled = read.pixels, 1.0
    if pixels.dtype == torch.uint16 and pixels.shape[0] == 1:
        filled = radiometric.occupied(pixels)
        pixels = radiometric.stretched(pixels, *ENDS) if stretch else pixels
    with Frames(spooled) as kept, Frames(spooled) as through:
        kept.add(pixels)
        if read.alpha is not None:
            through.add(read.alpha)
        shown = pixels.float() / kept.white if kept.white not in (255, 65535) else pixels
        small = reduced(shown, LOOKED_AT) / 255
        alpha = through if read.alpha is not None else None
        yield Held(kept, alpha, read.stored, kept.size, small, looked_at(shown), filled)


def looked_at(pixels: Tensor) -> Tensor:
    """Grey levels 0..255 for the alignment; what measures (more than 8 bits, one channel) from its 1 % to its 99 %."""
    small = grey(reduced(pixels, ALIGNED_AT))
    if pixels.dtype == torch.uint8 or pixels.shape[0] == 3:
        return small
    low, high = torch.quantile(small.flatten()[:: max(small.numel() >> 20, 1)], small.new_tensor([0.01, 0.99])).tolist()
    return ((small - low) * (255 / max(high - low, 1e-6))).clamp(0, 255)


def together(
    shelf: Sequence[Held],
    first: int,
    moves: Sequence[Transform],
    kind: Kind,
    frames: Frames,
    selects: bool,
    fading: float,
) -> Tensor | None:
    """Every picture as the reference, the one of number `first`, sees it, in the kind of the result.

    Where a moved picture ends the reference stands in, within the share `fading` of the longer side as bright as the
    picture was; a method that selects takes nothing from there. Where a picture is transparent it has no say. Returns
    how opaque the result is: as the most opaque picture; None: everywhere.
    """
    whole, solid = as_kind(shelf[first], kind), False
    opaque: np.ndarray | None = None
    for number, (held, move) in enumerate(zip(shelf, moves, strict=True)):
        same = whole if number == first else as_kind(held, kind)
        held.pixels.close()
        pixels, valid = warp(same.pixels, move)
        if not bool(valid.all()):
            pixels = faded(pixels, valid, whole.pixels, fading * max(pixels.shape[1:]))
        inside = valid if selects else torch.ones_like(valid)
        if same.alpha is None:
            solid = solid or bool(valid.all())
        else:
            through = np.where(valid, warp(same.alpha, move)[0], 0)  # NumPy: PyTorch compares no 16 bit integers
            inside = inside & torch.from_numpy(through > 0)
            opaque = through if opaque is None else np.maximum(opaque, through)
        frames.add(pixels, inside)
    return None if solid or opaque is None else torch.from_numpy(opaque)


def as_kind(held: Held, kind: Kind) -> Photo:
    """A picture from the shelf in the kind of the result."""
    alpha = None if held.alpha is None else held.alpha.picture(0)
    return alike(Photo(held.pixels.picture(0), alpha, held.stored), kind)


def faded(moved: Tensor, valid: Tensor, whole: Tensor, reach: float) -> Tensor:
    """A moved picture `(c, h, w)`, where it is not `valid` another one, which `reach` pixels on is as it is.

    Nearer to the border it is as bright as the moved one was there: a hard seam between unlike pictures shows in the
    result, and a border that is repeated makes streaks.
    """
    away = torch.from_numpy(cv2.distanceTransform((~valid[0]).numpy().astype(np.uint8), cv2.DIST_L2, 3))
    apart = (reduced(moved, COARSE) - reduced(whole, COARSE)) / (255 / white(moved.dtype))
    brighter = cv2.GaussianBlur(apart.permute(1, 2, 0).numpy(), (0, 0), BLUR).reshape(*apart.shape[1:], -1)
    made, (height, width) = moved.clone(), moved.shape[1:]
    for top in range(0, height, ROWS):
        band = slice(top, min(top + ROWS, height))
        if bool(valid[:, band].all()):
            continue
        share = 1 - (away[band] / max(reach, 1)).clamp(0, 1)
        filled = whole[:, band].float() + share * rows_of(brighter, band, height, width)
        if not moved.dtype.is_floating_point:
            filled = filled.round().clamp(0, white(moved.dtype))
        made[:, band] = torch.where(valid[:, band], moved[:, band], filled.to(moved.dtype))
    return made


def rows_of(small: np.ndarray, band: slice, height: int, width: int) -> Tensor:
    """Some rows `(c, rows, width)` of a small picture `(a, b, c)` enlarged to a height and a width, linearly."""
    scale = small.shape[0] / height, small.shape[1] / width
    y, x = ((np.arange(n) + 0.5) * s - 0.5 for n, s in zip((height, width), scale, strict=True))
    across, down = np.meshgrid(x.astype(np.float32), y[band].astype(np.float32))
    made = cv2.remap(small, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(made.reshape(*made.shape[:2], -1)).permute(2, 0, 1)
