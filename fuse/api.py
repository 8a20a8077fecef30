"""The package from Python: fuse pictures with any method, score a fused picture."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from fuse import infer, judge, methods
from fuse.arrays import Given, kind_of, like, like_map, read, same_layout
from fuse.data.sample import Sample
from fuse.errors import InputError


def load(method: str | Path, device: str = "cpu", trust: Sequence[str] = ()) -> Callable[..., Any]:
    """A rule by name, or a checkpoint or run folder, as a function of two or more pictures of one scene.

    Pictures, all of one kind: arrays `(h, w)`, `(h, w, 3)` or `(h, w, 4)` with alpha; tensors of these shapes or
    `(c, h, w)` or `(b, c, h, w)`; PIL images; or paths of picture files. RGB; 8 or 16 bit integers or floating point,
    where 1 is white (float64 is computed as float32). What comes back is of the same kind and depth (of paths an
    array), with colour if any source has it, with alpha if all have it. Floats beyond [0, 1] are kept, not clipped.
    Where a source is transparent the others show; the result is as opaque as the most opaque source.

    The function takes three words more. `align`: `off`, `auto` (measures first and aligns where it can, else warns),
    `translation`, `similarity`, `affine` or `homography`; the result has the size and the view of the middle picture,
    of two the first, or where sizes differ of the largest. `color`: `mix`, `grey`, `first` or the number of a source,
    where colour comes from. `want_map`: True returns the picture and a map `(h, w)`, array or tensor, of the number of
    the source, from 0, that every pixel comes from.

    Raises:
        InputError: no such method; from the function: fewer than two pictures, pictures that differ in size, depth or
            kind or are none, or more than the method takes.
    """
    fuser = methods.fuser(str(method), torch.device(device), trust)[0].eval()

    def fuse(*pictures: Any, align: str = "off", color: infer.Policy = "mix", want_map: bool = False) -> Any:
        from fuse.photos import stack

        kinds = {kind_of(picture) for picture in pictures}
        if len(kinds) > 1:
            raise InputError(f"pictures of kinds {', '.join(sorted(kinds))} cannot be mixed; bring them to one")
        stack.check(fuser, len(pictures))
        given = [read(picture) for picture in pictures]
        same_layout(given)
        fused, chosen = fuse_batch(fuser, given, device, align, color, want_map)
        picture = like(fused, given, pictures[0])
        return (picture, like_map(chosen, given, pictures[0])) if chosen is not None else picture

    return fuse


def fuse_batch(
    fuser: nn.Module, given: Sequence[Given], device: str, align: str, policy: infer.Policy, want_map: bool
) -> tuple[Tensor, Tensor | None]:
    """Fused `(b, c, h, w)`, alpha included, and the map `(b, h, w)` if it is wanted."""
    depths = {x.pixels.dtype for x in given}
    if len(depths) > 1:
        told = ", ".join(sorted(str(depth).removeprefix("torch.") for depth in depths))
        raise InputError(f"pictures of types {told} cannot be mixed; bring them to one")
    depth = depths.pop()
    if align == "off" and len({x.pixels.shape[-2:] for x in given}) > 1 and infer.traits(fuser).resizes:
        return resizing(fuser, given, device, policy, want_map)
    made = []
    for number in range(len(given[0].pixels)):
        pictures = [slot(x, number) for x in given]
        moved = pictures if align == "off" else aligned(pictures, align)
        made.append(fuse_one(fuser, moved, device, policy, want_map))
    fused = torch.stack([pixels for pixels, _ in made]).to(depth)
    return fused, torch.cat([chosen for _, chosen in made if chosen is not None]) if want_map else None


class Held(NamedTuple):
    """One picture of a batch, as `fuse.photos` takes it: `pixels` `(c, h, w)`; `alpha` and `valid` `(1, h, w)` or None.

    `valid` is False where an aligned picture has nothing to show.
    """

    pixels: Tensor
    alpha: Tensor | None
    valid: Tensor | None = None


def slot(given: Given, number: int) -> Held:
    """One picture of a batch."""
    pixels, alpha = given.pixels[number], None if given.alpha is None else given.alpha[number]
    if pixels.dtype == torch.float64:
        pixels, alpha = pixels.float(), None if alpha is None else alpha.float()
    return Held(pixels, alpha)


def aligned(pictures: Sequence[Held], kind: str) -> list[Held]:
    """The pictures as one of them sees the scene; see `fuse.align.solve`. Warns of those that stay where they are.

    Raises:
        InputError: an unknown kind, or pictures that cannot be aligned although it was asked for or sizes differ.
    """
    from fuse.align import solve, warp
    from fuse.align.solve import KINDS, Kind
    from fuse.photos import reduced
    from fuse.photos.shelf import ALIGNED_AT

    if kind not in KINDS:
        raise InputError(f"align={kind}: choose one of {', '.join(KINDS)}")
    sizes = [(int(x.pixels.shape[1]), int(x.pixels.shape[2])) for x in pictures]
    greys = [reduced.grey(reduced.reduced(x.pixels, ALIGNED_AT)) for x in pictures]
    found = solve(greys, cast(Kind, kind), sizes=sizes)
    if found.refused and (kind != "auto" or len(set(sizes)) > 1):
        raise InputError("the pictures cannot be aligned: " + "; ".join(found.refused))
    for line in found.refused:
        warnings.warn(f"{line}; it is fused where it is: look for double edges", stacklevel=4)
    moved = []
    for x, transform in zip(pictures, found.transforms, strict=True):
        pixels, valid = warp(x.pixels, transform)
        moved.append(Held(pixels, None if x.alpha is None else warp(x.alpha, transform)[0], valid))
    return moved


def fuse_one(
    fuser: nn.Module, pictures: Sequence[Held], device: str, policy: infer.Policy, want_map: bool
) -> tuple[Tensor, Tensor | None]:
    """Fused `(c, h, w)` of pixels and alpha, alpha included if all have it; the map `(1, h, w)` if it is wanted."""
    from fuse.photos import kinds, memory, stack
    from fuse.photos.frames import Frames
    from fuse.photos.photo import Photo
    from fuse.photos.stored import Stored

    filled, alpha = [x.pixels for x in pictures], None
    if any(x.alpha is not None for x in pictures):
        if len({x.pixels.shape[-2:] for x in pictures}) > 1:
            raise InputError("pictures with alpha must be of one size; bring them to one first, or align them")
        rgb = [Photo(x.pixels.expand(3, -1, -1), x.alpha, Stored("")) for x in pictures]
        filled, alpha = kinds.opaque(rgb)
    frames = Frames()
    for pixels, x in zip(filled, pictures, strict=True):
        frames.add(pixels, x.valid)
    fused, chosen = stack.fuse_frames(fuser, frames, memory.default_limit(), device, policy, want_map=want_map)
    if alpha is not None:
        fused = torch.cat([fused.expand(3, -1, -1), alpha])
    return fused, chosen


def resizing(
    fuser: nn.Module, given: Sequence[Given], device: str, policy: infer.Policy, want_map: bool
) -> tuple[Tensor, None]:
    """Of sources of different sizes, by a fuser that enlarges the smaller ones itself.

    Raises:
        InputError: a map, alpha or another policy than `mix`, which only pictures of one size can have.
    """
    if want_map or policy != "mix" or any(x.alpha is not None for x in given):
        raise InputError("maps, alpha and color= need pictures of one size; bring them to one first")
    batches = zip(*(x.pixels.split(1) for x in given), strict=True)
    return torch.cat([infer.fuse(fuser, batch, device=device) for batch in batches]), None


def evaluate(
    fused: np.ndarray | Tensor,
    sources: Sequence[np.ndarray | Tensor],
    reference: np.ndarray | Tensor | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Metrics by name of one fused picture, 8 or 16 bit, measured as `fuse-eval` does; by default the usual ones.

    Raises:
        InputError: pictures of unequal size, floating-point pictures, or an unknown metric.
    """
    pictures = [tensor(p) for p in (fused, *sources)]
    ideal = None if reference is None else tensor(reference)
    if any(p.is_floating_point() for p in pictures):
        raise InputError("scores are defined on pictures as stored; round to 8 or 16 bit integers first")
    return judge.scores(pictures[0], Sample(tuple(pictures[1:]), ideal), names)


def tensor(picture: np.ndarray | Tensor) -> Tensor:
    """`(h, w)` or `(h, w, 3)` as `(1, c, h, w)`.

    Raises:
        InputError: another shape.
    """
    picture = torch.from_numpy(np.ascontiguousarray(picture)) if isinstance(picture, np.ndarray) else picture
    if picture.dim() == 2:
        return picture[None, None]
    if picture.dim() == 3 and picture.shape[2] in (1, 3):
        return picture.permute(2, 0, 1)[None]
    raise InputError(f"a picture of shape {tuple(picture.shape)} is neither (h, w) nor (h, w, 3)")
