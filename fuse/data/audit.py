"""Looks through a folder of pairs or stacks for what spoils fusion before a method is to blame."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from fuse.data import alike, io, names, offset, own
from fuse.data.color import grey_levels
from fuse.errors import InputError

KNOWN = (
    ("near", "far"),
    ("near", "mid", "far"),
    ("ir", "vi"),
    ("under", "over"),
    ("ct", "mri"),
    ("pet", "mri"),
    ("spect", "mri"),
)
COLOURED = {"vi", "pet", "spect"}  # roles of which the partner is grey
SHIFT = 1.5  # pixels: a shorter offset is not worth a word
WHITE = 0.05  # share of pixels at the largest value
CHROMA = 4.0  # levels of 255 between channels from which a picture counts as coloured


class Picture(NamedTuple):
    """What one file holds, in numbers."""

    size: tuple[int, int]  # width, height
    depth: str
    white: float
    black: float
    mean: float
    chroma: float  # mean difference of largest and smallest channel, levels of 255
    odd: list[str]  # what is strange about how it is stored


class Report(NamedTuple):
    """`scenes`: per stem the sizes, offsets and findings of its pictures. `unmatched`: stems that lack a role.
    `same`: two scenes that look the same, with their likeness. `equal`: groups of files with the same bytes.
    `unreadable`: files, and why.
    """

    folder: str
    roles: list[str]
    scenes: dict[str, dict[str, Any]]
    unmatched: list[str]
    same: list[tuple[str, str, float]]
    equal: list[list[str]]
    unreadable: list[str]


def audit(folder: Path, roles: Sequence[str] | None = None, maps: Path | None = None) -> Report:
    """Look at every scene below a folder; `maps` is where a picture of the offsets of every pair is written to.

    Without `roles` the folder's own folders of pictures are the roles, or those of the usual pairs that file names
    speak of. Offsets are those of every other role against the first.

    Raises:
        InputError: no folder, or no scene in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name one that holds pairs")
    found = sources(folder, roles)
    stems = names.complete(found)
    if not stems:
        raise InputError(f"{folder}: no scene is complete.\n{own.account(found, folder)}")
    scenes: dict[str, dict[str, Any]] = {}
    thumbnails: dict[str, list[Tensor]] = {}
    digests: dict[str, str] = {}
    unreadable: list[str] = []
    for stem in tqdm(stems, unit="scene", disable=None):
        try:
            pictures = {role: io.read(paths[stem]) for role, paths in found.items()}
        except InputError as problem:
            unreadable.append(f"{stem}: {problem}")
            continue
        files = {role: io.file(paths[stem]) for role, paths in found.items() if not io.in_volume(paths[stem])}
        digests |= {f"{role}/{stem}": hashlib.sha256(path.read_bytes()).hexdigest() for role, path in files.items()}
        scenes[stem] = scene(stem, pictures, maps)
        thumbnails[stem] = [alike.thumbnail(picture) for picture in pictures.values()]
    every = {f"{role}/{stem}" for role, paths in found.items() for stem in paths}
    return Report(
        str(folder),
        list(found),
        scenes,
        sorted(name for name in every if name.split("/", 1)[1] not in stems),
        alike.same_scenes(list(thumbnails), list(thumbnails.values())),
        alike.equal_files(digests),
        unreadable,
    )


def sources(folder: Path, roles: Sequence[str] | None) -> Mapping[str, Mapping[str, Path]]:
    """The pictures by role and stem.

    Raises:
        InputError: two files mean the same picture.
    """
    if roles:
        return own.recognised(folder, roles)
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and io.pictures(path)]
    if len(inside) > 1:
        return {path.name: io.pictures(path) for path in inside}
    return max((own.recognised(folder, known) for known in KNOWN), key=lambda found: len(names.complete(found)))


def scene(stem: str, pictures: Mapping[str, Tensor], maps: Path | None) -> dict[str, Any]:
    """Sizes, offsets and findings of one scene."""
    facts = {role: looked(picture) for role, picture in pictures.items()}
    first, *others = pictures
    findings = [f"{role} {odd}" for role, fact in facts.items() for odd in fact.odd]
    offsets: dict[str, dict[str, float]] = {}
    if len({fact.size for fact in facts.values()}) > 1:
        sizes = ", ".join(f"{role} {fact.size[0]}x{fact.size[1]}" for role, fact in facts.items())
        findings.append(f"unequal sizes: {sizes}")
    else:
        grey = {role: grey_levels(picture[None])[0, 0].float() for role, picture in pictures.items()}
        for role in others:
            if torch.equal(grey[first], grey[role]):
                findings.append(f"{role} is the same picture as {first}")
                continue
            if min(grey[first].shape) < 2 * offset.BLOCK[0] // 3:
                continue  # too small for blocks that say anything
            shift = offset.between(grey[first], grey[role])
            numbers = {"dx": shift.dx, "dy": shift.dy, "confidence": shift.confidence, "spread": shift.spread}
            offsets[role] = {name: round(value, 2) for name, value in numbers.items()}
            findings += shifted(role, shift)
            if maps:
                io.write(maps / f"{stem}-{role}.png", offset.picture(grey[first], shift))
    findings += swapped(facts)
    if len({fact.depth for fact in facts.values()}) > 1:
        findings.append("unequal depths: " + ", ".join(f"{role} {fact.depth}" for role, fact in facts.items()))
    return {
        "sizes": {role: list(fact.size) for role, fact in facts.items()},
        "white": {role: round(fact.white, 4) for role, fact in facts.items()},
        "black": {role: round(fact.black, 4) for role, fact in facts.items()},
        "offsets": offsets,
        "findings": findings,
    }


def looked(picture: Tensor) -> Picture:
    """The numbers of a picture `(c, h, w)` as stored, and what is strange about its values."""
    full = torch.iinfo(picture.dtype).max
    values = picture.to(torch.int32)
    largest, channels = int(values.max()), values.shape[0]
    chroma = (values.amax(0) - values.amin(0)).double().mean().item() / full * 255
    white = (values.amin(0) == full).double().mean().item()
    odd = []
    if picture.dtype == torch.uint16 and largest:
        if bool((values % 257 == 0).all()):
            odd.append("holds 8 bit values in 16 bits")
        elif largest < 2**15:
            odd.append(f"uses {largest.bit_length()} of 16 bits: it will look dark; stretch it by its true white")
    if channels == 3 and chroma == 0:
        odd.append("is grey stored as colour")
    if white > WHITE:
        odd.append(f"is white in {white:.0%} of its pixels")
    if int(values.min()) == largest:
        odd.append("is flat")
    size = values.shape[2], values.shape[1]
    black = (values.amax(0) == 0).double().mean().item()
    return Picture(size, f"{full.bit_length()} bit", white, black, values.double().mean().item() / full, chroma, odd)


def shifted(role: str, shift: offset.Offset) -> Iterator[str]:
    """A sentence about an offset, if it is long enough and can be trusted."""
    if shift.confidence < offset.TRUSTED:
        perhaps = f"perhaps {shift.dx:+.1f}, {shift.dy:+.1f} pixels"
        yield f"{role}: its offset cannot be told, {perhaps} (confidence {shift.confidence:.2f})"
    elif torch.tensor([shift.dx, shift.dy]).norm() >= SHIFT:
        yield f"{role} is shifted by {shift.dx:+.1f}, {shift.dy:+.1f} pixels (confidence {shift.confidence:.2f})"


def swapped(facts: Mapping[str, Picture]) -> Iterator[str]:
    """Roles that look like one another's, where pictures can tell: by colour, and by exposure."""
    for role, fact in facts.items():
        for other, partner in facts.items():
            grey_role = role in COLOURED and other not in COLOURED and other in ("ir", "mri")
            if grey_role and fact.chroma < CHROMA / 4 and partner.chroma > CHROMA:
                yield f"{role} is grey and {other} in colour: the roles may be swapped"
    if {"under", "over"} <= set(facts) and facts["under"].mean > facts["over"].mean:
        yield "under is brighter than over: the roles may be swapped"
