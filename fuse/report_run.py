"""A training run as one page: what its loss terms, speed and validation scores did over the steps."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from fuse.data import io
from fuse.errors import InputError
from fuse.log import read_rows
from fuse.report_page import render

WIDTH, HEIGHT = 240.0, 84.0  # of a panel's plot, in its own units
BUCKETS = 160  # more points than two per bucket are drawn as the bucket's mean and range
SKEW = 8  # positive values whose greatest exceeds so many medians are drawn on a logarithmic axis

Points = list[tuple[float, float]]


def loss_curves(table: Path) -> str:
    """Panels of inline SVG, one per column of a run's `metrics.csv`: terms, validation, learning rate and speed.

    A column is drawn over the steps where it has a value, on a logarithmic axis where all its values are positive and
    the greatest is more than 8 times the median. Values that are not finite break the line and are counted. Many points
    are drawn as the mean of neighbours in a band from their least to their greatest.

    Raises:
        InputError: there is no such file.
    """
    if not table.is_file():
        raise InputError(f"{table} does not exist; name the metrics.csv of a run folder")
    rows = {int(row["step"]): row for row in read_rows(table)}  # a step that was repeated counts once
    steps = sorted(rows)
    names = list(dict.fromkeys(name for row in rows.values() for name in row if name != "step"))
    groups: dict[str, list[dict[str, object]]] = {"Loss terms": [], "Validation": [], "Optimiser and speed": []}
    for name in names:
        points = [(float(step), _number(rows[step][name])) for step in steps if name in rows[step]]
        groups[_group(name)].append(_panel(name.removeprefix("val/"), points, steps[0], steps[-1]))
    return render("curves.html", groups={k: v for k, v in groups.items() if v}, width=WIDTH, height=HEIGHT)


def run_page(folder: Path) -> Path:
    """Writes the run folder's `report.html` from `metrics.csv` and `config.yaml`, with a link to its evaluation if any.

    Raises:
        InputError: the folder has no `metrics.csv`, or cannot be written to.
    """
    from markupsafe import Markup

    config = folder / "config.yaml"
    page = render(
        "run.html",
        name=folder.resolve().name,
        curves=Markup(loss_curves(folder / "metrics.csv")),  # escaped when it was rendered
        config=config.read_text(errors="replace") if config.is_file() else "",
        evaluated=(folder / "eval" / "report.html").is_file(),
    )
    io.write_bytes(folder / "report.html", page.encode())
    return folder / "report.html"


def _group(name: str) -> str:
    if name.startswith("val/"):
        return "Validation"
    if name in ("lr", "patches_per_second", "data_share") or name.startswith(("lr/", "lr_", "grad_norm")):
        return "Optimiser and speed"
    return "Loss terms"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # a line cut off by a kill
        return math.nan


def _panel(name: str, points: Points, first: int, last: int) -> dict[str, object]:
    finite = [value for _, value in points if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    log = low > 0 and high > SKEW * median(finite)
    span = (math.log10(high / low) if log else high - low) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        up = (math.log10(value / low) if log else value - low) / span if high > low else 0.5
        return round((step - first) / ((last - first) or 1) * WIDTH, 2), round((1 - up) * HEIGHT, 2)

    lines: list[Points] = [[]]
    for step, value in points:
        if math.isfinite(value):
            lines[-1].append((step, value))
        elif lines[-1]:
            lines.append([])
    drawn = [_line(line) for line in lines if line]
    return {
        "name": name,
        "last": _short(finite[-1]) if finite else "",
        "low": _short(low) if finite else "",
        "high": _short(high) if finite and high > low else "",
        "log": log,
        "first_step": first,
        "last_step": last,
        "broken": len(points) - len(finite),
        "lines": [_svg([place(*p) for p in mean]) for mean, _ in drawn if len(mean) > 1],
        "dots": [place(*mean[0]) for mean, _ in drawn if len(mean) == 1],
        "bands": [_svg([place(*p) for p in band]) for _, band in drawn if band],
    }


def _short(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def _line(points: Points) -> tuple[Points, Points]:
    """The points, or where they are too many the means of neighbours, and the outline of their range."""
    if len(points) <= 2 * BUCKETS:
        return points, []
    edges = [len(points) * i // BUCKETS for i in range(BUCKETS + 1)]
    buckets = [points[a:b] for a, b in pairwise(edges)]
    middle = [sum(step for step, _ in bucket) / len(bucket) for bucket in buckets]
    values = [[value for _, value in bucket] for bucket in buckets]
    mean = [(m, sum(v) / len(v)) for m, v in zip(middle, values, strict=True)]
    above = [(m, max(v)) for m, v in zip(middle, values, strict=True)]
    below = [(m, min(v)) for m, v in zip(middle, values, strict=True)]
    return mean, above + below[::-1]


def _svg(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)
