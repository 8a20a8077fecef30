"""What a fused picture and its sources hold in every cell of 16 x 16 pixels: the numbers that `check` judges by.

Detail must be looked at in full size, and 40 pictures of 100 megapixels cannot be: up to 2.4 megapixels are looked at
whole, in squares of at most 384 pixels; larger ones in 16 such squares, in each sixteenth of the picture the one with
most detail. Sources are gone through one after the other, each once, and only their squares are kept, as they are
stored; of more than 10 sources fewer squares, so that never more than 160 are held (71 MB of 8 bit colour).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from fuse.photos.reduced import grey, levels, reduced

CELL = 16  # pixels
SQUARE = 384  # pixels, a multiple of the cell
PARTS = 4  # squares along each side
WHOLE = PARTS * PARTS * SQUARE * SQUARE  # pixels that are looked at
NEAR = 2  # pixels by which sources may be off and a value still counts as theirs
WIDE = 4  # pixels: radius of the box means that say what is light and what is detail
MOST = 10 * PARTS * PARTS  # squares of all sources that are kept
OWN = 2.0  # times the detail of every other source makes a pixel one source's own
PLAIN = 6.0  # levels of detail below which it is nobody's

Box = tuple[int, int, int, int]  # top, left, bottom, right


class Cells(NamedTuple):
    """Numbers by cell (n), of the result and of k sources, in levels 0..255.

    `places`: top and left. `mean`, `means`: grey level. `energy`, `energies`: mean |4-neighbour Laplacian|. `chroma`,
    `chromas`: mean of B - Y and R - Y. `excess`: mean distance of the result from the sources' range within 2 pixels.
    `ring`: the same of box means of 9 x 9 pixels against the range of the sources' within 4. `own`: sum of squared
    detail that one source alone has; `kept`: sum of the product with the result's, so that kept / own is 1 where it
    came through whole. `share`: share of own pixels.
    """

    places: Shaped[Tensor, "n 2"]
    mean: Float[Tensor, "n"]
    means: Float[Tensor, "n k"]
    energy: Float[Tensor, "n"]
    energies: Float[Tensor, "n k"]
    chroma: Float[Tensor, "n 2"]
    chromas: Float[Tensor, "n k 2"]
    excess: Float[Tensor, "n"]
    ring: Float[Tensor, "n"]
    own: Float[Tensor, "n k"]
    kept: Float[Tensor, "n k"]
    share: Float[Tensor, "n k"]


class Square(NamedTuple):
    """The same part of the result and of every source, 8 or 16 bit or floating point in [0, 1]."""

    box: Box
    fused: Shaped[Tensor, "c a b"]
    sources: list[Shaped[Tensor, "_ a b"]]


def boxes(fused: Shaped[Tensor, "c h w"]) -> list[Box]:
    """What of a picture is looked at."""
    height, width = fused.shape[1:]
    if height * width <= WHOLE:
        rows, columns = (_parts(side, -(-side // SQUARE)) for side in (height, width))
        return [(y.start, x.start, y.stop, x.stop) for y in rows for x in columns]
    small = grey(reduced(fused, 512))
    scale = height / small.shape[0]
    detail = (small - F.avg_pool2d(small[None], 3, 1, 1)[0]).abs()
    sums = F.avg_pool2d(detail[None], [min(max(round(SQUARE / scale), 1), side) for side in small.shape], 1)[0]
    found = []
    for down in _parts(sums.shape[0], PARTS):
        for across in _parts(sums.shape[1], PARTS):
            part = sums[down, across]
            y, x = divmod(int(part.argmax()), part.shape[1])
            top = min(round((down.start + y) * scale), max(height - SQUARE, 0))
            left = min(round((across.start + x) * scale), max(width - SQUARE, 0))
            found.append((top, left, min(top + SQUARE, height), min(left + SQUARE, width)))
    return list(dict.fromkeys(found))


def _parts(length: int, count: int) -> list[slice]:
    """Nearly equal ones, none empty."""
    count = min(count, length)
    return [slice(length * i // count, length * (i + 1) // count) for i in range(count)]


def squares(fused: Shaped[Tensor, "c h w"], sources: Iterable[Shaped[Tensor, "_ _ _"]]) -> list[Square]:
    """The squares of the result and its sources, which are gone through once; those of another size are stretched."""
    places, size = boxes(fused), (fused.shape[1], fused.shape[2])
    kept: list[list[Tensor]] = []
    for source in sources:
        kept.append([cut(source, place, size) for place in places])
        while len(places) > 1 and len(places) * len(kept) > MOST:
            places, kept = places[::2], [parts[::2] for parts in kept]
    return [Square(place, cut(fused, place, size), [parts[i] for parts in kept]) for i, place in enumerate(places)]


def cut(picture: Shaped[Tensor, "c h w"], box: Box, size: tuple[int, int]) -> Shaped[Tensor, "c a b"]:
    """A square of a picture, for itself; if the picture is not of that size it is first stretched (linearly)."""
    top, left, bottom, right = box
    if tuple(picture.shape[1:]) == size:
        return picture[:, top:bottom, left:right].clone()
    for axis, (first, last) in ((1, (top, bottom)), (2, (left, right))):
        length = picture.shape[axis]
        at = ((torch.arange(first, last) + 0.5) * length / size[axis - 1] - 0.5).clamp(0, length - 1)
        below = at.floor().long()
        pair = [picture.index_select(axis, place) for place in (below, (below + 1).clamp_max(length - 1))]
        if axis == 1:
            pair = [levels(part) / 255 for part in pair]
        picture = torch.lerp(pair[0], pair[1], (at - below).reshape(-1, *[1] * (2 - axis)))
    return picture


def measured(parts: Sequence[Square], valid: Bool[Tensor, "1 h w"] | None = None) -> Cells:
    """The cells of all squares but those that hold a pixel that is not valid."""
    cells = [
        of_square(part, None if valid is None else cut(valid, part.box, (valid.shape[1], valid.shape[2]))[0])
        for part in parts
    ]
    return Cells(*(torch.cat(column) for column in zip(*cells, strict=True)))


def of_square(square: Square, valid: Bool[Tensor, "h w"] | None = None) -> Cells:
    """The cells of one square; what is left of a cell at the right and lower border counts as one."""
    fused, sources = levels(square.fused), [levels(source) for source in square.sources]
    y, x = grey(fused), torch.stack([grey(source) for source in sources])
    low, high = _range(x, NEAR)
    excess = (y - high[0]).clamp_min(0) + (low[0] - y).clamp_min(0)
    light, lights = _box(y[None])[0], _box(x)
    below, above = _range(lights, WIDE)
    ring = (light - above[0]).clamp_min(0) + (below[0] - light).clamp_min(0)
    detail, details = y - light, x - lights
    strength = details.abs()
    best = strength.argmax(0, keepdim=True)
    second = strength.scatter(0, best, 0).amax(0, keepdim=True)
    own = torch.zeros_like(strength, dtype=torch.bool)
    own.scatter_(0, best, (strength.gather(0, best) > PLAIN) & (strength.gather(0, best) > OWN * second))
    means = torch.cat(
        [
            y[None],
            x,
            _laplacian(y[None]).abs(),
            _laplacian(x).abs(),
            _chroma(fused),
            *(_chroma(source) for source in sources),
            excess[None],
            ring[None],
            details.square() * own,
            details * detail * own,
            own.float(),
        ]
    )
    cells = F.avg_pool2d(means, CELL, ceil_mode=True, count_include_pad=False)
    rows, columns = cells.shape[1:]
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) * CELL + torch.tensor(square.box[:2])
    numbers = cells.flatten(1).T
    if valid is not None:
        whole = F.max_pool2d((~valid[None]).float(), CELL, ceil_mode=True).flatten() == 0
        numbers, places = numbers[whole], places[whole]
    n, k = len(numbers), len(x)
    parts = numbers.split([1, k, 1, k, 2, 2 * k, 1, 1, k, k, k], 1)
    return Cells(
        places,
        parts[0][:, 0],
        parts[1],
        parts[2][:, 0],
        parts[3],
        parts[4],
        parts[5].reshape(n, k, 2),
        parts[6][:, 0],
        parts[7][:, 0],
        *parts[8:],
    )


def _range(x: Float[Tensor, "k h w"], radius: int) -> tuple[Float[Tensor, "1 h w"], Float[Tensor, "1 h w"]]:
    """Smallest and largest value of all pictures within a square of that radius."""
    ends = torch.cat([-x.amin(0, keepdim=True), x.amax(0, keepdim=True)])
    for size, pad in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        ends = F.max_pool2d(ends, size, 1, pad)
    return -ends[:1], ends[1:]


def _box(x: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    """Mean of the pixels that exist within a square of 9 x 9."""
    for size, pad in (((2 * WIDE + 1, 1), (WIDE, 0)), ((1, 2 * WIDE + 1), (0, WIDE))):
        x = F.avg_pool2d(x, size, 1, pad, count_include_pad=False)
    return x


def _laplacian(x: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    """Four neighbours less four times the pixel, the border repeated."""
    wide = F.pad(x[None], [1, 1, 1, 1], "replicate")[0]
    across = wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
    return across + wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] - 4 * x


def _chroma(picture: Float[Tensor, "c h w"]) -> Float[Tensor, "2 h w"]:
    """B - Y and R - Y; zero of a grey picture."""
    y = grey(picture)
    if picture.shape[0] == 1:
        return torch.zeros_like(picture).expand(2, -1, -1)
    return torch.stack([picture[2] - y, picture[0] - y])
