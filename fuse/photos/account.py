"""What one job did, gathered for its page."""

import math
import platform
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

import torch
from torch import Tensor

from fuse.align.solve import Found
from fuse.photos.check import Doubt
from fuse.photos.frames import Frames
from fuse.photos.kinds import BITS, Kind
from fuse.photos.page import SIDE, Shown, Story
from fuse.photos.reduced import reduced
from fuse.photos.shelf import Held
from fuse.photos.task import Guess

FEW = 6  # sources that are shown at the size of the result


def cut(picture: Tensor, area: Sequence[int]) -> Tensor:
    """The part of a picture `(c, h, w)` from top and left to bottom and right."""
    top, left, bottom, right = area
    return picture[:, top:bottom, left:right]


def sources(
    names: Sequence[str],
    shelf: Sequence[Held],
    frames: Frames,
    area: Sequence[int],
    guess: Guess,
    found: Sequence[Found],
) -> Iterator[Shown]:
    """Every source as it lies on the result, reduced for the page, with what is known of it."""
    side = SIDE if len(names) <= FEW else SIDE // 3
    for number, (name, held) in enumerate(zip(names, shelf, strict=True)):
        height, width = held.size
        small = reduced(shown(cut(frames.picture(number), area), frames), side).round().clamp(0, 255).to(torch.uint8)
        what = f"{width}x{height}, {BITS[held.pixels.depth]}, {held.stored.suffix.removeprefix('.').upper()}"
        role = guess.roles[number] if guess.roles else ""
        made = Shown(name, small, what, role)
        if found and found[number].map is not None:
            own = found[number]
            made = made._replace(
                moved="not aligned" if math.isnan(own.after) else f"{own.moved:.1f} px, {own.kind}",
                before=own.before,
                after=own.after,
                confidence=own.confidence,
            )
        yield made


def within(doubts: Sequence[Doubt], area: Sequence[int]) -> list[Doubt]:
    """Doubts about a result of which only an area is kept: their boxes counted from its corner."""
    top, left, bottom, right = area
    kept = []
    for doubt in doubts:
        if doubt.where is not None:
            y0, x0, y1, x1 = doubt.where
            box = max(y0, top) - top, max(x0, left) - left, min(y1, bottom) - top, min(x1, right) - left
            doubt = doubt._replace(where=box if box[0] < box[2] and box[1] < box[3] else None)
        kept.append(doubt)
    return kept


def shown(picture: Tensor, frames: Frames) -> Tensor:
    """Floating point pictures brought to [0, 1]; others as they are."""
    return picture / frames.white if picture.dtype.is_floating_point else picture


def story(
    title: str,
    result: Tensor,
    chosen: Tensor | None,
    pictures: Sequence[Shown],
    kind: Kind,
    guess: Guess,
    method: tuple[str, str],
    alignment: tuple[Sequence[str], Sequence[str]],
    doubts: Sequence[Doubt],
    warnings: Sequence[str],
    seconds: Mapping[str, float],
    command: str,
) -> Story:
    """The story of a job. `method`: its name and why it was taken; `alignment`: what was said, and what was refused."""
    height, width = result.shape[1:]
    kept = [
        ("size", f"{width}x{height}"),
        ("depth", BITS[kind.depth]),
        ("colour", "colour" if result.shape[0] == 3 else "grey"),
        *((name, "kept") for name, value in beside(kind).items() if value),
    ]
    return Story(
        title,
        result,
        pictures,
        *method,
        command,
        guess,
        chosen,
        *alignment,
        doubts,
        warnings,
        dict(seconds),
        peak(),
        kept,
        versions(),
    )


def beside(kind: Kind) -> dict[str, object]:
    """What the result carries beside its pixels."""
    return {"colour profile": kind.stored.icc, "EXIF": kind.stored.exif, "XMP": kind.stored.xmp}


def peak() -> int:
    """Bytes of memory that the program has held at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    named = {"fuse": "fuse-imaging", "torch": "torch", "numpy": "numpy", "opencv": "opencv-python-headless"}
    found = {"python": platform.python_version()}
    for name, package in named.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a folder, or another build of OpenCV
            continue
    return found
