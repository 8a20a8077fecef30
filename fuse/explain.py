"""Why two protocols give the same picture different numbers: one convention changed at a time."""

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from fuse.data import io
from fuse.errors import InputError
from fuse.metrics.levels import Image, Images, Scores, combined, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.structure import GAUSSIAN_11, extended, ssim_map
from fuse.metrics.variants import VARIANTS, Variant
from fuse.metrics.windows import box
from fuse.protocol import Picture, Protocol, levels, value
from fuse.report_page import render
from fuse.report_tables import WIDTH, digits, markdown, number


class Ssim(NamedTuple):
    """The conventions of a form of SSIM; `data_range` as if the levels were 0..255."""

    precision: str
    window: str
    border: str
    data_range: float
    combine: str


VISIBLE = 1 / 400  # of a bar's full length: one unit of the picture
GAUSSIAN, BOX = "Gaussian 11x11", "box 7x7, sample covariance"
WINDOWS = {  # taps, and k2: dividing the moments by (n - 1) / n is multiplying C2 by it
    GAUSSIAN: (GAUSSIAN_11, 0.03),
    BOX: (box(7), 0.03 * math.sqrt(48 / 49)),
}
SSIM = {
    "SSIM/default": Ssim("float64", GAUSSIAN, "valid", 255, "mean"),
    "SSIM/sum": Ssim("float64", GAUSSIAN, "valid", 255, "sum"),
    "SSIM/matlab": Ssim("float64", GAUSSIAN, "replicate", 255, "mean"),
    "SSIM/tang": Ssim("float64", GAUSSIAN, "replicate", 1, "mean"),
    "SSIM/cddfuse": Ssim("float32", BOX, "valid", 2, "sum"),
    "SSIM/x255": Ssim("float32", GAUSSIAN, "valid", 1, "sum"),
    "SSIM/skimage-uniform7": Ssim("float64", BOX, "valid", 255, "mean"),
}


class Step(NamedTuple):
    """One convention changed from `old` to `new`; `protocol` prepares the pictures, `form` measures them."""

    convention: str
    old: str
    new: str
    protocol: Protocol
    form: Variant


def ssim(conventions: Ssim) -> Variant:
    """SSIM by its conventions, always in float64."""
    window, k2 = WINDOWS[conventions.window]
    margin = len(window) // 2 if conventions.border == "replicate" else 0

    def of(fused: Image, sources: Images) -> Scores:
        result, values = extended(grey(fused), margin), []
        for source in sources:
            x = extended(grey(source), margin)
            values.append(average(ssim_map(x, result, window=window, data_range=conventions.data_range, k2=k2)[0]))
        return combined(values, conventions.combine)

    return of


def between(first: str, second: str) -> list[tuple[str, str, str, Variant]]:
    """From one form of a metric to another: convention, old, new, and the form after the change.

    SSIM is taken apart into precision, window, border, data range and combination; other metrics change at once.
    """
    if first == second:
        return []
    if first not in SSIM or second not in SSIM:
        return [("definition", first, second, VARIANTS[second])]
    start, end = SSIM[first], SSIM[second]
    found: list[tuple[str, str, str, Variant]] = []
    now = start._replace(precision="float64")  # the changes between are measured without rounding of 32 bits
    if start.precision != "float64":
        found.append(("precision", start.precision, "float64", ssim(now)))
    for key in ("window", "border", "data_range", "combine"):
        old, new = getattr(start, key), getattr(end, key)
        if old != new:
            now = now._replace(**{key: new})
            found.append((key.replace("_", " "), str(old), str(new), ssim(now)))
    if end.precision != "float64":
        found.append(("precision", "float64", end.precision, VARIANTS[second]))
    found[-1] = (*found[-1][:3], VARIANTS[second])
    return found


def steps(first: Protocol, second: Protocol, column: str) -> list[Step]:
    """From a column of the first protocol to that of the second: how pictures become levels, then the form."""
    form = VARIANTS[first.metrics[column]]
    now, found = first, [Step("", "", "", first, form)]
    for key in ("grey", "stretch", "crop"):
        old, new = getattr(first, key), getattr(second, key)
        if old != new:
            now = now._replace(**{key: new})
            found.append(Step(key, str(old).lower(), str(new).lower(), now, form))  # true, false
    changes = between(first.metrics[column], second.metrics[column])
    return [*found, *(Step(convention, old, new, now, form) for convention, old, new, form in changes)]


def values(fused: Picture, sources: Sequence[Picture], paths: Mapping[str, Sequence[Step]]) -> dict[str, list[float]]:
    """Column -> its value at every step of its path, for one fused picture as stored and its sources as stored."""
    prepared: dict[tuple[Any, ...], tuple[Tensor, list[Tensor]]] = {}
    found: dict[str, list[float]] = {}
    for column, path in paths.items():
        found[column] = []
        for step in path:
            key = (step.protocol.grey, step.protocol.stretch, step.protocol.crop)
            if key not in prepared:
                prepared[key] = levels(fused, sources, step.protocol)
            found[column].append(value(column, step.form, *prepared[key]))
    return found


def shared(first: Protocol, second: Protocol, names: Iterable[str] | None) -> list[str]:
    """The columns that both protocols have, among `names` if given.

    Raises:
        InputError: there is none, or one of `names` is not in both.
    """
    both = [name for name in first.metrics if name in second.metrics]
    wanted = both if names is None or list(names) == ["all"] else list(names)
    if lost := [name for name in wanted if name not in both]:
        raise InputError(
            f"{', '.join(lost)}: not in both {first.name} and {second.name}, which share {', '.join(both)}"
        )
    if not wanted:
        raise InputError(f"{first.name} and {second.name} have no column in common")
    return wanted


class Account(NamedTuple):
    """One column of one method: means at every step over the `pairs` where all steps are finite, of `asked`."""

    method: str
    column: str
    path: Sequence[Step]
    means: Sequence[float]
    pairs: int
    asked: int

    def parts(self) -> list[float]:
        """The change that each step makes; together the difference between the protocols."""
        return [after - before for before, after in zip(self.means, self.means[1:], strict=False)]


def account(method: str, column: str, path: Sequence[Step], rows: Sequence[Sequence[float]]) -> Account:
    """Means over the pairs; `rows`: per pair the values of `values`."""
    table = np.array(rows)
    whole = table[np.isfinite(table).all(1)]
    means = whole.mean(0) if len(whole) else np.full(len(path), np.nan)
    return Account(method, column, path, means.tolist(), len(whole), len(rows))


def lines(found: Account) -> list[tuple[str, str, str]]:
    """What stands beside each other in a table: what is meant or changed, its part, the value after it."""
    form = digits(found.means)
    said = [(found.path[0].protocol.name, "", number(found.means[0], form))]
    for step, part, after in zip(found.path[1:], found.parts(), found.means[1:], strict=True):
        change = number(part, form)
        sign = "+" if part > 0 and change.strip("0.") else ""
        said.append((f"{step.convention}: {step.old} -> {step.new}", sign + change, number(after, form)))
    return said


def left_over(accounts: Sequence[Account], first: Protocol, second: Protocol) -> list[str]:
    """What the tables do not show, a sentence each."""
    said = ["Conventions are changed in this order, one on top of the other; the parts of another order would differ."]
    same = sorted({entry.column for entry in accounts if len(entry.path) == 1})
    if same:
        said.append(f"The same in both: {', '.join(same)}.")
    for one, other in ((first, second), (second, first)):
        if only := [name for name in one.metrics if name not in other.metrics]:
            said.append(f"Only in {one.name}: {', '.join(only)}.")
    for entry in accounts:
        if entry.pairs < entry.asked:
            missing = f"{entry.asked - entry.pairs} of {entry.asked} pairs"
            said.append(f"{entry.column} of {entry.method}: undefined on {missing}, left out.")
    return said


def table_text(accounts: Sequence[Account], first: Protocol, second: Protocol) -> str:
    """The accounts for the screen, one method below the other."""
    text: list[str] = []
    for method in dict.fromkeys(entry.method for entry in accounts):
        own = [entry for entry in accounts if entry.method == method]
        text += [f"{method}: from {first.name} to {second.name}, pairs: {own[0].asked}", ""]
        told = [(entry.column if i == 0 else "", *line) for entry in own for i, line in enumerate(lines(entry))]
        rows = [("metric", "convention", "part", "value"), *told]
        size = [max(len(row[i]) for row in rows) for i in range(4)]
        text += [f"{a:{size[0]}}  {b:{size[1]}}  {c:>{size[2]}}  {d:>{size[3]}}" for a, b, c, d in rows]
        text.append("")
    folded = [textwrap.fill(said, WIDTH, subsequent_indent="  ") for said in left_over(accounts, first, second)]
    return "\n".join([*text, *folded]) + "\n"


def table_markdown(accounts: Sequence[Account], first: Protocol, second: Protocol) -> str:
    """The same as one Markdown table."""
    text = [f"From {first.name} to {second.name}.", "", "| method | metric | convention | part | value |"]
    text.append("| :-- | :-- | :-- | --: | --: |")
    for entry in accounts:
        for words in lines(entry):
            cells = [markdown(cell) for cell in (entry.method, entry.column, *words)]
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join([*text, "", *(f"* {markdown(said)}" for said in left_over(accounts, first, second))]) + "\n"


def waterfall(accounts: Sequence[Account], first: Protocol, second: Protocol) -> str:
    """The accounts as an SVG picture: per metric a bar from one protocol's value to the other's, part by part.

    Every metric has its own scale, which includes 0. Left out are metrics whose parts all are below 1/400 of it.
    """
    rows: list[dict[str, Any]] = []
    for entry in accounts:
        if len(entry.path) == 1 or not all(map(math.isfinite, entry.means)):
            continue
        low, high = min(0.0, *entry.means), max(0.0, *entry.means)
        if max(map(abs, entry.parts())) < (high - low) * VISIBLE or high == low:
            continue
        scale = 1 / (high - low)
        rows.append({"head": f"{entry.method}, {entry.column}"})
        ends = [(0.0, entry.means[0]), *zip(entry.means, entry.means[1:], strict=False)]
        for i, (words, (before, after)) in enumerate(zip(lines(entry), ends, strict=True)):
            left, right = sorted(((before - low) * scale, (after - low) * scale))
            kind = "whole" if i == 0 or after == before else "up" if after > before else "down"
            said = words[2] if i == 0 else words[1]
            rows.append({"label": words[0], "left": left, "width": right - left, "kind": kind, "said": said})
        left, right = sorted(((0.0 - low) * scale, (entry.means[-1] - low) * scale))
        last = {"label": second.name, "left": left, "width": right - left, "kind": "whole", "said": lines(entry)[-1][2]}
        rows.append(last)
    return render("explain.svg", rows=rows, first=first.name, second=second.name)


def write(out: Path, accounts: Sequence[Account], first: Protocol, second: Protocol, about: Mapping[str, Any]) -> str:
    """Writes `explain.md`, `explain.svg` and `explain.json` into the folder; returns the screen's text.

    Raises:
        InputError: the folder cannot be written to.
    """
    told = [
        {
            "method": entry.method,
            "metric": entry.column,
            "pairs": entry.pairs,
            "steps": [
                {"convention": step.convention, "from": step.old, "to": step.new, "value": _finite(mean)}
                for step, mean in zip(entry.path, entry.means, strict=True)
            ],
        }
        for entry in accounts
    ]
    data = {**about, "first": first._asdict(), "second": second._asdict(), "accounts": told}
    io.write_bytes(out / "explain.md", table_markdown(accounts, first, second).encode())
    io.write_bytes(out / "explain.svg", waterfall(accounts, first, second).encode())
    io.write_bytes(out / "explain.json", json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode())
    return table_text(accounts, first, second)


def _finite(mean: float) -> float | None:
    return mean if math.isfinite(mean) else None
