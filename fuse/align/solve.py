"""All pictures of a scene aligned to one of them, with a plain account of what was done and what could not be."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fuse.align.drift import Drift, drift
from fuse.align.measure import Misalignment
from fuse.align.pair import GAIN, PLENTY, Match, Picture, matched
from fuse.align.transforms import Transform, said_size, still
from fuse.errors import InputError

Kind = Literal["auto", "off", "translation", "similarity", "affine", "homography"]
KINDS: tuple[str, ...] = get_args(Kind)
SMALLEST = 48  # pixels: sides below that show too little to align by
LEAST = 0.25  # pixels of the whole picture: what moves by less is left alone
WARNED, FAR = 0.2, 2.5  # share of clear blocks that are off, and by pixels at the size measured, to warn of depth
DRIFTED = 0.02, 3.0  # gain, and grey levels, that are worth saying


class Found(NamedTuple):
    """What was found out about a picture; lengths in its reference's pixels.

    `to`: the picture it was matched with, the next one on the way to the reference. `moved`: median displacement that
    its transform to the reference makes, `scale` (what the picture was enlarged by) and `turn` (degrees) at the centre.
    `before`, `after`: misalignment against `to`, medians of blocks, NaN where nothing could be measured. `confidence`:
    share of the blocks that are in place, 0..1. `drift`: brightness against `to`, of the aligned pixels; NaN for
    sensors that see different light. `map`: misalignment that is left, block by block. None of it is known, and `map`
    None, for the reference.
    """

    name: str
    to: str
    kind: str
    moved: float
    scale: float
    turn: float
    before: float
    after: float
    confidence: float
    drift: Drift
    map: Misalignment | None


class Alignment(NamedTuple):
    """Transforms of all pictures, in their order, from the pixels of the reference, and sentences about each.

    `refused`: about those that could not be aligned, which keep their place; they should not be trusted.
    """

    transforms: tuple[Transform, ...]
    reference: int
    found: tuple[Found, ...]
    said: list[str]
    refused: list[str]


UNKNOWN = Found("", "", "identity", 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, Drift(1.0, 0.0, 1.0), None)


def solve(
    greys: Sequence[Float[Tensor, "_ _"]],
    kind: str = "auto",
    reference: int | None = None,
    names: Sequence[str] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Alignment:
    """Align grey pictures (0..255), each to its neighbour on the way to the reference, and compose the transforms.

    `sizes`: height and width of the whole pictures that the greys are reductions of: transforms and lengths are for
    those. The reference is the middle one unless told, or of pictures of unequal size the first of the largest. A
    `kind` other than auto is fitted without choosing; in either case nothing is moved that does not get better by it.
    A picture that cannot be aligned keeps its place, and those behind it are matched with the one before it.

    Raises:
        InputError: fewer than one picture, an unknown kind, or a reference that is not there.
    """
    if kind not in KINDS:
        raise InputError(f"alignment '{kind}': choose one of {', '.join(KINDS)}")
    whole = [(int(x.shape[0]), int(x.shape[1])) for x in greys] if sizes is None else list(sizes)
    names = [f"picture {i + 1}" for i in range(len(greys))] if names is None else list(names)
    if not greys or (reference is not None and not 0 <= reference < len(greys)):
        raise InputError(f"reference {reference} of {len(greys)} pictures: count from 0")
    middle = chosen(whole) if reference is None else reference
    transforms = {middle: still(whole[middle], whole[middle])}
    found = {middle: UNKNOWN._replace(name=names[middle])}
    steps: dict[int, Step] = {}
    if kind == "off":
        transforms |= {i: still(whole[middle], size) for i, size in enumerate(whole)}
        found |= {i: UNKNOWN._replace(name=name) for i, name in enumerate(names)}
    else:
        for way in (range(middle - 1, -1, -1), range(middle + 1, len(greys))):
            to, neighbour = middle, Picture(levels(greys[middle]))
            for i in way:
                own = Picture(levels(greys[i]))
                step = joined(neighbour, own, transforms[to], whole[i], (names[i], names[to]), kind)
                steps[i], transforms[i], found[i] = step, step.transform, step.found
                if not step.refused:
                    to, neighbour = i, own
    order = range(len(greys))
    said = [line for _, step in sorted(steps.items()) if not step.refused for line in (step.sentence, *step.warnings)]
    refused = [step.sentence for _, step in sorted(steps.items()) if step.refused]
    return Alignment(tuple(transforms[i] for i in order), middle, tuple(found[i] for i in order), said, refused)


def chosen(sizes: Sequence[tuple[int, int]]) -> int:
    """The reference of pictures of these sizes: the first of the largest if they differ, else the middle one."""
    if len(set(sizes)) > 1:
        return max(range(len(sizes)), key=lambda i: (sizes[i][0] * sizes[i][1], -i))
    return (len(sizes) - 1) // 2


def levels(grey: Float[Tensor, "h w"]) -> np.ndarray:
    """As OpenCV takes it; what is no number becomes black."""
    return np.ascontiguousarray(torch.nan_to_num(grey.detach().cpu().float(), 0.0, 255.0, 0.0).numpy())


class Step(NamedTuple):
    """What became of one picture."""

    transform: Transform
    found: Found
    sentence: str
    refused: bool
    warnings: list[str]


def joined(
    reference: Picture, moving: Picture, first: Transform, size: tuple[int, int], names: tuple[str, str], kind: str
) -> Step:
    """A picture matched with its neighbour on the way to the reference, and moved to where the reference sees it.

    `first`: the neighbour's transform; `size` (height, width) of the whole moving picture; `names` of both.
    """
    name, to = names
    if min(*reference.size, *moving.size) < SMALLEST:
        doubt, match = f"too small to align ({said_size(size)})", None
    else:
        match = matched(reference, moving, kind)
        doubt = match.doubt
    if doubt or match is None:
        left = UNKNOWN._replace(name=name, to=to, before=math.nan, after=math.nan, confidence=0.0)
        if match:
            left = left._replace(before=match.before.off, after=match.before.off, confidence=match.after.agree)
            left = left._replace(map=match.before)
        return Step(still(first.reference, size), left, f"{name}: not aligned to {to}: {doubt}", True, [])
    better = worthwhile(match)
    single = still(first.moving, size)
    if better:
        matrix = torch.from_numpy(match.matrix)
        single = Transform(matrix, match.kind, reference.size, moving.size).scaled(first.moving, size)
    transform = first.then(single)
    if first.reference == size and displaced(transform).max() < LEAST:
        transform = still(size, size)
    return told(transform, single, match, better, names, (reference, moving), first.moving)


def worthwhile(match: Match) -> bool:
    """Whether measuring again says that the transform is better than none."""
    first, last = match.scores
    if match.before.map.shape == match.after.map.shape and match.before.agree > match.after.agree + 0.05:
        return False
    falls = not match.after.off >= match.before.off  # not a number: nothing could be measured before
    return bool(last - first >= GAIN * (1 - first) and falls)


def displaced(transform: Transform) -> Float[Tensor, " n"]:
    """How far places all over the reference move, beyond what the sizes alone ask for, in its pixels."""
    height, width = transform.reference
    y, x = torch.meshgrid(torch.linspace(0, height - 1, 9), torch.linspace(0, width - 1, 9), indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], 1).double()
    back = still(transform.reference, transform.moving).inverse()
    return torch.linalg.vector_norm(back.at(transform.at(places)) - places, dim=1).float()


def told(
    transform: Transform,
    single: Transform,
    match: Match,
    better: bool,
    names: tuple[str, str],
    pictures: tuple[Picture, Picture],
    size: tuple[int, int],
) -> Step:
    """The findings about an aligned picture in numbers and in words."""
    name, to = names
    scale = size[1] / pictures[0].size[1]
    kept = match.after if better else match.before
    before, after = match.before.off * scale, kept.off * scale
    if better:  # blocks do not see farther than a quarter of their side
        before = max(displaced(single).median().item(), before)
    _, magnification, turn = transform.motion()
    moved = displaced(transform).median().item()
    shift = drift(pictures[0].grey, pictures[1].grey, match.matrix)
    kind = single.kind if better else "identity"
    found = Found(name, to, kind, moved, 1 / magnification, -turn, before, after, kept.agree, shift, kept)
    if better:
        sentence = (
            f"{name}: moved by {moved:.1f} px, scaled by {found.scale:.3f}, turned by {round(found.turn, 1) + 0.0:.1f} "
            f"degrees ({kind}); residual against {to} {after:.1f} px, was {before:.1f} px"
        )
    elif kept.agree < PLENTY:
        few = f"only {kept.agree:.0%} of the blocks agree with {to}, too few to tell how far it is off"
        sentence = f"{name}: left in place: {few}"
    elif before < 1:
        sentence = f"{name}: in place ({before:.1f} px against {to})"
    else:
        sentence = f"{name}: left in place: {before:.1f} px off {to}, no transform makes it less"
    warnings = []
    if kept.apart > WARNED and kept.parallax > FAR * max(pictures[0].size) / 768:
        warnings.append(
            f"{name}: {kept.apart:.0%} of the clear blocks stay {kept.parallax * scale:.1f} px off: depth (parallax), "
            "which no single transform removes, or strong defocus; look for double edges there"
        )
    gain, level, _ = shift
    if abs(gain - 1) > DRIFTED[0] or abs(level + (gain - 1) * 128) > DRIFTED[1]:
        warnings.append(f"{name}: {gain:.2f} times {to}'s brightness {level:+.1f} grey levels; pixels are not changed")
    return Step(transform, found, sentence, False, warnings)
