"""The evaluation as one page of HTML that needs neither server nor network."""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Integer, UInt8
from torch import Tensor

from fuse.data import io
from fuse.metrics import Metric
from fuse.ranking import Ranking
from fuse.report_tables import ARROW, WORDS, basis, digits, formats, number, places

EXACT_SIDE = 256  # pictures up to this side are embedded as PNG, larger ones as JPEG
PRINT_METRICS = 11  # columns that fit a printed page

Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # method -> pair -> metric -> value


def render(template: str | Path, **values: object) -> str:
    """A page of `fuse/templates`, or of a file that may include what lies there, with every value escaped.

    Raises:
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    own = [template.parent] if isinstance(template, Path) else []
    where = FileSystemLoader([*own, Path(__file__).parent / "templates"])
    pages = Environment(loader=where, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template(Path(template).name).render(**values)


def embed(picture: Integer[Tensor, "c h w"], max_side: int) -> str:
    """`data:` address of a uint8 or uint16 picture, its longer side at most `max_side` pixels.

    Up to 256 pixels a side as PNG, above as JPEG of quality 95; 16 bit lose their lower byte.
    """
    pixels = eight_bit(picture)
    height, width = pixels.shape[1:]
    scale = max_side / max(height, width)
    if scale < 1:
        pixels = io.resize(pixels, max(round(height * scale), 1), max(round(width * scale), 1))
    kind = "png" if max(pixels.shape[1:]) <= EXACT_SIDE else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(io.encode(pixels, f'.{kind}')).decode('ascii')}"


def eight_bit(picture: Integer[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """The upper byte of a 16 bit picture, 8 bit as they are; on the CPU."""
    pixels = picture.cpu()
    return pixels if pixels.dtype == torch.uint8 else (pixels.to(torch.int32) >> 8).to(torch.uint8)


def entry(
    pair: str,
    pictures: Mapping[str, Integer[Tensor, "c h w"]],
    rows: Rows,
    ranking: Ranking,
    max_side: int = 640,
) -> dict[str, object]:
    """What the viewer needs of one pair: its pictures, embedded; the methods by rank, with their scores.

    A list of entries, not an object by name: to the page's script a method may be called 7 or __proto__.
    """
    form = formats(ranking)
    shown = []
    order = [name for name in pictures if name not in rows] + [name for name in ranking.methods if name in pictures]
    for name in order:
        scores = rows[name].get(pair, {}) if name in rows else {}
        kind = "method" if name in rows else "reference" if name == "reference" else "source"
        values = [number(scores.get(m, math.nan), form[m]) for m in ranking.metrics] if name in rows else []
        shown.append({"label": name, "kind": kind, "src": embed(pictures[name], max_side), "values": values})
    return {"name": pair, "pictures": shown}


def evaluation_page(
    ranking: Ranking,
    metrics: Mapping[str, Metric],
    about: Mapping[str, object],
    shown: Sequence[Mapping[str, object]],
    max_side: int = 640,
) -> str:
    """The whole of `report.html`; `about` as in `fuse.report.summary`, `shown` one `entry` per pair to be viewed."""
    form, place = formats(ranking), places(ranking)
    columns = [_column(ranking, m, metrics[m]) for m in ranking.metrics]
    rows = [
        {
            "place": place[method],
            "method": method,
            "trivial": method in ranking.trivial,
            "rank": ranking.mean_rank.get(method),
            "cells": [_cell(ranking, method, m, form[m]) for m in ranking.metrics],
            "facts": facts(_part(about, "methods").get(method, {})),
        }
        for method in ranking.methods
    ]
    ranked = [row for row in rows if row["rank"]]
    viewer = [{"name": m, "better": ranking.better[m], "ranked": m in ranking.ranked_on} for m in ranking.metrics]
    return render(
        "evaluation.html",
        title=title(about),
        facts=facts({key: value for key, value in about.items() if key not in ("methods", "failures")}),
        failures=about.get("failures", ()),
        pairs=ranking.pairs,
        columns=columns,
        rows=rows,
        ranked=ranked,
        last_place=max(len(ranked), 2),
        blocks=_blocks(len(columns)),
        basis=basis(ranking),
        differences=[_forest(ranking, m) for m in ranking.metrics if m in ranking.differences],
        spread=_spread(ranking, form),
        viewer={"pairs": shown, "metrics": viewer},
        pictured=len(shown),
        side=max_side,
    )


def _blocks(columns: int) -> list[range]:
    """Columns beside each other on a printed page, in blocks of nearly equal width."""
    count = max(math.ceil(columns / PRINT_METRICS), 1)
    return [range(columns * i // count, columns * (i + 1) // count) for i in range(count)]


def _part(about: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = about.get(key)
    return part if isinstance(part, Mapping) else {}


def title(about: Mapping[str, object]) -> str:
    """Name and split of the data."""
    data = _part(about, "data")
    return ", ".join(str(data[key]) for key in ("name", "split") if data.get(key)) or str(about.get("data", ""))


def facts(value: object, name: str = "") -> list[tuple[str, str]]:
    """Nested mappings as lines of dotted name and text; an empty or missing value is left out."""
    if isinstance(value, Mapping):
        return [line for key, part in value.items() for line in facts(part, f"{name}.{key}".lstrip("."))]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return [] if value is None or value == "" else [(name, str(value))]


def _column(ranking: Ranking, name: str, metric: Metric) -> dict[str, object]:
    better = ranking.better[name]
    return {
        "name": name,
        "arrow": ARROW[better],
        "words": WORDS[better],
        "statistic": better is None,
        "ranked": name in ranking.ranked_on,
        "reason": "a statistic without direction." if better is None else ranking.greyed.get(name, ""),
        "unit": metric.unit,
        "range": str(metric.range),
        "summary": metric.summary,
        "source": metric.source,
    }


def _cell(ranking: Ranking, method: str, metric: str, form: str) -> dict[str, object]:
    """Texts of one cell of the score table in its four views, and how it is marked."""
    cell = ranking.cells[method][metric]
    gap = ranking.differences.get(metric, {}).get(method)
    rank = ranking.places.get(metric, {}).get(method)
    ranked = metric in ranking.ranked_on
    best = ranked and method in ranking.best[metric]
    told = f"{method}, {metric}: {number(cell.mean, form)} ± {number(cell.deviation, form)}, n = {cell.n}"
    if cell.undefined:
        told += f", undefined on {cell.undefined}"
    if gap and not best:
        told += (
            f"; {_signed(gap.mean, form)} to the best [{_signed(gap.low, form)}, {_signed(gap.high, form)}], "
            f"better on {gap.won:.0%} of the pairs"
        )
    better = ranking.better[metric]
    loss = abs(cell.mean) if better == 0 else -cell.mean if better == 1 else cell.mean
    return {
        "mean": number(cell.mean, form),
        "deviation": number(cell.deviation, form),
        "gap": _signed(gap.mean, form) if gap else "",
        "rank": f"{rank:g}" if rank else "",
        "loss": "" if math.isnan(loss) else repr(loss),
        "best": best,
        "second": ranked and method in ranking.second[metric],
        "level": bool(ranked and not best and gap and gap.low <= 0 <= gap.high),
        "partial": cell.undefined > 0,
        "title": told,
    }


def _signed(value: float, form: str) -> str:
    text = number(value, form)
    return f"+{text}" if value > 0 and text.strip("0.") else text.replace("-", "\N{MINUS SIGN}")


def _forest(ranking: Ranking, metric: str) -> dict[str, object]:
    """Differences to the best method of one metric, with positions in per cent of the plot's width."""
    rows = ranking.differences[metric]
    ends = [end for row in rows.values() for end in (row.mean, row.low, row.high) if math.isfinite(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    width = (high - low) or 1.0
    form = digits([row.mean for row in rows.values()])

    def position(value: float) -> float:
        return round(3 + 94 * (value - low) / width, 2)

    listed = [
        {
            "method": method,
            "leader": method == next(iter(ranking.places[metric])),
            "plot": [position(v) for v in rows[method][:3]] if all(map(math.isfinite, rows[method][:3])) else None,
            "text": _signed(rows[method].mean, form),
            "low": _signed(rows[method].low, form),
            "high": _signed(rows[method].high, form),
            "won": f"{rows[method].won:.0%}",
            "n": rows[method].n,
        }
        for method in ranking.places[metric]
    ]
    return {"metric": metric, "zero": position(0.0), "rows": listed}


def _spread(ranking: Ranking, form: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {
            "group": group,
            "cells": [
                f"{number(by_metric[m].mean, form[m])} ± {number(by_metric[m].deviation, form[m])}"
                for m in ranking.metrics
            ],
            "runs": max(spread.runs for spread in by_metric.values()),
        }
        for group, by_metric in ranking.spread.items()
    ]
