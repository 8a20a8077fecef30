"""What scripts/reproduce writes: the page of a card, and the overview of all."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fuse import methods
from fuse.protocol import load

OURS = "ours"  # the row of the recipe itself
TRIVIAL = ("average", "maximum")  # and copies of the sources
SURELY = 2  # a difference counts that is more than so many deviations over seeds
EXPLAINED = """\
*Italic* rows are printed elsewhere, on other pairs; all else was judged here, on the pairs named. `ours`: mean over
three seeds ± their standard deviation. A difference is **bold** where it is more than twice the deviation of `ours`
over seeds: others are no more than what another seed does. Switches that want training were trained with the first seed
and are compared with it; those in use alone are means over the same three networks."""

OVERVIEW = """\
What published networks reach here, with the budgets of two processor cores, beside what was printed about them. Made by
`scripts/reproduce`. Q_G on the first board of each card; the pages have the other metrics, printed rows, and the
disagreements between papers and programs, switched one by one. Budgets are a small part of the authors', so a row says
that a recipe runs and where it stands so early, not that a paper is wrong."""


class Run(NamedTuple):
    """A network of a card: `words` of fuse-train, and what is set otherwise in its use."""

    row: str
    seed: int
    words: list[str]
    use: dict[str, Any] | None = None
    folder: Path = Path()


class Board(NamedTuple):
    """What fuse-eval made of a board: as stored, and with pictures stretched first; labels of others' rows."""

    told: dict[str, Any]
    raw: dict[str, Any]
    stretched: dict[str, Any] | None
    labels: dict[str, str]


class Card(NamedTuple):
    """A card, what was trained for it, and its boards."""

    name: str
    told: dict[str, Any]
    runs: list[Run]
    boards: list[Board]


def page(card: Card) -> str:
    """Markdown of a card."""
    experiment = next(word for word in card.told["train"] if word.startswith("experiment="))
    recipe = next(run for run in card.runs if run.row == OURS)
    parts = [
        f"# {card.name}",
        f"Made by `scripts/reproduce {card.name}`. The paper, and in what ours differs: `{experiment}` in "
        "[methods](../methods.md).",
        EXPLAINED,
        f"**Budget.** {card.told['steps']} steps of `fuse-train {' '.join(recipe.words)}`; "
        f"the authors: {card.told['full']}.",
    ]
    if seen := card.told.get("seen"):
        parts.append(f"**Seen.** {seen.strip()}")
    for board in card.boards:
        parts += [
            f"## {board.told['data']}: {', '.join(board.told['pairs'])}",
            table(card, board, board.raw, "printed"),
        ]
        if board.stretched:
            told = "Pictures stretched to 0..255 by their own extremes first, as most published rows were:"
            parts += [told, table(card, board, board.stretched, "printed_stretched")]
        if card.told.get("switches"):
            parts += [f"### Switched one by one, {board.told['data']}", switches(card, board)]
        if card.told.get("ladder"):
            parts += [f"### Step by step, {board.told['data']}", ladder(card, board)]
    return "\n\n".join(parts) + "\n"


def table(card: Card, board: Board, summary: dict[str, Any], printed: str) -> str:
    """Printed rows, those of released weights and pictures, ours, and trivial ones, under one protocol."""
    metrics = columns(board, summary)
    lines = head(["", *metrics])
    for row in board.told.get(printed, []):
        cells = [f"{row[m]:g}" if m in row else "" for m in metrics]
        lines.append(cell([f"*{row['row']} ({row['pairs']})*", *cells]))
    scores = summary["scores"]
    for row, label in board.labels.items():
        lines.append(cell([row, *(written(scores[label][m]["mean"]) for m in metrics)]))
    lines.append(cell(["**ours**", *(spread(values(card, OURS, summary, m)) for m in metrics)]))
    for label in summary["trivial"]:
        if label in TRIVIAL or label.startswith("copy-"):
            lines.append(cell([label, *(written(scores[label][m]["mean"]) for m in metrics)]))
    return "\n".join(lines)


def columns(board: Board, summary: dict[str, Any]) -> list[str]:
    """Metrics in the order of the board or of its protocol, which every table of a card shares."""
    return [m for m in board.told.get("metrics", load(board.told["protocol"]).metrics) if m in summary["metrics"]]


def switches(card: Card, board: Board) -> str:
    """What each switch changes."""
    metrics = columns(board, board.raw)
    lines = head(["switch", "what", *metrics])
    for switch in card.told["switches"]:
        changes = [change(card, switch["name"], board.raw, m) for m in metrics]
        what = switch["why"] + (" (in use)" if "use" in switch else "")
        lines.append(cell([switch["name"], what, *changes]))
    return "\n".join(lines)


def change(card: Card, row: str, summary: dict[str, Any], metric: str) -> str:
    """Difference of a switch to the same seeds of the recipe, bold where seeds do not explain it."""
    seeds = {run.seed for run in card.runs if run.row == row}
    before, after = values(card, OURS, summary, metric, seeds), values(card, row, summary, metric)
    if None in (*before, *after):
        return "-"
    difference = statistics.fmean(known(after)) - statistics.fmean(known(before))
    text = f"{difference:+.3f}" if abs(difference) < 10 else f"{difference:+.1f}"
    sure = abs(difference) > SURELY * statistics.stdev(known(values(card, OURS, summary, metric)))
    return f"**{text}**" if sure else text


def ladder(card: Card, board: Board) -> str:
    """The steps that mend a method, each with all before it."""
    metrics = columns(board, board.raw)
    lines = head(["", "what", *metrics])
    rungs = [{"name": OURS, "why": "as published"}, *card.told["ladder"]]
    for rung in rungs:
        name = "as published" if rung["name"] == OURS else f"+ {rung['name']}"
        cells = [spread(values(card, rung["name"], board.raw, m)) for m in metrics]
        lines.append(cell([name, rung["why"], *cells]))
    return "\n".join(lines)


def overview(cards: Sequence[Card]) -> str:
    """One line per card: Q_G of the authors' own, of ours and of the average, on its first board."""
    lines = head(["method", "pairs of", "steps", "authors' own", "ours, three seeds", "average"])
    for card in cards:
        board = card.boards[0]
        scores = board.raw["scores"]
        theirs = next((written(scores[label]["q_g"]["mean"]) for label in board.labels.values()), "")
        lines.append(
            cell(
                [
                    f"[{card.name}]({card.name}.md)",
                    board.told["data"],
                    str(card.told["steps"]),
                    theirs,
                    spread(values(card, OURS, board.raw, "q_g")),
                    written(scores["average"]["q_g"]["mean"]),
                ]
            )
        )
    return "\n\n".join(["# Reproduction cards", OVERVIEW, "\n".join(lines)]) + "\n"


def values(
    card: Card, row: str, summary: dict[str, Any], metric: str, seeds: set[int] | None = None
) -> list[float | None]:
    """Of one metric, over the seeds that a row was trained with (or those named)."""
    found = [run for run in card.runs if run.row == row and (seeds is None or run.seed in seeds)]
    return [summary["scores"][methods.label(run.folder)][metric]["mean"] for run in found]


def known(numbers: Sequence[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def spread(numbers: Sequence[float | None]) -> str:
    """Mean ± standard deviation."""
    if None in numbers:
        return "-"
    found = known(numbers)
    return f"{written(statistics.fmean(found))} ± {statistics.stdev(found):.2g}"


def written(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def head(names: Sequence[str]) -> list[str]:
    words = sum(name in ("", "switch", "what", "method", "pairs of") for name in names)
    return [cell(names), "|" + ":--|" * words + "--:|" * (len(names) - words)]


def cell(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
