"""Whole pictures through a fuser: range, padding, tiles, colour; what goes in as stored comes out as stored."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data import color
from fuse.errors import InputError

TILE_ABOVE = 2**21  # pixels; larger pictures are tiled where the fuser says how far it sees


class Traits(NamedTuple):
    """What inference must know of a fuser: attributes of its class, with these defaults where it has none.

    `channels`: 1 if it takes luma, 3 if RGB. `luma`: which conversion. `selects`: it returns weights `(b, n, h, w)`
    that sum to 1 instead of a picture. `margin`: how many pixels away an input can matter (None: everywhere, never
    tile). `multiple`: sides and tile corners must be multiples of it. `resizes`: it takes sources of different sizes
    and returns the largest; such a fuser is never tiled.
    """

    channels: int = 1
    luma: color.Luma = "full"
    selects: bool = False
    margin: int | None = None
    multiple: int = 1
    resizes: bool = False


def traits(fuser: nn.Module) -> Traits:
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
    1024); the result does not depend on it beyond float32 rounding. `device`: where it is computed (None: where the
    fuser's parameters are).

    Raises:
        InputError: no sources, sources that differ in size or depth or are no numbers, or a fuser that cannot take
            so many.
    """
    if not sources:
        raise InputError("there is nothing to fuse; give two or more pictures")
    facts, coloured = traits(fuser), any(x.shape[1] == 3 for x in sources)
    depths, sizes = {x.dtype for x in sources}, {tuple(x.shape[-2:]) for x in sources}
    if (len(sizes) > 1 and not facts.resizes) or len(depths) > 1:
        raise InputError(
            f"sources of sizes {sorted(f'{w}x{h}' for h, w in sizes)} and depths {sorted(map(str, depths))} cannot be "
            "fused pixel by pixel; bring them to one size and depth first"
        )
    depth = depths.pop()
    full = 1.0 if depth.is_floating_point else {torch.uint8: 255.0, torch.uint16: 65535.0}.get(depth)
    if full is None:
        raise InputError(f"pictures of {depth} are not known here; give 8 or 16 bit integers, or floats in [0, 1]")
    if depth.is_floating_point and not all(bool(torch.isfinite(x).all()) for x in sources):
        raise InputError("a picture has pixels that are not numbers; find out where they come from before fusing")
    device = device or next((p.device for p in fuser.parameters()), torch.device("cpu"))
    pictures = [x.to(device).float() / full for x in sources]
    with torch.inference_mode():
        if facts.channels == 3:
            rgb = [x.expand(-1, 3, -1, -1) for x in pictures]
            fused = whole(fuser, rgb, tile)
            if facts.selects:
                fused = sum_weighted(fused, rgb if coloured else pictures)
            elif not coloured:
                fused = color.split(fused, "full")[0]
        else:
            parts = [color.split(x, facts.luma) for x in pictures]
            result = whole(fuser, [y for y, _ in parts], tile)
            if facts.selects:
                shown = [x.expand(-1, 3 if coloured else 1, -1, -1) for x in pictures]
                fused = sum_weighted(result, shown)
            elif coloured:
                chroma = [resized(c, result.shape[-2:]) for _, c in parts]
                fused = color.join(result, color.distance_from_grey(chroma), facts.luma)
            else:
                fused = color.grey_from_luma(result, facts.luma)
    if not bool(torch.isfinite(fused).all()):
        raise InputError(f"{type(fuser).__name__} made pixels that are not numbers; its weights are damaged")
    if depth.is_floating_point:
        return fused.clamp(0, 1).to(depth).cpu()
    return (fused.clamp(0, 1) * full).round().to(depth).cpu()


def sum_weighted(weights: Tensor, pictures: Sequence[Tensor]) -> Tensor:
    """Pictures `(b, c, h, w)` mixed by weights `(b, n, h, w)`; a weight of 1 returns the pixel untouched."""
    mixed = torch.zeros_like(pictures[0])
    for i, picture in enumerate(pictures):
        mixed = mixed + weights[:, i : i + 1] * picture
    return mixed


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bicubic, only where the size differs."""
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, tuple(size), mode="bicubic")


def whole(fuser: nn.Module, inputs: Sequence[Tensor], tile: int | None = None) -> Tensor:
    """What the fuser makes of pictures of any size: padded to its multiple, tiled if large, cut back.

    Raises:
        InputError: the fuser cannot take so many sources.
    """
    try:
        inspect.signature(fuser.forward).bind(*inputs)
    except TypeError as problem:
        raise InputError(f"{type(fuser).__name__} cannot fuse {len(inputs)} pictures at once") from problem
    facts = traits(fuser)
    if facts.resizes:
        return fuser(*inputs)
    height, width = inputs[0].shape[-2:]
    down, right = (max(-side % facts.multiple, 2 - side) for side in (height, width))  # one pixel cannot be reflected
    padded = [F.pad(x, [0, right, 0, down], mode="replicate") for x in inputs] if down or right else list(inputs)
    side = tile or (None if height * width <= TILE_ABOVE else 1024)
    if side is None or facts.margin is None:
        return fuser(*padded)[..., :height, :width]
    return tiled(fuser, padded, side, facts)[..., :height, :width]


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
