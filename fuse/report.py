"""An evaluation's results as files: summary, tables and page, and the side-by-side picture of a pair."""

import json
import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

import fuse
from fuse.data import io
from fuse.metrics import Metric
from fuse.ranking import LEVEL, Ranking, rank
from fuse.report_page import Rows, eight_bit, entry, evaluation_page, facts
from fuse.report_run import loss_curves, run_page
from fuse.report_tables import (
    WORDS,
    comment,
    markdown,
    notes,
    sweep_table,
    table_latex,
    table_markdown,
    table_text,
)

__all__ = [
    "loss_curves",
    "run_page",
    "side_by_side",
    "summary",
    "sweep_table",
    "table_latex",
    "table_markdown",
    "table_text",
    "versions",
    "write",
]

EMBED_BYTES = 32_000_000  # of the pictures in the page; browsers get slow beyond
AMPLIFICATION = 4  # of difference pictures
ACROSS = 4  # pictures beside each other
GAP = 6  # pixels between them
SHEET_PIXELS = 4_000_000  # of a side-by-side picture
LUMA = (0.299, 0.587, 0.114)

Array = np.ndarray


def versions() -> dict[str, str]:
    """Versions that a number may depend on: fuse, torch, numpy, Python."""
    return {
        "fuse": fuse.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def summary(ranking: Ranking, metrics: Mapping[str, Metric], about: Mapping[str, object]) -> dict[str, object]:
    """What `summary.json` holds; undefined numbers are null, infinite ones the strings "inf" and "-inf".

    `about`: what else a number depends on: the protocol with every convention, `data` and its identity, `methods` and
    what each of them is, `failures`, `versions` (of fuse, torch, numpy and Python if it has none).
    """
    described = {
        name: {
            "unit": metrics[name].unit,
            "direction": WORDS[ranking.better[name]],
            "better": ranking.better[name],
            "range": str(metrics[name].range),
            "summary": metrics[name].summary,
            "source": metrics[name].source,
            "ranked_on": name in ranking.ranked_on,
            "not_ranked_because": ranking.greyed.get(name),
        }
        for name in ranking.metrics
    }
    told = {
        **about,
        "versions": about.get("versions", versions()),
        "pairs": ranking.pairs,
        "metrics": described,
        "scores": {name: ranking.cells[name] for name in ranking.methods},
        "trivial": sorted(ranking.trivial),
        "ranking": {
            "order": [name for name in ranking.methods if name in ranking.mean_rank],
            "mean_rank": ranking.mean_rank,
            "ranked_on": ranking.ranked_on,
            "interval": {"level": LEVEL, "resamples": ranking.resamples, "seed": ranking.seed, "over": "pairs"},
            "places": ranking.places,
            "differences_to_best": ranking.differences,
            "spread_over_runs": ranking.spread,
            "notes": notes(ranking),
        },
    }
    return {key: _plain(value) for key, value in told.items()}


def side_by_side(
    sources: Sequence[UInt8[Array, "..."]],
    fused: Mapping[str, UInt8[Array, "..."]],
    reference: UInt8[Array, "..."] | None = None,
) -> UInt8[Array, "height width 3"]:
    """The pictures of one pair in one, all `(h, w)` or `(h, w, 3)`, RGB.

    Grey ones may also be `(h, w, 1)`. First the sources and the reference; then, four methods a row, the fused pictures
    in the order given with their differences below: 4 |luma of fused - luma of reference|, clipped to 255; where there
    is no reference, the sources' average stands for it. Smaller pictures are brought to the largest height and width by
    repeating pixels.
    """
    pictures = [*sources, *fused.values(), *([] if reference is None else [reference])]
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))

    def tile(picture: Array) -> Array:
        picture = np.atleast_3d(picture)
        rows = np.arange(height) * picture.shape[0] // height
        columns = np.arange(width) * picture.shape[1] // width
        return np.broadcast_to(picture[rows][:, columns], (height, width, 3))

    tops = [tile(picture) for picture in [*sources, *([] if reference is None else [reference])]]
    ideals = tops if reference is None else tops[-1:]
    ideal = sum(picture @ np.array(LUMA) for picture in ideals) / len(ideals)
    rows = [tops[start : start + ACROSS] for start in range(0, len(tops), ACROSS)]
    results = [tile(picture) for picture in fused.values()]
    for start in range(0, len(results), ACROSS):
        row = results[start : start + ACROSS]
        gaps = [np.clip(AMPLIFICATION * np.abs(r @ np.array(LUMA) - ideal), 0, 255) for r in row]
        rows += [row, [tile(np.rint(gap).astype(np.uint8)) for gap in gaps]]
    across = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + GAP), j * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def write(
    folder: Path,
    rows: Rows,
    metrics: Mapping[str, Metric],
    trivial: Set[str],
    about: Mapping[str, object],
    fetch: Callable[[], Iterable[tuple[str, Mapping[str, Tensor]]]],
    groups: Mapping[str, str] | None = None,
) -> str:
    """Writes `pairs/<pair>.png`, `summary.json`, `table.md`, `table.tex`, `report.html`; returns the screen's table.

    `rows`: method -> pair -> metric -> value; what is missing counts as undefined. `about` as in `summary`; `trivial`
    and `groups` as in `fuse.ranking.rank`. `fetch` goes through the pairs with their pictures `(c, h, w)` as stored:
    sources by role, `reference`, methods. Each file is written in one move; side-by-side pictures above 4 million
    pixels are made smaller, and pictures are embedded in the page until they are 32 MB together.

    Raises:
        InputError: the folder cannot be written to.
    """
    pairs = list(dict.fromkeys(pair for by_pair in rows.values() for pair in by_pair))
    scores = {
        name: {m: np.array([by_pair.get(pair, {}).get(m, np.nan) for pair in pairs]) for m in metrics}
        for name, by_pair in rows.items()
    }
    ranking = rank(scores, {name: metric.better for name, metric in metrics.items()}, trivial, groups)
    shown, size = [], 0
    for pair, pictures in fetch():
        _write_pair(folder / "pairs" / f"{pair}.png", pictures, rows.keys())
        if size < EMBED_BYTES:
            shown.append(entry(pair, pictures, rows, ranking))
            size += len(json.dumps(shown[-1]))
    about = {**about, "versions": about.get("versions", versions())}
    told = [f"{key}: {value}" for key, value in facts(about)]
    files = {
        "summary.json": json.dumps(summary(ranking, metrics, about), indent=1, ensure_ascii=False, allow_nan=False),
        "table.md": table_markdown(ranking, metrics) + "\n" + "".join(f"* {markdown(line)}\n" for line in told),
        "table.tex": "".join(f"{comment(line)}\n" for line in told) + table_latex(ranking, metrics),
        "report.html": evaluation_page(ranking, metrics, about, shown),
    }
    for name, text in files.items():
        io.write_bytes(folder / name, text.encode())
    return table_text(ranking)


def _write_pair(path: Path, pictures: Mapping[str, Tensor], methods: Set[str]) -> None:
    arrays = {name: eight_bit(picture).permute(1, 2, 0).numpy() for name, picture in pictures.items()}
    sources = [array for name, array in arrays.items() if name not in methods and name != "reference"]
    fused = {name: array for name, array in arrays.items() if name in methods}
    sheet = side_by_side(sources, fused, arrays.get("reference"))
    height, width = sheet.shape[:2]
    scale = min(1.0, (SHEET_PIXELS / (height * width)) ** 0.5)
    picture = torch.from_numpy(sheet).permute(2, 0, 1)
    io.write(path, picture if scale == 1 else io.resize(picture, int(height * scale), int(width * scale)))


def _plain(value: object) -> object:
    """The value in the types JSON knows; named tuples become objects, and what is unknown its text."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None if math.isnan(value) else str(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)
