"""`fuse-train` and `fuse-eval`: from the command line to a plain dictionary. Imports no PyTorch before it must."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fuse import launch, lock
from fuse.config import CONF, typed
from fuse.errors import InputError
from fuse.mistakes import explain
from fuse.multirun import Table, done, taken_up

log = logging.getLogger(__name__)
SOME_FAILED = 3


def train() -> None:
    """The command `fuse-train`."""
    guarded("train", _train)
    if Table.failed:
        print("\n".join(["failed:", *Table.failed]), file=sys.stderr)
        sys.exit(SOME_FAILED)


def evaluate() -> None:
    """The command `fuse-eval`."""
    guarded("eval", _evaluate)


@hydra.main(config_path=CONF, config_name="train", version_base="1.3")
def _train(cfg: DictConfig) -> float | None:
    out = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        try:
            return one_run(cfg, out)
        except InputError as problem:  # the other jobs of the sweep go on
            (out / "error.txt").write_text(f"{problem}\n")
            if not (out / "config.yaml").exists():  # the table tells the jobs apart by their settings
                OmegaConf.save(cfg, out / "config.yaml", resolve=True)
            log.error("%s", problem)
            return None
    return guarded("train", one_run, cfg, out)


@hydra.main(config_path=CONF, config_name="eval", version_base="1.3")
def _evaluate(cfg: DictConfig) -> None:
    out = Path(HydraConfig.get().runtime.output_dir)
    failures = guarded("eval", one_evaluation, cfg, out)
    if failures:
        print("\n".join(["failed:", *failures]), file=sys.stderr)
        sys.exit(SOME_FAILED)


def one_run(cfg: DictConfig, out: Path) -> float | None:
    """Train, write the page of the run, and judge what came out; the best validation score."""
    if launch.count() > 1 and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise InputError("torchrun starts one run; for a sweep: fuse-train -m run.devices=N ...")
    if launch.rank():
        return launch.follow(out)
    if not cfg.run.resume and (out / "last").exists():
        raise InputError(f"run.dir={out} holds a run already; add run.resume=true to go on with it, or name another")
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        settings = taken_up(plain(cfg), out)
        if done(settings, out):
            return None
    else:
        settings = resumed(cfg, out) if cfg.run.resume else plain(cfg)
    settings["run"] = vars(typed({**settings["run"], "dir": str(out)} | launch.under_torchrun()))
    if settings["run"]["devices"] > launch.count():
        return launch.start(settings, out, plain(HydraConfig.get().job_logging))
    return whole(settings, out)


def whole(settings: dict[str, Any], out: Path) -> float | None:
    """The same with settings as they are, in this process or in the first of several."""
    with lock.held(out):
        OmegaConf.save(OmegaConf.create(settings), out / "config.yaml.new")
        os.replace(out / "config.yaml.new", out / "config.yaml")  # never half, also on a full disk
        from fuse import judge, ranks, report

        best = ranks.together(settings, out)
        if settings["run"]["evaluate"]:
            print(judge.after_training(settings, out))
        report.run_page(out)
    print(place(out), flush=True)
    return best


def one_evaluation(cfg: DictConfig, out: Path) -> list[str]:
    """Judge, print the table; what failed."""
    from fuse import judge

    text, failures = judge.command(plain(cfg), out)
    print(text)
    print(place(out), flush=True)
    return failures


def place(out: Path) -> Path:
    """The folder as one would type it: relative where it lies below the current one."""
    return out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out


def guarded(command: str, do: Callable[..., Any], *given: Any) -> Any:
    """Do it; what the user can mend ends with one message and code 2, what is ours with a traceback and code 1."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its own errors instead of printing them
    try:
        return do(*given)
    except KeyboardInterrupt as stop:
        print(f"stopped {stop}", file=sys.stderr)
        sys.exit(130)
    except Exception as problem:
        message = explain(problem, command)
        if message is None:
            raise
        for out in (path for path in given if isinstance(path, Path)):
            discard(out)
        print(f"fuse-{command}: {message}", file=sys.stderr)
        sys.exit(2)


def plain(cfg: Any) -> dict[str, Any]:
    """The configuration as plain Python, every value resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def resumed(cfg: DictConfig, out: Path) -> dict[str, Any]:
    """The configuration a run was started with, and over it what this command line says about `run`.

    Raises:
        InputError: no run in the folder, or an override that would make it another run.
    """
    if not (out / "config.yaml").is_file():
        raise InputError(f"run.dir={out} holds no run to resume; give the folder that the run printed")
    given = [word for word in HydraConfig.get().overrides.task if not word.startswith(("run.dir", "run.resume"))]
    others = [word for word in given if not word.startswith("run.") or word.startswith("run.seed")]
    if others:
        raise InputError(
            f"{' '.join(others)}: a resumed run keeps its data, model, loss and seed; only run.* can change"
        )
    saved = OmegaConf.merge(OmegaConf.load(out / "config.yaml"), OmegaConf.from_dotlist([*given, "run.resume=true"]))
    return plain(saved)


def discard(out: Path) -> None:
    """Take away a folder in which nothing but the command's own log and settings came to lie, and its empty parents."""
    logging.shutdown()
    if not out.is_dir() or {path.name for path in out.iterdir()} - {
        "train.log",
        "eval.log",
        "config.yaml",
        "config.yaml.new",
    }:
        return
    shutil.rmtree(out)
    for parent in (path for path in out.parents if path.is_relative_to(Path.cwd() / "outputs")):
        if any(parent.iterdir()):
            return
        parent.rmdir()
