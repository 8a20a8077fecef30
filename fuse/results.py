"""`results.csv`: rows written one by one, so that an evaluation cut off goes on where it stopped."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fuse.data.io import write_bytes
from fuse.errors import InputError

Rows = dict[str, dict[str, dict[str, float]]]  # method -> pair -> metric -> value


class Results:
    """The rows of one evaluation in a folder: those an earlier call left there, and new ones.

    `asked` is all that makes the evaluation what it is; it stands in `evaluation.json`. A later call may name further
    methods, and only those are judged; what was judged before must still be named, and be the same.

    Raises:
        InputError: the folder holds another evaluation, which would be lost.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], names: Sequence[str]) -> None:
        self.names, self.rows = list(names), Rows()
        table, marker = folder / "results.csv", folder / "evaluation.json"
        text = json.dumps({"metrics": self.names, **asked}, indent=1)
        if table.exists() or marker.exists():
            if told := differences(marker, json.loads(text)):
                raise InputError(
                    f"{folder} holds another evaluation, with other {', '.join(told)}; choose another out=, or delete "
                    "that one"
                )
            self._read(table)
        write_bytes(marker, text.encode())
        lines = [self._line(method, pair, row) for method, pairs in self.rows.items() for pair, row in pairs.items()]
        write_bytes(table, (self._text(["method", "pair", *self.names]) + "".join(lines)).encode())
        self.file = table.open("a", newline="", encoding="utf-8")

    def add(self, method: str, pair: str, row: dict[str, float]) -> None:
        """Write one row down at once."""
        self.rows.setdefault(method, {})[pair] = row
        self.file.write(self._line(method, pair, row))
        self.file.flush()

    def has(self, method: str, pair: str) -> bool:
        """Whether that row is known already."""
        return pair in self.rows.get(method, {})

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _read(self, table: Path) -> None:
        text = table.read_text(encoding="utf-8") if table.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a kill can cut the last line short
        for row in csv.DictReader(io.StringIO(whole, newline="")):
            values = {name: float(row[name]) if row[name] else math.nan for name in self.names}
            self.rows.setdefault(row["method"], {})[row["pair"]] = values

    def _line(self, method: str, pair: str, row: Mapping[str, float]) -> str:
        values = [row[name] for name in self.names]
        return self._text([method, pair, *("" if math.isnan(value) else repr(value) for value in values)])

    @staticmethod
    def _text(cells: Sequence[str]) -> str:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(cells)
        return line.getvalue()


def differences(marker: Path, asked: Mapping[str, Any]) -> list[str]:
    """In what an evaluation differs from the one that a folder holds; further methods are no difference."""
    if not marker.exists():
        return ["or unknown settings"]
    held = json.loads(marker.read_text())
    told = [name for name in {**held, **asked} if name != "methods" and held.get(name) != asked.get(name)]
    new, old = asked.get("methods", {}), held.get("methods", {})
    return told + [f"method {name}" for name in old if old[name] != new.get(name)]
