"""`fuse-sweep`: a search over the weights of a loss by several opposed metrics, every trial a run of `fuse-train`."""

import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fuse.cli import SOME_FAILED, guarded, place, plain
from fuse.config import CONF, build, check, flat, near, typed
from fuse.errors import InputError

RESERVED = {
    "run.dir": "trials lie in the folder of the sweep, which sweep.dir names",
    "run.resume": "the same fuse-sweep command goes on with what was cut off",
    "run.objective": "best/ of a trial is by the first of sweep.objectives",
}


class Plan(NamedTuple):
    """What a sweep searches, in which folder, on which data.

    `cfg` is the configuration of a trial before its weights are chosen; `given` the whole command line, `words` what of
    it goes to the trials. `space` has per dotted key its configured value, the lowest and the highest.
    """

    folder: Path
    data: str
    cfg: dict[str, Any]
    given: list[str]
    words: list[str]
    objectives: list[str]
    space: dict[str, tuple[float, float, float]]
    trials: int
    workers: int


def main() -> None:
    """The command `fuse-sweep`."""
    guarded("sweep", single, sys.argv[1:])
    guarded("sweep", _sweep)


def single(words: Sequence[str]) -> None:
    """Raises:
    InputError: the command line asks Hydra for a grid.
    """
    if {"-m", "--multirun"} & set(words):
        raise InputError("-m: fuse-sweep chooses the values itself; for a grid of given ones use fuse-train -m")


@hydra.main(config_path=CONF, config_name="sweep", version_base="1.3")
def _sweep(cfg: DictConfig) -> None:
    given = HydraConfig.get()
    failed = guarded("sweep", search, cfg, Path(given.runtime.output_dir), list(given.overrides.task))
    if failed:
        print("\n".join(["failed:", *failed]), file=sys.stderr)
        sys.exit(SOME_FAILED)


def search(cfg: DictConfig, out: Path, words: Sequence[str]) -> list[str]:
    """Run what is missing of the study in `out`, print the front and write the page; the trials that failed.

    Raises:
        InputError: settings, names or data that cannot be used, another study in the folder, or no Optuna.
        KeyboardInterrupt: Ctrl-C or SIGTERM; running trials have saved and go on with the same command.
    """
    plan = planned(plain(cfg), out, words)
    if importlib.util.find_spec("optuna") is None:
        raise InputError("fuse-sweep needs optuna; pip install 'fuse-imaging[sweep]'")
    import optuna

    from fuse import sweep_page, sweep_study, sweep_trial

    samples = sweep_trial.validation(plan.cfg)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (out / "trials").mkdir(exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{(out / 'study.db').resolve()}", {"connect_args": {"timeout": 60}})
    try:
        study = sweep_study.opened(plan, storage)
        sweep_study.work(plan, study, samples)
        text = sweep_page.write(plan, study.get_trials(), samples)
        print(text)
        print(place(out), flush=True)
        return [
            f"trial {first}: {tries[-1].user_attrs['died']}; tried {len(tries)} times"
            for first, tries in sweep_study.lineages(study).items()
            if sweep_study.settled(tries) and all(t.state.name == "FAIL" for t in tries)
        ]
    finally:
        storage.remove_session()
        storage.engine.dispose()


def planned(cfg: dict[str, Any], out: Path, words: Sequence[str]) -> Plan:
    """The plan that a composed configuration and the words of its command line come to.

    Raises:
        InputError: all that is wrong with the settings of the sweep.
    """
    from fuse.metrics import METRICS

    sweep = cfg.pop("sweep")
    names = [word for word in words if word.lstrip("+~").partition("=")[0] in RESERVED]
    problems = check(cfg) + [f"{word}: {RESERVED[word.lstrip('+~').partition('=')[0]]}" for word in names]
    for name in ("trials", "workers"):
        if not isinstance(sweep[name], int) or isinstance(sweep[name], bool) or sweep[name] < 1:
            problems.append(f"sweep.{name}={sweep[name]}: must be a whole number, at least 1")
    factor = sweep["factor"]
    if not _number(factor) or factor <= 1:
        problems.append(f"sweep.factor={factor}: must be a number above 1")
        factor = 2
    objectives = [sweep["objectives"]] if isinstance(sweep["objectives"], str) else list(sweep["objectives"])
    if not objectives or len(set(objectives)) < len(objectives):
        problems.append(f"sweep.objectives={objectives}: name different metrics, at least one")
    data = build(cfg["data"])
    for name in objectives:
        if name not in METRICS:
            problems.append(f"sweep.objectives: {name} is not a metric; {near(str(name), METRICS)}")
        elif METRICS[name].better is None:
            problems.append(f"sweep.objectives: {name} is neither better high nor low; choose another metric")
        elif METRICS[name].uses == "reference" and not data.reference:
            problems.append(f"sweep.objectives: {name} needs a reference, which {data.name} lacks")
    values: dict[str, float] = {}
    try:
        values = searched(cfg, sweep["parameters"])
    except InputError as problem:
        problems.append(str(problem))
    if problems:
        raise InputError("\n".join(problems))
    cfg["run"] = {**cfg["run"], "dir": str(out), "objective": objectives[0]}
    typed(cfg["run"])
    space = {key: (value, value / factor, value * factor) for key, value in values.items()}
    kept = [word for word in words if not word.lstrip("+~").startswith(("sweep=", "sweep."))]
    return Plan(out, data.name, cfg, list(words), kept, objectives, space, sweep["trials"], sweep["workers"])


def searched(cfg: Mapping[str, Any], names: Any) -> dict[str, float]:
    """Dotted keys of what is searched, with their values: every positive weight, or what is named.

    Raises:
        InputError: a name that is neither a term nor a key, a value that is no positive number, or nothing at all.
    """
    weights = {name: node["weight"] for name, node in cfg["loss"].items() if name != "range"}
    every = flat(cfg)
    if names is None:
        found = {f"loss.{name}.weight": value for name, value in weights.items() if _number(value) and value > 0}
        if not found:
            raise InputError("no weight of the loss is positive; name what to search by sweep.parameters=[...]")
        return found
    found = {}
    for name in [names] if isinstance(names, str) else names:
        key = f"loss.{name}.weight" if name in weights else str(name)
        if key not in every:
            raise InputError(f"sweep.parameters: there is no '{name}'; {near(str(name), [*weights, *every])}")
        if not _number(every[key]) or every[key] <= 0:
            raise InputError(
                f"sweep.parameters: {key}={every[key]} is no positive number; give it a value to start from"
            )
        found[key] = every[key]
    if not found:
        raise InputError("sweep.parameters=[]: name at least one, or null for every weight of the loss")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
