"""Two or more pictures of any size into one, tile by tile, and which source every place of it comes from."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fuse import heap, infer
from fuse.data import color
from fuse.errors import InputError
from fuse.models.guided import box_mean
from fuse.models.masks import winners
from fuse.photos import memory
from fuse.photos.frames import Frames

BAND = 256  # rows that are surveyed at a time


class Result(NamedTuple):
    """`pixels` `(c, h, w)` of the depth of the frames; `chosen` `(1, h, w)`, the number of a frame from 0, or None."""

    pixels: Tensor
    chosen: Tensor | None


def fuse_frames(
    fuser: nn.Module,
    frames: Frames,
    limit: int,
    device: torch.device | str = "cpu",
    color: infer.Policy = "mix",
    progress: Callable[[int, int], None] | None = None,
    want_map: bool = False,
    plan: memory.Plan | None = None,
) -> Result:
    """The fused picture, in no more than `limit` bytes of memory; it does not depend on the limit.

    `color` says where colour comes from: `mix` (of luma methods chroma by its distance from grey, else as the method
    gives it), `grey`, or the number of a frame (`first` is 0). `progress` is told tiles done and tiles in all. `plan`:
    None makes one; where memory runs out all the same, tiles become smaller (`infer.fitted`). A selecting fuser of two
    in a stack of more enters by a tournament, see `tournament`.

    `chosen`: of selecting fusers the frame of the largest weight; of others the frame that the result follows, see
    `followed`. Where several are equal, the first.

    Raises:
        InputError: fewer than two frames, a fuser that cannot take so many, a limit or a device that does not allow it,
            a policy that names no frame, or a result that is no number.
    """
    check(fuser, len(frames))
    height, width = frames.size
    channels = 3 if frames.coloured else 1
    plan = plan or memory.plan(
        fuser, len(frames), height, width, channels, frames.depth, limit, frames.masked, device=device
    )
    return infer.fitted(
        lambda side: in_tiles(fuser, frames, side, device, color, progress, want_map),
        plan.tile,
        fuser,
        frames.size,
        device,
    )


def in_tiles(
    fuser: nn.Module,
    frames: Frames,
    side: int | None,
    device: torch.device | str,
    color: infer.Policy,
    progress: Callable[[int, int], None] | None,
    want_map: bool,
) -> Result:
    """The same with tiles of that side; None is the whole picture."""
    facts, (height, width) = infer.traits(fuser), frames.size
    channels = 3 if frames.coloured else 1
    step = max(height, width) if side is None else memory.on(side, facts.multiple)
    margin = memory.margin_of(fuser, infer.FOLLOWS if want_map and not facts.selects else 0)
    pixels = torch.empty(1 if color == "grey" else channels, height, width, dtype=frames.depth)
    chosen = torch.empty(1, height, width, dtype=torch.uint8 if len(frames) <= 256 else torch.int16)
    levels = surveyed(fuser, frames, device) if facts.surveys else None
    corners = [(top, left) for top in range(0, height, step) for left in range(0, width, step)]
    grid = memory.grid(fuser)
    for done, (top, left) in enumerate(corners):
        y0, y1 = around(top, step, margin, height, grid)
        x0, x1 = around(left, step, margin, width, grid)
        stored, valid = frames.window(y0, y1, x0, x1)
        with torch.inference_mode():
            part, number = piece(
                fuser,
                [x.to(device) for x in stored],
                frames.white,
                color,
                frames.coloured,
                want_map,
                [None if mask is None else mask.to(device) for mask in valid],
                levels,
            )
        inner = (..., slice(top - y0, min(top + step, height) - y0), slice(left - x0, min(left + step, width) - x0))
        outer = (..., slice(top, top + step), slice(left, left + step))
        pixels[outer] = part[inner][0].cpu()
        if number is not None:
            chosen[outer] = number[inner][0].cpu().to(chosen.dtype)
        heap.give_back()
        if progress is not None:
            progress(done + 1, len(corners))
    return Result(pixels, chosen if want_map else None)


def around(start: int, step: int, margin: int, end: int, grid: int) -> tuple[int, int]:
    """From where to where a tile of `step` pixels at `start` is seen, of a side of `end` pixels.

    At borders it is as long as elsewhere, since memory of one size is used again and that of many sizes is scattered;
    it begins on the `grid`, so at the far border it is up to one of its steps longer.
    """
    size = step + 2 * margin
    first = max(0, min(start - margin, (end - size) // grid * grid))
    return first, min(end, max(start + step + margin, size))


def surveyed(fuser: nn.Module, frames: Frames, device: torch.device | str) -> Tensor:
    """What a fuser that surveys is to know of whole pictures, from bands of them one after the other."""
    facts, (height, width) = infer.traits(fuser), frames.size
    rows, found = memory.on(BAND, facts.multiple), []
    for top in range(0, height, rows):
        stored, valid = frames.window(top, min(top + rows, height), 0, width)
        pictures = [x.to(device).float() / frames.white for x in stored]
        infer.filled(pictures, [None if mask is None else mask.to(device) for mask in valid])
        found.append(infer.survey(fuser, infer.seen(pictures, facts)))
    return torch.stack(found).sum(0)


def check(fuser: nn.Module, count: int) -> None:
    """
    Raises:
        InputError: fewer than two frames, or a fuser that cannot take so many, not even by a tournament.
    """
    if count < 2:
        raise InputError(f"fusion needs two or more pictures, {count} given")
    if infer.takes(fuser, count) or (infer.traits(fuser).selects and infer.takes(fuser, 2)):
        return
    from fuse.methods import RULES  # here, since that knows every method

    raise InputError(
        f"{type(fuser).__name__} cannot fuse {count} pictures: it takes two, and fusing its results with the next "
        f"picture again and again degrades them. Methods that take any number: {', '.join(RULES)}, and the networks "
        f"{', '.join(ANY_NUMBER)}"
    )


ANY_NUMBER = ("thermal", "medical", "densefuse", "ifcnn", "sesf", "stackmff")


def piece(
    fuser: nn.Module,
    stored: Sequence[Tensor],
    white: float,
    policy: infer.Policy,
    coloured: bool,
    want_map: bool,
    valid: Sequence[Tensor | None] = (),
    levels: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Fused pixels `(1, c, h, w)` of one window and, if wanted, the numbers of the frames they come from.

    `levels` of the whole pictures, see `surveyed`.

    Raises:
        InputError: as `fuse.infer.joined`, or a fuser that changes the size.
    """
    run = partial(infer.padded, levels=levels) if infer.takes(fuser, len(stored)) else tournament
    joined = infer.joined(fuser, stored, white, policy, coloured, run, valid)
    if joined.pixels.shape[-2:] != stored[0].shape[-2:]:
        raise InputError(
            f"{type(fuser).__name__} returns another size than it is given; it is for pictures of unequal sizes"
        )
    if not want_map:
        return joined.pixels, None
    if joined.weights is not None:
        return joined.pixels, joined.weights.argmax(1, keepdim=True)
    return joined.pixels, followed(joined.luma, [color.split(x.float() / white, "full")[0] for x in stored])


def followed(fused: Tensor, sources: Sequence[Tensor]) -> Tensor:
    """Per pixel the number `(1, 1, h, w)` of the source whose detail the result follows; of equal ones the first.

    It is the source from which the result differs by the least variance in the 9x9 pixels around: a difference in
    brightness that is the same all around does not count, one in detail does. Luma `(1, 1, h, w)` each.
    """
    least, number = torch.full_like(fused, float("inf")), torch.zeros_like(fused, dtype=torch.int16)
    for index, source in enumerate(sources):
        apart = fused - source
        variance = box_mean(apart * apart, infer.FOLLOWS) - box_mean(apart, infer.FOLLOWS) ** 2
        number = torch.where(variance < least, index, number)
        least = torch.minimum(variance, least)
    return number


def tournament(fuser: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Weights `(b, n, h, w)` of many sources by a selecting fuser of two: who wins most, summed over all pairs.

    Every source meets every other twice, once in each order, so that neither the order of the stack nor that of a
    pair matters: n (n - 1) calls of the fuser. The largest sum of weights takes all; equal ones share.
    """
    sums = [torch.zeros_like(inputs[0][:, :1], dtype=torch.int64) for _ in inputs]
    for one, other in permutations(range(len(inputs)), 2):
        weights = infer.padded(fuser, [inputs[one], inputs[other]])
        for number, weight in zip((one, other), weights.split(1, 1), strict=True):
            sums[number] += (weight * 2**24).round().long()  # integers add in any order alike
    return winners(torch.cat(sums, 1).double()).to(inputs[0].dtype)
