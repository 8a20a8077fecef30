"""The study of a sweep: which trial is next, whoever works on it, and what the study is told of it."""

import json
import logging
import math
import multiprocessing
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna import Study, Trial
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from fuse.config import flat
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.metrics import METRICS
from fuse.sweep_trial import NOT_A_NUMBER, Watch, child, hold, means
from fuse.update import interruptible

if TYPE_CHECKING:
    from fuse.sweep import Plan

log = logging.getLogger(__name__)
TRIES = 3  # of a trial whose process dies by itself
OF_THE_RESULT = ("steps", "seed", "precision", "ema", "val_every", "val_pairs")  # of run.*; the others may change
POLL = 0.5  # seconds between two looks at a running trial


def opened(plan: "Plan", storage: RDBStorage) -> Study:
    """The study in the folder, or a new one whose first trial is the recipe as it stands.

    Raises:
        InputError: the folder holds a study of something else.
    """
    sought = {key: {"from": low, "start": start, "to": high} for key, (start, low, high) in plan.space.items()}
    run = {name: plan.cfg["run"][name] for name in OF_THE_RESULT}
    asked = {"objectives": plan.objectives, "space": sought, **plan.cfg, "run": run}
    with closing(_turn(plan.folder)):
        study = optuna.create_study(
            storage=storage,
            study_name="sweep",
            directions=["maximize" if METRICS[name].better == 1 else "minimize" for name in plan.objectives],
            pruner=MedianPruner(),
            load_if_exists=True,
        )
        if "asked" not in study.user_attrs:
            study.set_user_attr("asked", json.dumps(asked))
            study.enqueue_trial({key: start for key, (start, _, _) in plan.space.items()})
    before, now = flat(json.loads(study.user_attrs["asked"])), flat(json.loads(json.dumps(asked)))
    other = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    if other:
        told = ", ".join(f"{key} {before.get(key)} there, {now.get(key)} here" for key in other[:4])
        raise InputError(f"{plan.folder} holds another study ({told}); choose another sweep.dir, or delete that one")
    return study


def _turn(folder: Path) -> sqlite3.Connection:
    """The right to choose the next trial, which one worker has at a time, on whatever machine."""
    lock = hold(folder / "turn.lock", wait=120)
    if lock is None:
        raise TimeoutError(f"another fuse-sweep has kept {folder / 'turn.lock'} for two minutes")
    return lock


def lineages(study: Study) -> dict[int, list[FrozenTrial]]:
    """Trials by the number of their first try."""
    found: dict[int, list[Any]] = {}
    for trial in study.get_trials(deepcopy=False):
        found.setdefault(trial.user_attrs.get("first", trial.number), []).append(trial)
    return found


def settled(tries: Sequence[FrozenTrial]) -> bool:
    """Judged, given up, being tried, or dead by itself too often; tries that somebody cut off do not count."""
    died = [t for t in tries if "died" in t.user_attrs]
    return len(died) >= TRIES or any(t.state.name != "FAIL" for t in tries)


def claim(plan: "Plan", study: Study) -> tuple[Trial, sqlite3.Connection] | None:
    """The next trial and the lock that shows that it is being worked on; None if there is no more.

    A trial that says it is running though nobody holds its lock is marked failed, and is tried again before new ones
    are. Weights follow from the seed and the number of the trial, so that workers never draw the same.
    """

    def lock_of(number: int) -> Path:
        return plan.folder / "trials" / f"worker-{number:04d}.lock"

    with closing(_turn(plan.folder)):
        for running in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if lock := hold(lock_of(running.number)):
                with closing(lock):  # looked at again, since its worker may have come to the end meanwhile
                    if study.get_trials(deepcopy=False)[running.number].state == TrialState.RUNNING:
                        study.tell(running.number, state=TrialState.FAIL)
                        log.info("trial %d was cut off and is tried again", running.number)
        trials = lineages(study)
        again = [number for number, tries in trials.items() if not settled(tries)]
        if again:
            study.enqueue_trial(trials[again[0]][0].params, {"first": again[0]})
        elif len(trials) >= plan.trials and not any(
            t.state.name == "WAITING" for t in study.get_trials(deepcopy=False)
        ):
            return None
        seed = zlib.crc32(f"{plan.cfg['run']['seed']}/{len(study.get_trials(deepcopy=False))}".encode())
        study.sampler = TPESampler(seed=seed, constant_liar=True)
        trial = study.ask({key: FloatDistribution(low, high, log=True) for key, (_, low, high) in plan.space.items()})
        lock = hold(lock_of(trial.number))
        assert lock is not None  # of a number that was given out just now
        return trial, lock


def work(plan: "Plan", study: Study, samples: Sequence[Sample]) -> None:
    """Run trials until there are no more, `plan.workers` at a time.

    Raises:
        InputError: a trial says that its settings or data cannot be used; the others are stopped.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    stop = threading.Event()

    def worker() -> None:
        try:
            while not stop.is_set() and (claimed := claim(plan, study)):
                with closing(claimed[1]):
                    tried(plan, study, claimed[0], samples, stop)
        except BaseException:
            stop.set()
            raise

    with interruptible() as interrupted, ThreadPoolExecutor(plan.workers) as pool:
        futures = [pool.submit(worker) for _ in range(plan.workers)]
        while not all(future.done() for future in futures):
            time.sleep(POLL / 5)
            if interrupted():
                stop.set()
        for future in futures:
            future.result()
        if interrupted():
            raise KeyboardInterrupt("; the same command goes on with what was cut off")


def tried(plan: "Plan", study: Study, trial: Trial, samples: Sequence[Sample], stop: threading.Event) -> None:
    """One trial from start to judgement, told to the study.

    Raises:
        InputError: as `fuse-train` says.
    """
    folder = plan.folder / "trials" / f"{trial.user_attrs.get('first', trial.number):04d}"
    told, began = folder.with_suffix(".log"), time.time()
    said = told.stat().st_size if told.exists() else 0
    log.info("trial %d: %s", trial.number, "  ".join(f"{key} {value:.4g}" for key, value in trial.params.items()))
    why, code = watched(plan, trial, folder, samples, stop)
    trial.set_user_attr("seconds", round(time.time() - began, 1))
    message = told.read_text(errors="replace")[said:].rpartition("fuse-train: ")[2].strip() if code == 2 else ""
    scores: dict[str, float] = {}
    if NOT_A_NUMBER in message:
        why = message.partition(";")[0]
    elif code == 0 and why is None:
        scores = means(folder)
        why = json.loads((folder / "val.json").read_text())["sign"]
        why = why or (None if all(map(math.isfinite, scores.values())) else "an objective is not a finite number")
    if why is not None:
        trial.set_user_attr("stopped", why)
        study.tell(trial, state=TrialState.PRUNED)
        log.info("trial %d stopped: %s", trial.number, why)
    elif code == 0:
        study.tell(trial, [aim(scores[name], name) for name in plan.objectives])
        log.info("trial %d: %s", trial.number, "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    else:
        if code not in (2, None):
            trial.set_user_attr("died", f"its process ended with code {code}, see {told}")
            log.warning("trial %d: its process ended with code %s, see %s", trial.number, code, told)
        study.tell(trial, state=TrialState.FAIL)
        if code == 2:
            raise InputError(message)


def watched(
    plan: "Plan", trial: Trial, folder: Path, samples: Sequence[Sample], stop: threading.Event
) -> tuple[str | None, int | None]:
    """Run the process of a trial to its end, or end it: why it was not worth going on with, and its exit code.

    The code is None where `stop` was set before the process had ended.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["fuse.sweep_trial", "fuse.train", "fuse.report", "torch.utils.tensorboard"])
    resume = any((folder / name).is_dir() for name in ("last", "last.ready", "last.old"))  # as a kill may leave it
    threads = max((os.cpu_count() or 1) // plan.workers, 1) if plan.workers > 1 else None
    mine, line = context.Pipe()
    words = command(plan, trial.params, folder, resume)
    process = context.Process(
        target=child, args=(line, words, folder, trial.params, plan.objectives, threads, Path.cwd())
    )
    process.start()
    line.close()
    watch, why = Watch(folder, plan.cfg, samples), None
    report = pruning(trial, plan.objectives[0]) if len(plan.objectives) == 1 else None
    while process.is_alive() and why is None and not stop.is_set():
        process.join(POLL)
        why = watch.verdict(plan.objectives[0], report)
    cut_off = process.is_alive()
    mine.close()  # ends the process if it still runs
    process.join()
    return why, None if cut_off else process.exitcode


def pruning(trial: Trial, objective: str) -> Callable[[float, int], bool]:
    """Hands validation scores to the study; whether the trial is worse than the median of the others at that step."""

    def report(value: float, step: int) -> bool:
        if math.isfinite(value):
            trial.report(aim(value, objective), step)
        return bool(trial.should_prune())  # NumPy's

    return report


def aim(value: float, objective: str) -> float:
    """What the study sees of a score: where closer to zero is better, the magnitude, which is minimised."""
    return abs(value) if METRICS[objective].better == 0 else value


def command(plan: "Plan", weights: Mapping[str, float], folder: Path, resume: bool) -> list[str]:
    """The words after `fuse-train` that make a trial, or go on with it."""
    where = f"run.dir='{str(folder.resolve()).replace(chr(39), chr(92) + chr(39))}'"
    if resume:
        return [where, "run.resume=true"]
    chosen = [f"{key}={value!r}" for key, value in weights.items()]
    return ["run.evaluate=false", *plan.words, f"run.objective={plan.objectives[0]}", *chosen, where]
