"""The page `docs/metrics.md`, from the table and the docstrings of the metrics."""

import inspect

from fuse.metrics.table import METRICS

WORDS = {1: "higher is better", -1: "lower is better", 0: "closer to zero is better", None: "no direction"}


def document() -> str:
    """Every metric: name, direction, unit, range, smallest side, what it is blind to, source, definition."""
    parts = [
        "# Metrics",
        "Made from the table and docstrings in `fuse/metrics/` by `python -m fuse.metrics.document > docs/metrics.md`.",
        "All are measured on grey levels 0..255 in float64. `<name>_min` (`_max` where lower is better) is the worst "
        "source: the value of the one that the fused picture serves least, in which a copy of a source comes last.",
    ]
    for name, metric in METRICS.items():
        facts = [WORDS[metric.better], f"range {metric.range}", f"sides of at least {metric.min_side} pixels"]
        facts += [f"unit {metric.unit}"] if metric.unit else []
        facts += [metric.summary] if metric.summary else []
        facts += [metric.source] if metric.source else []
        parts += [f"## {name}", "; ".join(facts) + "."]
        if not name.endswith(("_min", "_max")):
            parts.append(inspect.getdoc(metric.function) or "")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
