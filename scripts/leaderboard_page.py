"""The tables of scripts/leaderboard as Markdown, as a page of HTML that needs nothing else, and as CSV."""

import csv
import io as text
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from leaderboard_costs import Costs

from fuse import ranking
from fuse.report_page import render
from fuse.report_tables import ARROW, WORDS, markdown

TEMPLATE = Path(__file__).with_name("leaderboard.html")
NOTES = {
    "mean rank": "over the metrics that are not in brackets, 1 is best, with its bootstrap 95 % interval over pairs.",
    "beats the average": "on how many of the metrics of this page a method is better than the plain average of the "
    "sources.",
    "steps": "of training, in the folder that was judged; rules and pictures that others made have none.",
    "parameters": "of what is used to fuse.",
    "GFLOP": "1e9 operations of convolutions and matrix products for two pictures of 640x480; a multiplication and an "
    "addition are two.",
    "ms": "of the processor, on {threads} thread(s), for two colour pictures of 640x480; the shortest of three calls "
    "if the first takes less than two seconds.",
    "MiB": "of memory that these take at the most, beyond what a process of its own held with network and pictures; "
    "good to 10 MiB or so.",
    "order": "mean of |F(a, b) − F(b, a)| over all pixels of the board's first pair, in grey levels of 0..255; 0: no "
    "pixel differs.",
    "licence": "of the authors' code, as the configuration of the model tells it; everything here is written anew.",
    "(metric)": "not ranked on, because a row that fuses nothing (in italics, below the methods) is best. All metrics "
    "are means over the pairs.",
    "bold": "best of its column, of metrics that are ranked on, mean rank, ms and MiB.",
}


class Value(NamedTuple):
    """A mean over n pairs with its bootstrap 95 % interval; NaN where it is undefined."""

    mean: float
    low: float
    high: float
    n: int


class Column(NamedTuple):
    """`kind`: fact, rank or metric; `better`: +1 higher, -1 lower, 0 closer to zero, None neither; `words`: of text."""

    name: str
    kind: str
    better: int | None
    told: str
    ranked: bool = True
    words: bool = False
    arrow: str = ""


class Cell(NamedTuple):
    """`shown`, and the number it was made of, if any."""

    shown: str = ""
    value: float | None = None
    interval: str = ""
    best: bool = False

    def loss(self, better: int | None) -> str:
        """By which a click on the head of the column sorts, least first."""
        if self.value is None or math.isnan(self.value):
            return ""
        return repr(float(abs(self.value) if better == 0 else -self.value if better == 1 else self.value))


class Row(NamedTuple):
    """`place` is empty where a row has no mean rank, as `trivial` ones, which fuse nothing."""

    place: str
    name: str
    kind: str
    trivial: bool
    cells: list[Cell]


class Table(NamedTuple):
    """One board: `heading` and sentences, columns after `#` and `method`, rows best first."""

    data: str
    heading: str
    told: list[str]
    columns: list[Column]
    rows: list[Row]
    failures: list[str]


def intervals(summary: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> dict[str, dict[str, Value]]:
    """Method -> metric -> mean with interval, of the rows of `results.csv`."""
    stems = sorted({row["pair"] for row in rows})
    draws = np.random.default_rng(0).multinomial(len(stems), [1 / len(stems)] * len(stems), 2000).astype(float)
    found: dict[str, dict[str, Value]] = {}
    for name in summary["scores"]:
        own = {row["pair"]: row for row in rows if row["method"] == name}
        found[name] = {}
        for metric in summary["metrics"]:
            texts = [own.get(stem, {}).get(metric) for stem in stems]
            numbers = np.array([[float(x) if x else np.nan for x in texts]])
            low, high = ranking.percentiles(ranking.resampled_means(draws, numbers))
            cell = ranking.cell(numbers[0])
            found[name][metric] = Value(cell.mean, float(low[0]), float(high[0]), cell.n)
    return found


def table(
    summary: Mapping[str, Any],
    values: Mapping[str, Mapping[str, Value]],
    costs: Mapping[str, Costs],
    licences: Mapping[str, str],
    stems: Sequence[str],
) -> Table:
    """One row per method, best mean rank first, the rows that fuse nothing last: in the order of the summary."""
    metrics, ranked, data = summary["metrics"], summary["ranking"], summary["data"]
    names = list(summary["scores"])
    best = {m: least(ranked["places"][m]) for m in metrics if metrics[m]["ranked_on"]}
    measured = {name: costs.get(name, Costs()) for name in names}
    quickest, smallest = (
        least({name: getattr(cost, field) for name, cost in measured.items() if name not in summary["trivial"]})
        for field in ("seconds", "bytes")
    )
    first = least({name: rank["mean"] for name, rank in ranked["mean_rank"].items()})
    heads, rows = columns(metrics), []
    for place, name in enumerate(names, 1):
        facts, cost, rank = summary["methods"][name], measured[name], ranked["mean_rank"].get(name)
        beaten = sum(better(metrics[m]["better"], values[name][m].mean, values["average"][m].mean) for m in metrics)
        trivial = name in summary["trivial"]
        cells = {
            "mean rank": Cell() if rank is None else Cell(
                f"{rank['mean']:.1f}", rank["mean"], f"[{rank['low']:.1f}, {rank['high']:.1f}]", name in first
            ),
            "beats the average": Cell(f"{beaten} of {len(metrics)}", beaten),
            "steps": counted(facts.get("step"), ""),
            "parameters": counted(facts.get("parameters"), ","),
            "GFLOP": counted(cost.gflop, ",.1f"),
            "ms": counted(cost.seconds, ",.0f", 1e3, name in quickest),
            "MiB": counted(cost.bytes, ",.0f", 1 / 2**20, name in smallest),
            "order": Cell(grey_levels(cost.order), cost.order) if cost.order is not None else Cell(),
            "licence": Cell(licences.get(name, "")),
        }  # fmt: skip
        for m in metrics:
            value = values[name][m]
            ends = f"[{written(value.low)}, {written(value.high)}]" if value.n else ""
            cells[m] = Cell(written(value.mean), value.mean, ends, name in best.get(m, ()))
        found = [cells[column.name] for column in heads]
        rows.append(Row(str(place) if rank else "", name, facts["kind"], trivial, found))
    told = [
        f"Protocol {summary['protocol']['name']}; " + ", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
        f"Pairs {', '.join(stems)}",
    ]
    heading = f"{data['name']}, {data['pairs']} pairs"
    return Table(data["name"], heading, told, heads, rows, list(summary["failures"]))


def columns(metrics: Mapping[str, Any]) -> list[Column]:
    """After `#` and `method`: how it ranks, what it is and what it costs, and every metric."""
    signs = {"mean rank": -1, "beats the average": 1}
    facts = {"steps": 1, "parameters": -1, "GFLOP": -1, "ms": -1, "MiB": -1, "order": -1, "licence": None}
    found = [Column(name, "rank", sign, NOTES[name]) for name, sign in signs.items()]
    found += [Column(name, "fact", sign, NOTES[name], words=name == "licence") for name, sign in facts.items()]
    for name, card in metrics.items():
        sign, reason = card["better"], card["not_ranked_because"]
        told = f"{card['summary']}. {WORDS[sign]}; {card['source']}." + (f" Not ranked on: {reason}" if reason else "")
        found.append(Column(name, "metric", sign, told, card["ranked_on"], arrow=ARROW[sign]))
    return found


def least(values: Mapping[str, float | None]) -> set[str]:
    """The names that share the smallest value."""
    known = {name: value for name, value in values.items() if value is not None}
    return {name for name, value in known.items() if value == min(known.values())}


def better(direction: int | None, value: float, other: float) -> bool:
    if math.isnan(value) or math.isnan(other) or direction is None:
        return False
    return abs(value) < abs(other) if direction == 0 else direction * value > direction * other


def counted(value: float | None, form: str, unit: float = 1, best: bool = False) -> Cell:
    return Cell() if value is None else Cell(format(value * unit, form), value * unit, best=best)


def grey_levels(value: float) -> str:
    return "0" if value == 0 else "<0.0001" if value < 0.0001 else written(value)


def written(value: float) -> str:
    """Four digits, at most four behind the point; "-" where it is undefined."""
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def as_markdown(title: str, tables: Sequence[Table], notes: Mapping[str, str]) -> str:
    """The page of a task."""
    parts = [f"# {title}\n\nMade by `scripts/leaderboard {title.lower()}`."]
    parts += ["\n".join(f"* `{name}`: {told}" for name, told in notes.items())]
    for board in tables:
        parts += [f"## {board.heading}", "; ".join(board.told) + "."]
        head = ["#", "method", *(c.name if c.ranked else f"({c.name})" for c in board.columns)]
        lines = [
            "| " + " | ".join(head) + " |",
            "|--:|:--|" + "".join(":--|" if c.words else "--:|" for c in board.columns),
        ]
        for row in board.rows:
            name = f"*{markdown(row.name)}*" if row.trivial else markdown(row.name)
            cells = [row.place, name, *(marked(c, x) for c, x in zip(board.columns, row.cells, strict=True))]
            lines.append("| " + " | ".join(cells) + " |")
        parts += ["\n".join(lines)]
        parts += ["\n".join(f"* {markdown(line)}" for line in board.failures)] if board.failures else []
    return "\n\n".join(parts) + "\n"


def marked(column: Column, cell: Cell) -> str:
    """Bold if it is best; only the mean rank has its interval beside it."""
    shown = f"{cell.shown} {cell.interval}" if column.name == "mean rank" and cell.interval else cell.shown
    return f"**{shown}**" if cell.best else shown


def as_html(
    title: str, tables: Sequence[Table], notes: Mapping[str, str], sheets: Mapping[str, str] | None = None
) -> str:
    """The same, to be sorted by a click; `sheets`: address of each board's contact sheet, where pictures may be."""
    return render(TEMPLATE, title=title, tables=tables, notes=notes, sheets=sheets or {})


def scores_csv(values: Mapping[str, Mapping[str, Value]]) -> str:
    """Every mean with its interval."""
    lines = ["method,metric,mean,low,high,pairs"]
    for name, row in values.items():
        for metric, value in row.items():
            lines.append(f"{name},{metric},{value.mean:.6g},{value.low:.6g},{value.high:.6g},{value.n}")
    return "\n".join(lines) + "\n"


def methods_csv(board: Table) -> str:
    """What the page says of every method beside its scores, with more digits."""
    kept = [i for i, column in enumerate(board.columns) if column.kind != "metric"]
    out = text.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "kind", *(board.columns[i].name.replace(" ", "_") for i in kept)])
    for row in board.rows:
        told = [row.cells[i].shown if row.cells[i].value is None else f"{row.cells[i].value:.10g}" for i in kept]
        writer.writerow([row.name, "trivial" if row.trivial else row.kind, *told])
    return out.getvalue()
