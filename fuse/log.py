"""What a run tells while it trains: progress bar, `metrics.csv`, `train.log`, and trackers such as TensorBoard."""

import csv
import io
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function
from tqdm import tqdm

from fuse.errors import InputError
from fuse.trackers import Trackers

log = logging.getLogger(__name__)


class Log:
    """Collects terms on the device, reads them only every so often, and writes them down by name.

    `pending` are the terms since the last line; they belong into the checkpoint so that a resumed run writes the
    lines that an unbroken one would.
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        batch: int,
        pending: Sequence[dict[str, Tensor]] = (),
        loggers: Sequence[str] = ("tensorboard",),
    ) -> None:
        """
        Raises:
            InputError: a tracker that there is not, or that cannot be used.
        """
        self.folder, self.batch = folder, batch
        self.pending = list(pending)
        self.table = folder / "metrics.csv"
        self.rows = [row for row in read_rows(self.table) if int(row["step"]) <= start] if start else []
        self.trackers = Trackers(loggers, folder, start)
        self.bar = tqdm(total=steps, initial=start, unit="step", disable=None, dynamic_ncols=True)
        self.since, self.waited, self.counted = time.perf_counter(), 0.0, 0
        self._rewrite()

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Hand batches through, adding up the time spent waiting for them."""
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    @record_function("fuse.logging")
    def add(self, terms: dict[str, Tensor]) -> None:
        """Terms of one step, left on the device."""
        self.pending.append(terms)
        self.counted += 1
        self.bar.update()

    def check(self, step: int) -> None:
        """Raises:
        InputError: a term since the last line is not a number; the update of that step did not happen.
        """
        if not self.pending:
            return
        sound = torch.stack(
            [torch.stack([v.float() for v in terms.values()]).isfinite().all() for terms in self.pending]
        )
        if not bool(sound.all()):
            first = int((~sound).nonzero()[0])
            when = step - len(self.pending) + first + 1
            which = ", ".join(name for name, value in self.pending[first].items() if not bool(value.isfinite()))
            raise InputError(
                f"step {when}: {which} is not a finite number; training stopped before that update, and the last "
                f"checkpoint is untouched. Lower optim.lr, set optim.clip=1, or look at the data"
            )

    @record_function("fuse.logging")
    def line(self, step: int, extra: Mapping[str, float]) -> None:
        """One row: the mean of every term since the last row, over the steps that had it, and `extra`."""
        self.check(step)
        row: dict[str, float] = {"step": step}
        if self.pending:
            names = list(dict.fromkeys(name for terms in self.pending for name in terms))
            kept = [[terms[name].float() for terms in self.pending if name in terms] for name in names]
            means = torch.stack([torch.stack(values).mean() for values in kept])
            row |= dict(zip(names, means.tolist(), strict=True))
        now = time.perf_counter()
        seconds = max(now - self.since, 1e-9)
        row |= {**extra, "patches_per_second": self.counted * self.batch / seconds, "data_share": self.waited / seconds}
        self.since, self.waited, self.counted = now, 0.0, 0
        self.pending = []
        self.trackers.scalars({name: value for name, value in row.items() if name != "step"}, step)
        self.rows.append({name: repr(value) for name, value in row.items()})
        self._append()
        shown = {name: f"{value:.4g}" for name, value in row.items() if name not in ("step", "lr", "data_share")}
        self.bar.set_postfix(shown, refresh=False)
        if self.bar.disable:
            log.info("step %d/%d  %s", step, self.bar.total, "  ".join(f"{k} {v}" for k, v in shown.items()))

    @record_function("fuse.logging")
    def scores(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Tensor]) -> None:
        """Validation: means into the row of this step, grids `(3, h, w)` in [0, 1] to the trackers."""
        self.trackers.scalars({f"val/{name}": value for name, value in scores.items()}, step)
        for name, grid in pictures.items():
            self.trackers.picture(f"val/{name}", grid, step)
        row = {"step": str(step)} | {f"val/{name}": repr(value) for name, value in scores.items()}
        if self.rows and self.rows[-1]["step"] == str(step):
            self.rows[-1] |= row
        else:
            self.rows.append(row)
        self._rewrite()
        self.since, self.waited, self.counted = time.perf_counter(), 0.0, 0
        log.info("step %d: validation %s", step, "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))

    def close(self) -> None:
        self.bar.close()
        self.trackers.close()

    def _append(self) -> None:
        if set(self.rows[-1]) - set(self.columns):
            self._rewrite()
            return
        with self.table.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(self.rows[-1])

    def _rewrite(self) -> None:
        """The whole table anew, for a new column; moved into place so that no reader sees half of it."""
        self.columns = list(dict.fromkeys(["step", *(name for row in self.rows for name in row)]))
        temporary = self.table.with_suffix(".csv.new")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.table)


def read_rows(table: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv`, blanks left out; a last line cut off by a kill is dropped."""
    if not table.is_file():
        return []
    text = table.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [{k: v for k, v in row.items() if k and v} for row in csv.DictReader(io.StringIO(whole, newline=""))]
