"""What was done with one set of pictures, as one page of HTML that needs neither server nor network."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from fuse.data import io
from fuse.photos.check import Doubt
from fuse.photos.reduced import reduced
from fuse.photos.task import TOLD, Guess
from fuse.report_page import embed
from fuse.report_page import render as rendered

SIDE = 1600  # pixels of the longer side of what is embedded
PIXELS = 6 * SIDE * SIDE  # of all embedded sources: more than six are smaller
THUMBNAIL = 320
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222222")  # Tol's bright
RAMP = ("#352a87", "#0f5cdd", "#1481d6", "#06a4ca", "#2eb7a4", "#87bf77", "#d1bb59", "#fec832", "#f9fb0e")


class Shown(NamedTuple):
    """A source: its picture `(c, h, w)` as it lies on the result, reduced or not, what it is, and how it was moved.

    `before`, `after`: how far it was and is off, in pixels, NaN or None where that is not known; `moved`: in words.
    """

    name: str
    picture: Tensor
    facts: str = ""
    role: str = ""
    moved: str = ""
    before: float | None = None
    after: float | None = None
    confidence: float | None = None


class Story(NamedTuple):
    """What happened, in words and numbers; pictures are 8 or 16 bit, or floating point in [0, 1].

    `result` `(c, h, w)`; `chosen` `(1, h, w)`: the number of the source that each pixel was taken from, or None if the
    method mixes. `said`, `refused`: about the alignment. `seconds`: by stage; `peak`: bytes of memory, 0 if unknown.
    `kept`: what became of size, depth, colour and metadata, in pairs of a name and words.
    """

    title: str
    result: Tensor
    sources: Sequence[Shown]
    method: str
    why: str
    command: str
    guess: Guess | None = None
    chosen: Tensor | None = None
    said: Sequence[str] = ()
    refused: Sequence[str] = ()
    doubts: Sequence[Doubt] = ()
    warnings: Sequence[str] = ()
    seconds: Mapping[str, float] = {}
    peak: int = 0
    kept: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str] = {}


def render(story: Story) -> str:
    """The page: slider between the result and every source, doubts and where they are, map, alignment, and the rest.

    Pictures are embedded at no more than 1600 pixels a side (sources at less if they are more than six), above 256
    as JPEG, the map as PNG; nothing is fetched from anywhere.
    """
    height, width = story.result.shape[1:]
    side = min(SIDE, int((PIXELS / max(len(story.sources), 1)) ** 0.5))
    pictures: list[dict[str, object]] = [
        {"label": source.name, "kind": "source", "src": shown(source.picture, side)} for source in story.sources
    ]
    result: dict[str, object] = {
        "label": f"{story.title} (result)",
        "kind": "method",
        "src": shown(story.result, SIDE),
        "values": [],
    }
    pictures.append(result)
    shares = None if story.chosen is None else shares_of(story.chosen, len(story.sources))
    colours = palette(len(story.sources))
    mapped = "" if story.chosen is None else coloured(story.chosen, colours)
    if mapped:
        pictures.append({"label": "map", "kind": "map", "src": mapped})
    total = sum(story.seconds.values())
    return rendered(
        "photos.html",
        story=story,
        size=(width, height),
        depth=str(story.result.dtype).removeprefix("torch."),
        coloured=story.result.shape[0] == 3,
        task=TOLD[story.guess.task] if story.guess else "",
        overview=shown(story.result, THUMBNAIL * 2),
        boxes=[_rectangle(i + 1, doubt) for i, doubt in enumerate(story.doubts) if doubt.where is not None],
        sources=[
            {
                "name": source.name,
                "src": shown(source.picture, THUMBNAIL),
                "facts": source.facts,
                "role": source.role,
                "moved": source.moved,
                "before": _pixels(source.before),
                "after": _pixels(source.after),
                "confidence": "" if not _known(source.confidence) else f"{source.confidence:.0%}",
                "share": "" if shares is None else f"{shares[i]:.1%}",
                "colour": colours[i],
            }
            for i, source in enumerate(story.sources)
        ],
        moved=any(source.moved or _known(source.before) or _known(source.after) for source in story.sources),
        map=mapped,
        stages=[
            {"name": name, "seconds": f"{value:.2f}", "share": round(100 * value / total, 1) if total else 0}
            for name, value in story.seconds.items()
        ],
        total=f"{total:.2f}",
        peak=f"{story.peak / 2**20:,.0f} MiB" if story.peak else "",
        viewer={"pairs": [{"name": story.title, "pictures": pictures}], "metrics": []},
        side=SIDE,
        smaller=side if side < SIDE else 0,
    )


def shown(picture: Shaped[Tensor, "c h w"], side: int) -> str:
    """`data:` address of a picture of any depth, its longer side at most `side` pixels."""
    return embed(reduced(picture, side).round().clamp(0, 255).to(torch.uint8), side)


def palette(count: int) -> list[str]:
    """Colours of that many sources: distinct ones up to eight, then along a ramp from the first to the last."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    stops = torch.tensor([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RAMP], dtype=torch.float32)
    at = torch.linspace(0, len(RAMP) - 1, count)
    below = at.floor().long().clamp_max(len(RAMP) - 2)
    mixed = torch.lerp(stops[below], stops[below + 1], (at - below)[:, None]).round().int().tolist()
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in mixed]


def coloured(chosen: Shaped[Tensor, "1 h w"], colours: Sequence[str]) -> str:
    """`data:` address of the map as a PNG, at most 1600 pixels a side, by leaving pixels out."""
    step = -(-max(chosen.shape[1:]) // SIDE)
    small = chosen[0, ::step, ::step].to(torch.int64)
    table = torch.tensor([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], dtype=torch.uint8)
    pixels: UInt8[Tensor, "3 a b"] = table[small].permute(2, 0, 1)
    return f"data:image/png;base64,{base64.b64encode(io.encode(pixels, '.png')).decode('ascii')}"


def shares_of(chosen: Shaped[Tensor, "1 h w"], count: int) -> list[float]:
    """Share of the pixels that were taken from each source."""
    counted = sum(torch.bincount(row.to(torch.int64).flatten(), minlength=count) for row in chosen[0].split(256))
    return [float(share) for share in torch.as_tensor(counted) / chosen.numel()]


def _rectangle(number: int, doubt: Doubt) -> dict[str, object]:
    top, left, bottom, right = doubt.where or (0, 0, 0, 0)
    return {"number": number, "x": left, "y": top, "width": right - left, "height": bottom - top}


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _pixels(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and not math.isnan(value) else ""
