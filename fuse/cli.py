"""`fuse-train` and `fuse-eval`: from the command line to a plain dictionary. Imports no PyTorch before it must."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fuse.config import CONF, typed
from fuse.errors import InputError
from fuse.mistakes import explain
from fuse.multirun import Table

log = logging.getLogger(__name__)
SOME_FAILED = 3


def train() -> None:
    """The command `fuse-train`."""
    guarded(_train, "train")


def evaluate() -> None:
    """The command `fuse-eval`."""
    guarded(_evaluate, "eval")


@hydra.main(config_path=CONF, config_name="train", version_base="1.3")
def _train(cfg: DictConfig) -> float | None:
    out = Path(HydraConfig.get().runtime.output_dir)
    sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        settings = resumed(cfg, out) if cfg.run.resume else plain(cfg)
        settings["run"] = vars(typed({**settings["run"], "dir": str(out)}))
        OmegaConf.save(OmegaConf.create(settings), out / "config.yaml")
        from fuse import judge, report, train

        best = train.run(settings, out)
        if settings["run"]["evaluate"]:
            say(judge.after_training(settings, out))
        report.run_page(out)
    except (InputError, KeyboardInterrupt) as problem:
        if not sweep:
            discard_empty(out)
            raise
        (out / "error.txt").write_text(f"{problem}\n")  # the other jobs of the sweep go on
        log.error("%s", problem)
        return None
    say(str(os.path.relpath(out)))
    return best


@hydra.main(config_path=CONF, config_name="eval", version_base="1.3")
def _evaluate(cfg: DictConfig) -> None:
    from fuse import judge

    out = Path(HydraConfig.get().runtime.output_dir)
    try:
        text, failures = judge.command(plain(cfg), out)
    except InputError:
        discard_empty(out)
        raise
    say(text)
    if failures:
        print("\n".join(["failed:", *failures]), file=sys.stderr)
    say(str(os.path.relpath(out)))
    if failures:
        sys.exit(SOME_FAILED)


def guarded(command: Callable[[], Any], name: str) -> None:
    """Run a command; what the user can mend ends with one message and code 2, what is ours with a traceback and 1."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its own errors instead of printing them
    try:
        command()
    except KeyboardInterrupt as stop:
        print(f"stopped {stop}", file=sys.stderr)
        sys.exit(130)
    except Exception as problem:
        message = explain(problem, name)
        if message is None:
            raise
        print(f"fuse-{name}: {message}", file=sys.stderr)
        sys.exit(2)
    if Table.failed:
        print("\n".join(["failed:", *Table.failed]), file=sys.stderr)
        sys.exit(SOME_FAILED)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain Python, every value resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


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
        raise InputError(f"{' '.join(others)}: a resumed run keeps its data, model, loss and seed; only run.* can change")
    saved = OmegaConf.merge(OmegaConf.load(out / "config.yaml"), OmegaConf.from_dotlist([*given, "run.resume=true"]))
    return plain(saved)  # type: ignore[arg-type]


def discard_empty(out: Path) -> None:
    """Take away a run folder in which nothing but this command's own log and settings came to lie."""
    logging.shutdown()
    if out.is_dir() and not {path.name for path in out.iterdir()} - {"train.log", "eval.log", "config.yaml"}:
        shutil.rmtree(out)


def say(text: str) -> None:
    print(text, flush=True)
