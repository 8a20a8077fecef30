"""The page `docs/metrics.md`, from the table, the docstrings and the named forms of the metrics."""

import inspect
from functools import partial

from fuse.metrics.table import FAMILIES, LEARNED, Metric
from fuse.metrics.variants import VARIANTS

ARROWS = {1: "↑", -1: "↓", 0: "→ 0", None: ""}
INTRODUCTION = """\
# Metrics

Made from `fuse/metrics/` by `python -m fuse.metrics.document > docs/metrics.md`.

Grey levels 0..255, float64, one value per picture. ↑ higher is better, ↓ lower, → 0 closer to zero. `from`: the
smallest height and width in pixels; below it, and where the definition has no value, stands NaN. A metric against
several sources is their sum, mean or weighted mean as its text says; `<name>_min` (`_max` where lower is better) is
the value of the worst source alone, which a copy of another one cannot raise. `<name>_body` is the same inside the
body alone, for medical pictures: more than half of one is an empty background, which else decides the value (`en_body`
says what the body is). No metric sees everything: the last column but one says what each tells and what it is blind to,
or what wins it without fusing anything."""


def _row(metric: Metric) -> str:
    cells = [f"`{metric.name}`", ARROWS[metric.better], metric.unit, metric.range, str(metric.min_side), metric.summary]
    return "| " + " | ".join([*cells, metric.source]) + " |"


def _text(metric: Metric) -> str:
    """The docstring of the function, or of the one that it is a case of."""
    function = metric.function
    while isinstance(function, partial):
        function = function.func
    return inspect.getdoc(function) or ""


def document() -> str:
    """Every family of metrics: a table of what is known of each, then their definitions; at last the named forms."""
    parts = [INTRODUCTION]
    for title, rows in (
        FAMILIES | {"Learned by others; measured where they are named": tuple(LEARNED.values())}
    ).items():
        table = ["| metric | | unit | range | from | tells; blind to | source |", "|---|---|---|---|---|---|---|"]
        parts += [f"## {title}", "\n".join(table + [_row(metric) for metric in rows])]
        texts: dict[str, list[str]] = {}
        for metric in rows:
            if not metric.name.endswith(("_min", "_max")):
                texts.setdefault(_text(metric), []).append(metric.name)
        for text, names in texts.items():
            parts += [f"### {', '.join(names)}", text]
    forms: dict[str, list[str]] = {}
    for key in VARIANTS:
        name, form = key.split("/", 1)
        forms.setdefault(name, []).append(f"`{form}`")
    parts += [
        "## Named forms",
        "By these names protocols and golden values ask for the forms that published tables use:",
    ]
    parts.append("\n".join(f"* {name}: {', '.join(names)}" for name, names in forms.items()))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
