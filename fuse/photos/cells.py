"""What a fused picture and its sources hold in every cell of 16 x 16 pixels: the numbers that `check` judges by.

Detail must be looked at in full size and pictures of 100 megapixels cannot be, for every warning: up to 2.4 megapixels
are looked at whole, larger ones in 16 squares of 384 pixels, in each sixteenth of the picture the one with most detail.
Sources are gone through one after the other, each once, and only their squares are kept.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
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


def squares(fused: Shaped[Tensor, "c h w"]) -> list[Box]:
    """What of a picture is looked at."""
    height, width = fused.shape[1:]
    if height * width <= WHOLE:
        return [(0, 0, height, width)]
    small = grey(reduced(fused, 512))
    scale = height / small.shape[0]
    detail = (small - F.avg_pool2d(small[None], 3, 1, 1)[0]).abs()
    side = max(min(round(SQUARE / scale), *small.shape), 1)
    sums = F.avg_pool2d(detail[None], side, 1)[0]
    found = []
    for rows in _parts(sums.shape[0]):
        for columns in _parts(sums.shape[1]):
            part = sums[rows, columns]
            y, x = divmod(int(part.argmax()), part.shape[1])
            top = min(max(round((rows.start + y) * scale), 0), max(height - SQUARE, 0))
            left = min(max(round((columns.start + x) * scale), 0), max(width - SQUARE, 0))
            found.append((top, left, min(top + SQUARE, height), min(left + SQUARE, width)))
    return list(dict.fromkeys(found))


def _parts(length: int) -> list[slice]:
    edges = [length * i // PARTS for i in range(PARTS + 1)]
    return [slice(a, max(b, a + 1)) for a, b in pairwise(edges) if a < length]


def cut(picture: Shaped[Tensor, "c h w"], box: Box, size: tuple[int, int]) -> Float[Tensor, "c a b"]:
    """Levels of a square of a picture that is first stretched (linearly) to the size of the result, if it differs."""
    top, left, bottom, right = box
    if tuple(picture.shape[1:]) == size:
        return levels(picture[:, top:bottom, left:right])
    for axis, (first, last) in ((1, (top, bottom)), (2, (left, right))):
        length = picture.shape[axis]
        at = ((torch.arange(first, last) + 0.5) * length / size[axis - 1] - 0.5).clamp(0, length - 1)
        below = at.floor().long()
        pair = [picture.index_select(axis, place) for place in (below, (below + 1).clamp_max(length - 1))]
        if axis == 1:
            pair = [levels(part) for part in pair]
        picture = torch.lerp(pair[0], pair[1], (at - below).reshape(-1, *[1] * (2 - axis)))
    return picture


def measured(
    fused: Shaped[Tensor, "c h w"],
    sources: Iterable[Shaped[Tensor, "_ _ _"]],
    valid: Bool[Tensor, "1 h w"] | None = None,
) -> tuple[Cells, list[Float[Tensor, "c a b"]], list[list[Float[Tensor, "_ a b"]]]]:
    """The cells of all squares, and the squares themselves: of the result, and by square of every source.

    Cells with a pixel that is not `valid` are left out.
    """
    boxes, size = squares(fused), (fused.shape[1], fused.shape[2])
    kept = [[cut(source, box, size) for box in boxes] for source in sources]
    results = [cut(fused, box, size) for box in boxes]
    groups = [[source[i] for source in kept] for i in range(len(boxes))]
    parts = [
        of_square(result, group, box, None if valid is None else valid[0, box[0] : box[2], box[1] : box[3]])
        for result, group, box in zip(results, groups, boxes, strict=True)
    ]
    return Cells(*(torch.cat(column) for column in zip(*parts, strict=True))), results, groups


def of_square(
    fused: Float[Tensor, "c h w"],
    sources: Sequence[Float[Tensor, "_ h w"]],
    box: Box,
    valid: Bool[Tensor, "h w"] | None,
) -> Cells:
    """The cells of one square; what is left of a cell at the right and lower border counts as one."""
    y, x = grey(fused), torch.stack([grey(source) for source in sources])
    low, high = _range(x, NEAR)
    excess = (y - high[0]).clamp_min(0) + (low[0] - y).clamp_min(0)
    light, lights = _box(y[None])[0], _box(x)
    below, above = _range(lights, WIDE)
    ring = (light - above[0]).clamp_min(0) + (below[0] - light).clamp_min(0)
    detail, details = y - light, x - lights
    strength = details.abs()
    if len(x) > 1:
        first, second = strength.topk(2, 0).values
        others = torch.where(strength == first, second, first)
    else:
        others = torch.zeros_like(strength)
    own = (strength > OWN * others) & (strength > PLAIN)
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
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) * CELL + torch.tensor(box[:2])
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
    size = 2 * radius + 1
    high = F.max_pool2d(x.amax(0, keepdim=True), size, 1, radius)
    return -F.max_pool2d(-x.amin(0, keepdim=True), size, 1, radius), high


def _box(x: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    """Mean of the pixels that exist within a square of 9 x 9."""
    return F.avg_pool2d(x, 2 * WIDE + 1, 1, WIDE, count_include_pad=False)


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
