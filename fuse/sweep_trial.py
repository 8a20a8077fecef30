"""One trial of a sweep: an ordinary `fuse-train` in a process of its own, watched while it runs, judged at its end."""

import itertools
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from fuse import infer, judge, methods, suspicion
from fuse.config import build
from fuse.data import color, io
from fuse.data.sample import Sample, enlarged
from fuse.errors import InputError
from fuse.log import read_rows
from fuse.update import pick

NOT_A_NUMBER = "is not a finite number"  # how `fuse.log.Log.check` words it
PATIENCE = 2  # checkpoints in a row that must look wrong: a network may begin as a copy


def hold(path: Path, wait: float = 0) -> sqlite3.Connection | None:
    """The lock that a file stands for, until the connection is closed or its process ends, however it ends.

    None if another still has it after `wait` seconds. SQLite's locks are those of the operating system, on all of them.
    """
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as problem:
        connection.close()
        if "locked" not in str(problem):
            raise
        return None
    return connection


def child(
    line: Connection,
    words: Sequence[str],
    folder: Path,
    weights: Mapping[str, float],
    objectives: Sequence[str],
    threads: int | None,
    here: Path,
) -> None:
    """The process of a trial: `fuse-train WORDS` into the run folder, then its judgement; ends with the exit code.

    What it says goes to a file beside the folder. Whoever started it ends it by closing the other end of `line`, also
    by dying: training then saves and stops. A process that still writes into the folder is waited for.
    """
    import torch

    from fuse import cli

    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    os.chdir(here)  # relative paths are those of the command; multiprocessing goes where Python was started
    with folder.with_suffix(".log").open("a") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
    if threads is not None:
        torch.set_num_threads(threads)
    lock = hold(folder.with_suffix(".lock"), wait=600)
    if lock is None:
        raise TimeoutError(f"another process still writes into {folder}")
    with closing(lock):
        sys.argv = ["fuse-train", *words]
        cli.train()
        cli.guarded("train", judged, folder, objectives)
        hparams(folder, weights)


def _end_with(line: Connection) -> None:
    try:
        line.recv()
    except EOFError:
        os.kill(os.getpid(), signal.SIGTERM)


def settings(folder: Path) -> dict[str, Any]:
    """The configuration a run folder was made with."""
    from omegaconf import OmegaConf

    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")))


def validation(cfg: dict[str, Any]) -> list[Sample]:
    """The pictures that a run is validated on: the first `run.val_pairs` of the split val.

    Raises:
        InputError: the data are not there, or have no such split.
    """
    return list(itertools.islice(build(cfg["data"]).samples("val"), cfg["run"]["val_pairs"]))


def trusted(cfg: dict[str, Any]) -> list[str]:
    """The package of the network: who trains it trusts it."""
    return [cfg["model"]["fuser"]["_target_"].split(".")[0]]


def judged(folder: Path, objectives: Sequence[str]) -> None:
    """Judge the best checkpoint of a run folder on its validation pictures: `val/<stem>.png`, and `val.json` with the
    scores of each picture and what is suspicious about all of them.

    Raises:
        InputError: no checkpoint, or a metric that does not apply.
    """
    cfg = settings(folder)
    trained = methods.resolve(str(folder), pick(cfg["run"]["device"]), trust=trusted(cfg))
    scores, pairs = {}, []
    (folder / "val").mkdir(exist_ok=True)
    for sample in validation(cfg):
        fused = trained.fuse(sample)
        scores[sample.names[0]] = judge.scores(fused, enlarged(sample), objectives)
        pairs.append((fused, enlarged(sample).sources))
        io.write(folder / "val" / f"{sample.names[0]}.png", fused[0].cpu())
    told = {"scores": scores, "sign": collapse(pairs)}
    io.write_bytes(folder / "val.json", json.dumps(told, indent=1).encode())


def hparams(folder: Path, weights: Mapping[str, float]) -> None:
    """The weights and the mean of each objective for TensorBoard's page HPARAMS, beside the curves of the run."""
    from torch.utils.tensorboard import SummaryWriter

    scores = {f"sweep/{name}": value for name, value in means(folder).items()}
    with SummaryWriter(str(folder)) as writer:
        writer.add_hparams(dict(weights), scores, run_name=".")


def means(folder: Path) -> dict[str, float]:
    """Each objective over the pictures that a trial was judged on."""
    rows = list(json.loads((folder / "val.json").read_text())["scores"].values())
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def collapse(pairs: Iterable[tuple[Tensor, Sequence[Tensor]]]) -> str | None:
    """What a network is given up for: every picture is the same source alone, or saturated, or has a grid.

    Of fused pictures and their sources as stored, `(1, c, h, w)`.
    """
    grey = [(color.grey_levels(fused.cpu()), [color.grey_levels(x) for x in sources]) for fused, sources in pairs]
    copies = {tuple(suspicion.copied(fused, sources)) for fused, sources in grey}
    if len(copies) == 1 and (copy := copies.pop()):
        return f"every picture {copy[0]}"
    ends = [suspicion.saturated(fused, sources) for fused, sources in grey]
    if ends and all(ends):
        return f"every picture is saturated; one {ends[0][0]}"
    grids = [suspicion.gridded(fused, sources) for fused, sources in grey]
    return f"every picture has a grid; one {grids[0][0]}" if grids and all(grids) else None


class Watch:
    """What a running trial has come to, read from its folder: validations are handed on, checkpoints looked at.

    `report(value, step)` is called with every new validation score of `objective`; it says whether to stop.
    """

    def __init__(self, folder: Path, cfg: dict[str, Any], samples: Sequence[Sample]) -> None:
        self.folder, self.samples, self.trust = folder, samples, trusted(cfg)
        self.wrong, self.step, self.steps = 0, -1, cfg["run"]["steps"]
        self.reported = -1
        self.changed = 0.0

    def verdict(self, objective: str, report: Callable[[float, int], bool] | None) -> str | None:
        """Why the trial is not worth going on with; None while it is."""
        table = self.folder / "metrics.csv"
        if report is not None and table.is_file() and table.stat().st_mtime != self.changed:
            self.changed = table.stat().st_mtime
            for row in read_rows(table):
                step, score = int(row["step"]), row.get(f"val/{objective}")
                if score is not None and step > self.reported:
                    self.reported = step
                    if report(float(score), step):
                        return f"worse than the median of the other trials at step {step}"
        return self.looks()

    def looks(self) -> str | None:
        """The sign that the last checkpoints had in common."""
        try:
            step = json.loads((self.folder / "last" / "config.json").read_text())["step"]
            if step == self.step or step >= self.steps:  # what a trial ends with is judged anyway
                return None
            fuser = methods.fuser(str(self.folder / "last"), pick("cpu"), self.trust)[0].eval()
            pairs = [(infer.fuse(fuser, sample.sources), enlarged(sample).sources) for sample in self.samples]
        except (OSError, ValueError, InputError):  # none yet, or just being replaced: looked at next time
            return None
        self.step = step
        sign = collapse(pairs)
        self.wrong = self.wrong + 1 if sign else 0
        return f"{sign}, at step {step} as at the checkpoint before" if self.wrong >= PATIENCE else None
