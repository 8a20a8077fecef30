"""What a sweep found: the front as a table, every trial in `trials.csv`, and one page with plots and pictures."""

import csv
import io as text
import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING, Any

from fuse.data import io
from fuse.data.sample import Sample
from fuse.metrics import METRICS
from fuse.report_page import embed, render
from fuse.report_tables import sweep_table

if TYPE_CHECKING:
    import optuna

    from fuse.sweep import Plan

WIDTH, HEIGHT = 320.0, 200.0  # of a plot, in its own units
SHOWN = 8  # trials of the front whose pictures are shown
SIDE = 400  # pixels of an embedded picture's longer side
STATES = {"COMPLETE": "judged", "PRUNED": "stopped", "FAIL": "tried again", "RUNNING": "running", "WAITING": "waiting"}

Trials = Sequence["optuna.trial.FrozenTrial"]


def write(plan: "Plan", trials: Trials, samples: Sequence[Sample]) -> str:
    """Write `trials.csv`, `front.md` and `sweep.html` into the folder of the sweep; the text for the screen."""
    judged = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = front(judged, plan.objectives)
    rows = {trial.number: row(plan, trial) | {"front": trial in best} for trial in trials}
    io.write_bytes(plan.folder / "trials.csv", table(list(rows.values())).encode())
    shown = [{k: v for k, v in rows[t.number].items() if k not in ("state", "front", "stopped")} for t in best]
    told = [f"Pareto front: {len(best)} of {len(judged)} judged trials"]
    if len(plan.objectives) == 1:
        told = [f"Best of {len(judged)} judged trials"]
    told += [sweep_table(shown)]
    ranks = sensitivity(plan, judged)
    told += [
        f"Sensitivity: Spearman's rank correlation of weight and score over {len(judged)} trials",
        sweep_table(ranks),
    ]
    stopped = [trial for trial in trials if trial.state.name == "PRUNED"]
    told += [f"trial {trial.number} stopped: {trial.user_attrs.get('stopped', '')}" for trial in stopped]
    io.write_bytes(plan.folder / "front.md", "\n".join(told).encode())
    page = render(
        "sweep.html",
        title=f"Sweep: {plan.data}, {', '.join(map(label, plan.space))}",
        words=shlex.join(plan.given),
        objectives=[{"name": name, "aim": aim_of(name), "summary": METRICS[name].summary} for name in plan.objectives],
        counts={
            STATES[s]: sum(t.state.name == s for t in trials) for s in STATES if any(t.state.name == s for t in trials)
        },
        fronts=[
            plot(judged, best, value(plan, a), value(plan, b)) for a, b in itertools.combinations(plan.objectives, 2)
        ],
        weights=[
            plot(judged, best, value(plan, key), value(plan, name)) | {"rho": rank[name]}
            for key, rank in zip(plan.space, ranks, strict=True)
            for name in plan.objectives
        ],
        judged=len(judged),
        front=texts(shown),
        trials=texts([{k: "" if v is None else v for k, v in r.items()} for r in rows.values()]),
        sheet=sheet(plan, best, samples),
        left_out=max(len(best) - SHOWN, 0),
        width=WIDTH,
        height=HEIGHT,
        side=SIDE,
    )
    io.write_bytes(plan.folder / "sweep.html", page.encode())
    return "\n".join(told)


def front(judged: Trials, objectives: Sequence[str]) -> list[Any]:
    """The trials that no other is at least as good as in everything and better in something; best first by the first.

    Of trials with the same scores all stay. With one objective these are the best.
    """
    signs = [1 if METRICS[name].better == 1 else -1 for name in objectives]
    scores = [[sign * v for sign, v in zip(signs, trial.values or (), strict=True)] for trial in judged]

    def beaten(mine: list[float]) -> bool:
        return any(s != mine and all(a >= b for a, b in zip(s, mine, strict=True)) for s in scores)

    kept = [(score, trial) for score, trial in zip(scores, judged, strict=True) if not beaten(score)]
    return [trial for _, trial in sorted(kept, key=lambda item: (-item[0][0], item[1].number))]


def sensitivity(plan: "Plan", judged: Trials) -> list[dict[str, Any]]:
    """Per searched weight Spearman's rank correlation with every objective: -1..1; NaN where one does not vary."""
    rows = []
    for key in plan.space:
        row: dict[str, Any] = {"weight": label(key)}
        for i, name in enumerate(plan.objectives):
            pairs = [(trial.params[key], trial.values[i]) for trial in judged]
            row[name] = spearman([x for x, _ in pairs], [y for _, y in pairs])
        rows.append(row)
    return rows


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation of the ranks, equal values sharing their mean rank; NaN where there is none."""
    try:
        return correlation(ranks(x), ranks(y))
    except StatisticsError:  # fewer than two, or one of them is constant
        return math.nan


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the least; equal values share the mean of theirs."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def label(key: str) -> str:
    """The name of a term for its weight, other keys as they are."""
    return key.removeprefix("loss.").removesuffix(".weight") if key.startswith("loss.") else key


def aim_of(name: str) -> str:
    """In words what is better."""
    return {1: "higher is better", -1: "lower is better", 0: "closer to zero is better; its magnitude is shown"}[
        METRICS[name].better or 0
    ]


def row(plan: "Plan", trial: Any) -> dict[str, Any]:
    """A trial with its weights, its scores and where it lies."""
    scores = dict(zip(plan.objectives, trial.values or [None] * len(plan.objectives), strict=True))
    return {
        "trial": trial.number,
        "state": "failed" if "died" in trial.user_attrs else STATES[trial.state.name],
        **{label(key): trial.params.get(key) for key in plan.space},
        **scores,
        "seconds": trial.user_attrs.get("seconds"),
        "folder": f"trials/{folder(trial)}",
        "stopped": trial.user_attrs.get("stopped") or trial.user_attrs.get("died"),
    }


def folder(trial: Any) -> str:
    """Name of the run folder, which later tries of a trial share with its first."""
    return f"{trial.user_attrs.get('first', trial.number):04d}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """As CSV, with every digit; what is missing is blank."""
    out = text.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def texts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Cells as the page shows them."""
    return [{k: f"{v:.5g}" if isinstance(v, float) else str(v) for k, v in r.items()} for r in rows]


def value(plan: "Plan", name: str) -> tuple[str, bool, Any]:
    """An axis: its name, whether it is logarithmic, and the value of a trial on it."""
    if name in plan.space:
        return label(name), True, lambda trial: trial.params[name]
    index = plan.objectives.index(name)
    return f"|{name}|" if METRICS[name].better == 0 else name, False, lambda trial: trial.values[index]


def plot(
    judged: Trials, best: Sequence[Any], across: tuple[str, bool, Any], up: tuple[str, bool, Any]
) -> dict[str, Any]:
    """Points of all judged trials, the front's marked and, where both axes are scores, joined."""

    def places(axis: tuple[str, bool, Any], size: float) -> tuple[dict[int, float], list[str]]:
        values = {trial.number: float(axis[2](trial)) for trial in judged}
        shown = {n: math.log(v) if axis[1] else v for n, v in values.items()}
        low, high = min(shown.values(), default=0.0), max(shown.values(), default=0.0)
        span = high - low
        at = {n: round(size * ((v - low) / span if span else 0.5), 2) for n, v in shown.items()}
        return at, [f"{v:.4g}" for v in (min(values.values(), default=0.0), max(values.values(), default=0.0))]

    (x, ends_x), (y, ends_y) = places(across, WIDTH), places(up, HEIGHT)
    marked = {trial.number for trial in best}
    points = [(x[n], HEIGHT - y[n], n, n in marked) for n in x]
    joined = sorted((px, py) for px, py, _, on in points if on) if not (across[1] or up[1]) else []
    return {
        "x": across[0],
        "y": up[0],
        "log": across[1],
        "points": points,
        "line": " ".join(f"{px:g},{py:g}" for px, py in joined),
        "ends_x": ends_x,
        "ends_y": ends_y,
    }


def sheet(plan: "Plan", best: Sequence[Any], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Per validation picture its sources, its reference and what trials of the front made of it, embedded.

    Where the front is longer than 8, evenly from its best by the first objective to its last.
    """
    count = min(len(best), SHOWN)
    chosen = [best[round(i * (len(best) - 1) / max(count - 1, 1))] for i in range(count)]
    found = []
    for sample in samples:
        pictures = [{"name": r, "src": embed(x[0], SIDE)} for r, x in zip(sample.roles, sample.sources, strict=True)]
        if sample.reference is not None:
            pictures.append({"name": "reference", "src": embed(sample.reference[0], SIDE)})
        for trial in chosen:
            path = Path(plan.folder, "trials", folder(trial), "val", f"{sample.names[0]}.png")
            pictures.append({"name": f"trial {trial.number}", "src": embed(io.read(path), SIDE)})
        found.append({"name": sample.names[0], "pictures": pictures})
    return found
