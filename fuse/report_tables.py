"""The ranking as text for the screen, Markdown and LaTeX; a sweep as one table."""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from fuse.metrics import Metric
from fuse.ranking import Ranking

WIDTH = 120  # columns of the screen
PER_BLOCK = 8  # metrics beside each other on a printed page
DIRECTION = {1: "up", -1: "down", 0: "to 0", None: ""}
ARROW = {1: "↑", -1: "↓", 0: "→0", None: ""}
WORDS = {1: "higher is better", -1: "lower is better", 0: "closer to zero is better", None: "a statistic, no direction"}


def digits(values: Iterable[float]) -> str:
    """Format of a column: four significant digits of its largest value, at most six decimals, or an exponent."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    top = max(finite, default=0.0)
    if top == 0:
        return ".4f"
    power = math.floor(math.log10(top))
    return ".3e" if power > 6 or power < -4 else f".{min(max(3 - power, 0), 6)}f"


def number(value: float, form: str) -> str:
    """The value in that format; "-" where it is undefined."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = format(value, form)
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text  # no "-0.00"


def formats(ranking: Ranking) -> dict[str, str]:
    """Format of each metric's column."""
    return {m: digits(row[m].mean for row in ranking.cells.values()) for m in ranking.metrics}


def basis(ranking: Ranking) -> list[str]:
    """What the ranks rest on and what the means leave out, a sentence each."""
    told = ["No mean rank: there is no metric left to rank methods on."]
    if ranking.mean_rank:
        told = [
            f"Mean rank: over {len(ranking.ranked_on)} metrics ({', '.join(ranking.ranked_on)}), each ranked by its "
            f"mean over {ranking.pairs} pairs, 1 is best; in brackets the bootstrap 95 % interval over pairs "
            f"({ranking.resamples} resamples, seed {ranking.seed})."
        ]
    if len(ranking.mean_rank) == 1:
        told.append("A method that stands alone is first whatever it does: compare it with the trivial rows.")
    absolute = [m for m in ranking.ranked_on if ranking.better[m] == 0]
    if absolute:
        told.append(f"Closer to zero is better for {', '.join(absolute)}: ranked by the mean of |value|.")
    missing = []
    for method in ranking.methods:
        counts = {m: ranking.cells[method][m].undefined for m in ranking.metrics if ranking.cells[method][m].undefined}
        if len(counts) == len(ranking.metrics) and len(set(counts.values())) == 1:
            missing.append(f"all of {method} ({counts[ranking.metrics[0]]})")
        else:
            missing += [f"{metric} of {method} ({count})" for metric, count in counts.items()]
    if missing:
        shown = ", ".join(missing[:12]) + (f" and {len(missing) - 12} more" if len(missing) > 12 else "")
        told.append(
            f"Undefined on some of the {ranking.pairs} pairs, which are left out of the mean: {shown}. Ranks use the "
            "pairs where every method has a value."
        )
    if ranking.pairs == 1:
        told.append("One pair has no deviation, and its intervals say nothing.")
    if ranking.greyed:
        told.append("A metric on which a row that fuses nothing is beaten by no method does not tell fusion from none.")
    return told


def notes(ranking: Ranking) -> list[str]:
    """What a reader must know before quoting the table: its basis, and why each metric is not ranked on that is not."""
    statistics = [m for m in ranking.metrics if ranking.better[m] is None]
    told = [*basis(ranking), *(f"Not ranked on {metric}: {reason}" for metric, reason in ranking.greyed.items())]
    if statistics:
        told.append(f"Not ranked on {', '.join(statistics)}: a statistic without direction.")
    return told


def places(ranking: Ranking) -> dict[str, str]:
    """Row number of each ranked method, from 1; others have an empty one."""
    return {m: str(i) if m in ranking.mean_rank else "" for i, m in enumerate(ranking.methods, start=1)}


def table_text(ranking: Ranking) -> str:
    """The table in plain ASCII digits, at most 120 columns wide: blocks of metrics below each other, best first.

    `*` marks the best method; metrics in parentheses are not ranked on, and the notes below say why.
    """
    form, place = formats(ranking), places(ranking)
    left = [["", ""], *([place[m], _short(m)] for m in ranking.methods)]
    columns = []
    if ranking.mean_rank:
        means = [ranking.mean_rank.get(m) for m in ranking.methods]
        columns.append(["mean rank", "", *(f"{r.mean:.2f} " if r else "" for r in means)])
        columns.append(["[95 %]", "", *(f"[{r.low:.2f}, {r.high:.2f}] " if r else "" for r in means)])
    for metric in ranking.metrics:
        grey = metric not in ranking.ranked_on
        best = () if grey else ranking.best[metric]
        body = [number(ranking.cells[m][metric].mean, form[metric]) + "* "[m not in best] for m in ranking.methods]
        columns.append([f"({metric})" if grey else f"{metric} ", DIRECTION[ranking.better[metric]] + " ", *body])
    names = ["", "", *(row[1] for row in left[1:])]
    numbers = ["", "", *(row[0] for row in left[1:])]
    lead = [f"{n:>2} {name:<{max(map(len, names))}}" for n, name in zip(numbers, names, strict=True)]
    blocks, width = [[lead]], len(lead[0])
    for column in columns:
        size = max(map(len, column))
        if width + 1 + size > WIDTH and len(blocks[-1]) > 1:
            blocks.append([lead])
            width = len(lead[0])
        blocks[-1].append([f"{entry:>{size}}" for entry in column])
        width += 1 + size
    first_trivial = 2 + len(ranking.methods) - sum(m in ranking.trivial for m in ranking.methods)
    text = []
    for block in blocks:
        lines = [" ".join(row).rstrip() for row in zip(*block, strict=True)]
        rule = "-" * max(map(len, lines))
        text += [*lines[:2], rule, *lines[2:first_trivial]]
        text += [rule, *lines[first_trivial:]] if first_trivial < len(lines) else []
        text.append("")
    legend = "* best; (metric) not ranked on; up, down, to 0: where better values lie."
    folded = [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in [legend, *notes(ranking)]]
    return "\n".join([*text, *folded]) + "\n"


def table_markdown(ranking: Ranking, metrics: Mapping[str, Metric]) -> str:
    """GitHub table: best bold, second in italics, metrics not ranked on in parentheses; then notes and definitions."""
    form, place = formats(ranking), places(ranking)
    head = ["#", "method", "mean rank [95 %]"]
    for m in ranking.metrics:
        name = f"{markdown(m)} {ARROW[ranking.better[m]]}".strip()
        head.append(name if m in ranking.ranked_on else f"({name})")
    lines = [_row(head), _row(["--:", ":--", *["--:"] * (len(head) - 2)])]
    for method in ranking.methods:
        rank = ranking.mean_rank.get(method)
        cells = [place[method], markdown(method), f"{rank.mean:.2f} [{rank.low:.2f}, {rank.high:.2f}]" if rank else ""]
        for m in ranking.metrics:
            cells.append(_marked(ranking, method, m, form[m], "**{}**".format, "*{}*".format))
        lines.append(_row(cells))
    lines += ["", "**best**, *second*, (not ranked on).", "", *(f"* {markdown(note)}" for note in notes(ranking)), ""]
    lines += [_row(["metric", "direction", "unit", "range", "what it says", "source"]), _row([":--"] * 6)]
    for m in ranking.metrics:
        card = metrics[m]
        told = [m, WORDS[ranking.better[m]], card.unit, str(card.range), card.summary, card.source]
        lines.append(_row([markdown(text) for text in told]))
    return "\n".join(lines) + "\n"


def table_latex(ranking: Ranking, metrics: Mapping[str, Metric]) -> str:
    """Tabulars of eight metrics each: best bold, second underlined, metrics not ranked on grey, arrows for direction.

    Needs the packages booktabs and xcolor. Definitions and notes stand before them as comments.
    """
    form, place = formats(ranking), places(ranking)
    lines = ["% needs \\usepackage{booktabs,xcolor}"]
    for m in ranking.metrics:
        card = metrics[m]
        told = [card.unit and f"unit {card.unit}", f"range {card.range}", card.summary, card.source]
        lines.append(comment(f"{m}: {WORDS[ranking.better[m]]}; {'; '.join(text for text in told if text)}"))
    lines += [comment(note) for note in notes(ranking)]
    arrow = {1: " $\\uparrow$", -1: " $\\downarrow$", 0: " $\\to 0$", None: ""}
    for start in range(0, len(ranking.metrics), PER_BLOCK):
        block = ranking.metrics[start : start + PER_BLOCK]
        lines += [f"\\begin{{tabular}}{{rlr{'r' * len(block)}}}", "\\toprule"]
        names, units = ["", "method", "mean rank"], ["", "", ""]
        for m in block:
            grey = _grey if m not in ranking.ranked_on else str
            names.append(grey(_latex(m) + arrow[ranking.better[m]]))
            units.append(grey(_latex(metrics[m].unit)) if metrics[m].unit else "")
        lines += [_tex_row(names), *([_tex_row(units)] if any(units) else []), "\\midrule"]
        for method in ranking.methods:
            if method in ranking.trivial and lines[-1] != "\\midrule" and not _trivial_before(ranking, method):
                lines.append("\\midrule")
            rank = ranking.mean_rank.get(method)
            cells = [place[method], _latex(method), f"{rank.mean:.2f}" if rank else ""]
            for m in block:
                text = _marked(ranking, method, m, form[m], "\\textbf{{{}}}".format, "\\underline{{{}}}".format)
                text = re.sub("-(?=[0-9$])", "$-$", re.sub("inf(?=}|$)", "$\\\\infty$", text))
                cells.append(text if m in ranking.ranked_on else _grey(text))
            lines.append(_tex_row(cells))
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines)


def sweep_table(rows: Sequence[Mapping[str, object]]) -> str:
    """One row per job, as a table that is aligned on the screen and valid Markdown.

    Columns in the order they first appear; a missing value is blank; numbers of a column share their decimals.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = []
    for name in columns:
        values = [row.get(name) for row in rows]
        floats = [value for value in values if isinstance(value, float)]
        form = digits(floats)
        texts = [number(v, form) if isinstance(v, float) else "" if v is None else markdown(str(v)) for v in values]
        numeric = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
        head = markdown(name)
        size = max(3, len(head), *map(len, texts)) if texts else max(3, len(head))
        side = ">" if numeric else "<"
        table.append([f"{head:{side}{size}}", "-" * (size - 1) + (":" if numeric else "-")])
        table[-1] += [f"{text:{side}{size}}" for text in texts]
    return "\n".join(_row(row) for row in zip(*table, strict=True)) + "\n" if table else ""


def _marked(
    ranking: Ranking, method: str, metric: str, form: str, best: Callable[[str], str], second: Callable[[str], str]
) -> str:
    text = number(ranking.cells[method][metric].mean, form)
    if metric not in ranking.ranked_on:
        return text
    return best(text) if method in ranking.best[metric] else second(text) if method in ranking.second[metric] else text


def _trivial_before(ranking: Ranking, method: str) -> bool:
    return any(m in ranking.trivial for m in ranking.methods[: ranking.methods.index(method)])


def _short(name: str, limit: int = 28) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= limit else f"{plain[:11]}...{plain[len(plain) - limit + 14 :]}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _tex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _grey(text: str) -> str:
    return f"\\textcolor{{gray}}{{{text}}}"


def comment(text: str) -> str:
    """The text as a LaTeX comment of one line."""
    return "% " + " ".join(text.split())


def markdown(text: str) -> str:
    """The text on one line, with everything escaped that Markdown or HTML would read as markup."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", plain)


def _latex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"<": "\\textless{}", ">": "\\textgreater{}"}
    return "".join(special.get(c, c) for c in " ".join(text.split()))
