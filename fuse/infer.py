"""Whole pictures through a fuser: range, padding, tiles, colour; what goes in as stored comes out as stored."""

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data import color
from fuse.errors import InputError, ran_out
from fuse.order import summed

log = logging.getLogger(__name__)
Made = TypeVar("Made")
Policy = Literal["mix", "first", "grey"] | int  # where colour comes from, see `chroma_of` and `recoloured`
FOLLOWS = 4  # radius of the window in which a result is compared with its sources
TILE_ABOVE = 2**21  # pixels; larger pictures are tiled where the fuser says how far it sees
LEAST = 128  # side of the smallest tiles that are tried when memory runs out


class Traits(NamedTuple):
    """What inference must know of a fuser: attributes of its class, with these defaults where it has none.

    `channels`: 1 if it takes luma, 3 if RGB. `luma`: which conversion. `selects`: it returns weights `(b, n, h, w)`
    that sum to 1 instead of a picture. `margin`: how many pixels away an input can matter (None: everywhere, never
    tile). `multiple`: sides and tile corners must be multiples of it. `resizes`: it takes sources of different sizes
    and returns the largest; such a fuser is never tiled. `everywhere`: why it has no margin, in a few words. `arity`:
    how many sources it takes, no more and no fewer (None: as many as its `forward` can be called with). `surveys`: it
    takes levels from whole pictures; `survey` of their parts, added up, is what its `forward` takes as `levels`.
    """

    channels: int = 1
    luma: color.Luma = "full"
    selects: bool = False
    margin: int | None = None
    multiple: int = 1
    resizes: bool = False
    everywhere: str = ""
    arity: int | None = None
    surveys: bool = False


def traits(fuser: Callable[..., Tensor]) -> Traits:
    """The traits of a fuser."""
    facts: dict[str, Any] = {field: getattr(fuser, field, default) for field, default in Traits._field_defaults.items()}
    return Traits(**facts)


def fuse(
    fuser: nn.Module, sources: Sequence[Tensor], tile: int | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Fused picture `(1, c, h, w)` of stored pictures of one depth (and size, unless the fuser resizes); c is 3 if any
    source is coloured.

    Selecting fusers mix the stored pixels themselves. Luma fusers work on luma; chroma follows by the distance-from-
    grey rule. `tile` is the side of the squares large pictures are cut into (None: whole up to 2 megapixels, then
    1024; smaller ones where memory runs out, see `fitted`); the result does not depend on it beyond float32 rounding.
    `device`: where it is computed (None: where the fuser's parameters are). Floats are clipped to [0, 1];
    `fuse.photos.stack` takes others too.

    Raises:
        InputError: no sources, sources that differ in size or depth or are no numbers, a fuser that cannot take so
            many, or too little memory.
    """
    if not sources:
        raise InputError("there is nothing to fuse; give two or more pictures")
    facts, depths, sizes = traits(fuser), {x.dtype for x in sources}, {tuple(x.shape[-2:]) for x in sources}
    if (len(sizes) > 1 and not facts.resizes) or len(depths) > 1:
        raise InputError(
            f"sources of sizes {sorted(f'{w}x{h}' for h, w in sizes)} and depths {sorted(map(str, depths))} cannot be "
            "fused pixel by pixel; bring them to one size and depth first"
        )
    depth = depths.pop()
    white = 1.0 if depth.is_floating_point else {torch.uint8: 255.0, torch.uint16: 65535.0}.get(depth)
    if white is None:
        raise InputError(f"pictures of {depth} are not known here; give 8 or 16 bit integers, or floats in [0, 1]")
    if depth.is_floating_point and not all(bool(torch.isfinite(x).all()) for x in sources):
        raise InputError("a picture has pixels that are not numbers; find out where they come from before fusing")
    device = device or next((p.device for p in fuser.parameters()), torch.device("cpu"))

    def in_tiles(side: int | None) -> Tensor:
        with torch.inference_mode():
            return joined(
                fuser, [x.to(device) for x in sources], white, run=lambda fuser, inputs: whole(fuser, inputs, side)
            ).pixels.cpu()

    height, width = sources[0].shape[-2:]
    fused = fitted(in_tiles, tile or usual(height, width), fuser, (height, width), device)
    return fused.clamp(0, 1) if depth.is_floating_point else fused


def usual(height: int, width: int) -> int | None:
    """Side of the tiles where none is asked for; None: the whole picture."""
    return None if height * width <= TILE_ABOVE else 1024


def fitted(
    run: Callable[[int | None], Made],
    tile: int | None,
    fuser: nn.Module,
    size: tuple[int, int],
    device: torch.device | str,
) -> Made:
    """`run(tile)`, which fuses pictures of `size` in tiles (None: whole). While memory runs out it is run again with
    tiles of half the side, down to 128 pixels, each time with a warning.

    Raises:
        InputError: not even these fit, or the fuser must see the whole picture.
    """
    facts, (height, width) = traits(fuser), size
    while True:
        try:
            return run(tile)
        except (RuntimeError, MemoryError) as problem:
            if not ran_out(problem):
                raise
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
        side = min(tile or max(size), max(size))
        what = f"memory of {device} ran out when {type(fuser).__name__} fused {width}x{height} pixels"
        advice = f"{'' if torch.device(device).type == 'cpu' else 'use the cpu as device, '}take another method or "
        advice += "smaller pictures, or free memory"
        if facts.margin is None or facts.resizes:
            why = f" ({facts.everywhere})" if facts.everywhere else ""
            raise InputError(f"{what}, which it must see as a whole{why}; {advice}")
        if side <= LEAST:
            raise InputError(f"{what} in tiles of {side}, and smaller ones are not tried; {advice}")
        tile = max(LEAST, side // 2)
        log.warning("%s%s; now in tiles of %d", what, f" in tiles of {side}" if side < max(size) else "", tile)


class Joined(NamedTuple):
    """`pixels` `(1, c, h, w)` as stored; `weights` `(1, n, h, w)` of selecting fusers, else None; `luma` in [0, 1]
    before it was clipped or rounded, full range."""

    pixels: Tensor
    weights: Tensor | None
    luma: Tensor


def joined(
    fuser: nn.Module,
    sources: Sequence[Tensor],
    white: float,
    policy: Policy = "mix",
    coloured: bool | None = None,
    run: Callable[[nn.Module, Sequence[Tensor]], Tensor] | None = None,
    valid: Sequence[Tensor | None] = (),
) -> Joined:
    """Fused picture of stored pictures `(1, c, h, w)` of one depth, on whose scale `white` is what fusers see as 1.

    Integers are clipped to their range and rounded; floats are neither. Where a selecting fuser gives one source all
    the weight its pixel comes out bit for bit. `coloured`: whether the result is (None: if a source is); `run`: calls
    the fuser (None: `padded`). `valid` `(1, 1, h, w)` per source: where it is False
    the source has no pixels; the mean of the others stands in, and it has no weight.

    Raises:
        InputError: a policy that names no source, or a result that is no number.
    """
    facts, call = traits(fuser), run or padded
    coloured = any(x.shape[1] == 3 for x in sources) if coloured is None else coloured
    pictures = [x.float() / white for x in sources]
    known = filled(pictures, valid)
    weights = None
    if facts.selects:
        weights = call(fuser, seen(pictures, facts))
        if known is not None:
            weights = weights * known
            total = summed(weights.split(1, 1))
            weights = torch.where(total > 0, weights / total, known / known.sum(1, keepdim=True))
        shown = [x.expand(-1, 3 if coloured else 1, -1, -1) for x in pictures]
        fused = sum_weighted(weights, shown)
        luma = color.split(fused, "full")[0]
    elif facts.channels == 3:
        fused = call(fuser, seen(pictures, facts))
        luma = color.split(fused, "full")[0]
        fused = fused if coloured else luma
    else:
        parts = [color.split(x, facts.luma) for x in pictures]
        y = call(fuser, [y for y, _ in parts])
        luma = color.grey_from_luma(y, facts.luma)
        fused = luma
        if coloured and policy != "grey":
            chroma = [resized(c, y.shape[-2:]) for _, c in parts]
            fused = color.join(y, chroma_of(chroma, policy), facts.luma)
    if coloured and policy != "mix" and (facts.selects or facts.channels == 3):
        fused = recoloured(luma, pictures, policy)
    if not bool(torch.isfinite(fused).all()):
        raise InputError(f"{type(fuser).__name__} made pixels that are not numbers; its weights are damaged")
    depth = sources[0].dtype
    if not depth.is_floating_point:
        return Joined((fused.clamp(0, 1) * white).round().to(depth), weights, luma)
    pixels = (fused * white).to(depth)
    if weights is not None and (policy == "mix" or not coloured):
        for source, weight in zip(sources, weights.split(1, 1), strict=True):
            pixels = torch.where(weight == 1, source.expand_as(pixels), pixels)
    return Joined(pixels, weights, luma)


def seen(pictures: Sequence[Tensor], facts: Traits) -> list[Tensor]:
    """What of pictures in [0, 1] a fuser is given: their luma, or RGB."""
    return [x.expand(-1, 3, -1, -1) if facts.channels == 3 else color.split(x, facts.luma)[0] for x in pictures]


def filled(pictures: list[Tensor], valid: Sequence[Tensor | None]) -> Tensor | None:
    """Puts the mean of the valid pictures where a picture is not; which are valid, as `(1, n, h, w)` of 0 and 1.

    None where all are everywhere; where none is, all are taken as they are.
    """
    if all(mask is None for mask in valid):
        return None
    masks = [torch.ones_like(x[:, :1]) if m is None else m.to(x) for x, m in zip(pictures, valid, strict=True)]
    known = torch.cat(masks, 1)
    count = known.sum(1, keepdim=True)
    known = torch.where(count > 0, known, 1)
    wide = max(x.shape[1] for x in pictures)
    mean = summed([x.expand(-1, wide, -1, -1) * known[:, i : i + 1] for i, x in enumerate(pictures)])
    mean = mean / known.sum(1, keepdim=True)
    for i, x in enumerate(pictures):
        stand_in = mean if x.shape[1] == wide else color.split(mean, "full")[0]
        pictures[i] = torch.where(known[:, i : i + 1] > 0, x, stand_in)
    return known


def chroma_of(chroma: Sequence[Tensor], policy: Policy) -> Tensor:
    """Chroma `(b, 2, h, w)` of the result: of all sources by the distance-from-grey rule (`mix`), or of one of them.

    Raises:
        InputError: there is no source of that number.
    """
    if policy == "mix":
        return color.distance_from_grey(chroma)
    number = 0 if policy == "first" else policy
    if not isinstance(number, int) or not 0 <= number < len(chroma):
        raise InputError(
            f"colour of source '{policy}' of {len(chroma)}: choose mix, grey, first, or the number of a source, "
            "which begins at 0"
        )
    return chroma[number]


def recoloured(luma: Tensor, pictures: Sequence[Tensor], policy: Policy) -> Tensor:
    """Luma alone (`grey`), or with the chroma of one picture."""
    if policy == "grey":
        return luma
    return color.join(luma, chroma_of([color.split(x, "full")[1] for x in pictures], policy), "full")


def sum_weighted(weights: Tensor, pictures: Sequence[Tensor]) -> Tensor:
    """Pictures `(b, c, h, w)` mixed by weights `(b, n, h, w)`, in any order alike; a weight of 1 returns the pixel."""
    return summed([weights[:, i : i + 1] * picture for i, picture in enumerate(pictures)])


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bicubic, only where the size differs."""
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, tuple(size), mode="bicubic")


def whole(fuser: nn.Module, inputs: Sequence[Tensor], tile: int | None = None) -> Tensor:
    """What the fuser makes of pictures of any size: padded to its multiple, tiled if large, cut back.

    Raises:
        InputError: the fuser cannot take so many sources.
    """
    if not takes(fuser, len(inputs)):
        raise InputError(f"{type(fuser).__name__} cannot fuse {len(inputs)} pictures at once")
    facts, (height, width) = traits(fuser), inputs[0].shape[-2:]
    side = tile or usual(height, width)
    if side is None or facts.margin is None or facts.resizes:
        return padded(fuser, inputs)
    levels = survey(fuser, inputs) if facts.surveys else None
    return padded(lambda *parts, **told: tiled(partial(fuser, **told), parts, side, facts), inputs, facts, levels)


def survey(fuser: Any, inputs: Sequence[Tensor]) -> Tensor:
    """The survey of a fuser that surveys, of pictures of any size as it sees them."""
    surveyed: Tensor = fuser.survey(*grown(inputs, traits(fuser).multiple))
    return surveyed


def takes(fuser: nn.Module, count: int) -> bool:
    """Whether a fuser can be called with so many sources at once."""
    try:
        inspect.signature(fuser.forward).bind(*[None] * count)
    except TypeError:
        return False
    return traits(fuser).arity in (None, count)


def padded(
    fuser: Callable[..., Tensor], inputs: Sequence[Tensor], facts: Traits | None = None, levels: Tensor | None = None
) -> Tensor:
    """What the fuser makes of pictures that are brought to its multiple, cut back to size.

    `levels`: of a fuser that surveys, the survey of the pictures that these are parts of (None: they are whole).
    """
    facts = facts or traits(fuser)
    told = {} if levels is None else {"levels": levels}
    if facts.resizes:
        return fuser(*inputs)
    height, width = inputs[0].shape[-2:]
    return fuser(*grown(inputs, facts.multiple), **told)[..., :height, :width]


def grown(inputs: Sequence[Tensor], multiple: int) -> list[Tensor]:
    """Pictures whose sides are brought to a multiple by repeating the right and lower border, and to two pixels."""
    height, width = inputs[0].shape[-2:]
    down, right = (max(-side % multiple, 2 - side) for side in (height, width))  # one pixel cannot be reflected
    return [F.pad(x, [0, right, 0, down], mode="replicate") for x in inputs] if down or right else list(inputs)


def tiled(fuser: Callable[..., Tensor], inputs: Sequence[Tensor], side: int, facts: Traits) -> Tensor:
    """Result joined from squares of `side` pixels, each computed with a margin as wide as the fuser sees."""
    step = max(facts.multiple, side // facts.multiple * facts.multiple)
    margin = -(-(facts.margin or 0) // facts.multiple) * facts.multiple
    height, width = inputs[0].shape[-2:]
    rows = []
    for top in range(0, height, step):
        row = []
        for left in range(0, width, step):
            y0, x0 = max(0, top - margin), max(0, left - margin)
            y1, x1 = min(height, top + step + margin), min(width, left + step + margin)
            part = fuser(*(x[..., y0:y1, x0:x1] for x in inputs))
            row.append(part[..., top - y0 : top - y0 + step, left - x0 : left - x0 + step])
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)
