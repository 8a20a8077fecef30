"""Jobs of `fuse-train -m`: a GPU each, going on where they were cut off, one table at the end."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fuse import lock
from fuse.config import flat
from fuse.errors import InputError

OWN = ("run.dir", "run.resume")  # differ by themselves
ONE_BY_ONE = ".BasicLauncher"  # how the name of Hydra's own launcher ends; the others run jobs side by side


class Table(Callback):
    """Called by Hydra before every job, to give it a GPU, and when all are done, to print where they differ."""

    failed: ClassVar[list[str]] = []

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """In the process of a job, before CUDA wakes up: with several GPUs it is to see one, the least used.

        Nothing happens where jobs run one after the other, or where `run.device` or `run.devices` is chosen by hand.
        """
        alone = config.hydra.mode is not RunMode.MULTIRUN or config.hydra.launcher._target_.endswith(ONE_BY_ONE)
        if alone or config.run.device not in ("auto", "cuda") or config.run.get("devices", 1) not in (None, 1):
            return
        visible = visible_gpus()
        if len(visible) > 1:  # else there is no choice, or this process chose at an earlier job
            job = config.hydra.job.num
            os.environ["CUDA_VISIBLE_DEVICES"] = own_gpu(Path(config.hydra.sweep.dir) / ".gpus", visible, job)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Read every job's folder, whichever launcher ran it, write `table.md` and print the table."""
        from fuse.report_tables import sweep_table

        folder = Path(config.hydra.sweep.dir)
        jobs = sorted(
            (path for path in folder.iterdir() if (path / "config.yaml").is_file()),
            key=lambda path: (len(path.name), path.name),
        )
        settings = {job: flat(OmegaConf.to_container(OmegaConf.load(job / "config.yaml"))) for job in jobs}
        swept = [
            key
            for key in dict.fromkeys(key for values in settings.values() for key in values)
            if key not in OWN and len({repr(values.get(key)) for values in settings.values()}) > 1
        ]
        rows = []
        for job in jobs:
            row: dict[str, object] = {"job": job.name} | {key: settings[job].get(key) for key in swept}
            if (job / "error.txt").exists():
                Table.failed.append(f"job {job.name}: {(job / 'error.txt').read_text().strip()}")
                row["failed"] = "yes"
            rows.append(row | means(job))
        text = sweep_table(rows)
        (folder / "table.md").write_text(text)
        print(text)
        print(folder)


def visible_gpus() -> list[str]:
    """What this process may use, as CUDA_VISIBLE_DEVICES names it; does not wake CUDA up."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def own_gpu(folder: Path, visible: Sequence[str], job: int) -> str:
    """The entry of `visible` that fewest processes of a sweep on this machine have; it is this process's until it ends.

    Not simply the number of the job: a launcher gives a process that is done the next job, whatever its number, and
    CUDA stays with the GPU it woke up on. Who has what is told by locked files in `folder`, one folder per sweep, which
    end with their processes; where there are no locks, the number of the job decides.
    """
    turn = 0
    while True:
        for gpu in visible:
            try:
                held = lock.taken(folder / f"{socket.gethostname()}-{gpu}-{turn}.lock")
            except InputError:  # somebody has it
                continue
            return gpu if held is not None else visible[job % len(visible)]
        turn += 1


def taken_up(settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """Settings of a job of a sweep: with `run.resume=true` a job that has begun goes on, another begins.

    Raises:
        InputError: a run of other settings has begun in the folder.
    """
    if not settings["run"]["resume"]:
        return settings
    (out / "error.txt").unlink(missing_ok=True)
    begun = any((out / name).is_dir() for name in ("last", "last.ready", "last.old"))  # as a kill may leave it
    if begun:
        before, now = flat(OmegaConf.to_container(OmegaConf.load(out / "config.yaml"))), flat(settings)
        other = [
            f"{key} {before.get(key)} there, {now.get(key)} here"
            for key in dict.fromkeys([*before, *now])
            if (not key.startswith("run.") or key == "run.seed") and before.get(key) != now.get(key)
        ]
        if other:
            raise InputError(f"{out} holds the run of another sweep ({', '.join(other[:4])}); name another run.dir")
    return {**settings, "run": {**settings["run"], "resume": begun}}


def done(settings: Mapping[str, Any], out: Path) -> bool:
    """Whether a job to be resumed had come to its end, page and all."""
    card = out / "last" / "config.json"
    if not settings["run"]["resume"] or not (out / "report.html").is_file() or not card.is_file():
        return False
    return bool(json.loads(card.read_text())["step"] >= settings["run"]["steps"])


def means(job: Path) -> dict[str, float]:
    """Mean test scores of the trained network of a job; empty if it was not evaluated."""
    summary = job / "eval" / "summary.json"
    if not summary.is_file():
        return {}
    methods = json.loads(summary.read_text())["scores"]
    return {metric: cell["mean"] for metric, cell in methods["trained"].items()}
