"""Where the configuration lies, what a run may be told, and how a name in it becomes an object."""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuse.errors import InputError

PACKAGED = Path(__file__).parent / "conf"
CONF = str(PACKAGED if PACKAGED.is_dir() else Path(__file__).parent.parent / "conf")  # wheel, else source tree

LOGGERS = ("tensorboard", "mlflow", "wandb")  # the names in fuse.trackers, which is slow to import


@dataclass
class Run:
    """Settings of a training run; `conf/run/default.yaml` says what each means."""

    dir: str
    steps: int
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    precision: str = "auto"
    ema: float = 0.999
    log_every: int = 10
    val_every: int = 500
    val_pairs: int = 4
    save_every: int = 500
    objective: str = "q_g"
    logger: Any = "tensorboard"
    evaluate: bool = True
    deterministic: bool = False
    profile: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"run.{name}={getattr(self, name)}: must be at least 1"
            for name in ("steps", "devices", "log_every", "val_every", "val_pairs", "save_every")
            if getattr(self, name) < 1
        ]
        if self.devices > 1 and ":" in self.device:
            problems.append(
                f"run.device={self.device} is one device and run.devices={self.devices}; name its kind alone"
            )
        if not 0 <= self.ema < 1:
            problems.append(f"run.ema={self.ema}: must be in [0, 1); 0 switches the average off")
        if self.precision not in ("auto", "float32", "bf16"):
            problems.append(f"run.precision={self.precision}: choose auto, float32 or bf16")
        problems += self._loggers()
        if not 0 <= self.seed < 2**31:
            problems.append(f"run.seed={self.seed}: must be from 0 to {2**31 - 1}")
        if problems:
            raise InputError("\n".join(problems))

    def _loggers(self) -> list[str]:
        """Makes `logger` a list; what is wrong with it, before anything slow begins."""
        if not isinstance(self.logger, list):
            self.logger = [self.logger]
        if unknown := [name for name in self.logger if name not in LOGGERS]:
            return [f"run.logger={unknown[0]}: choose {', '.join(LOGGERS)}, or a list of some; [] for none"]
        return [
            f"run.logger={name} needs {name}; pip install 'fuse-imaging[{name}]'"
            for name in self.logger
            if name != "tensorboard" and name not in sys.modules and importlib.util.find_spec(name) is None
        ]


def typed(settings: Mapping[str, Any]) -> Run:
    """The run settings with the types of `Run`.

    Raises:
        InputError: an unknown setting or a value of the wrong type or range; all that OmegaConf finds at once.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        run = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Run), dict(settings)))
    except OmegaConfBaseException as problem:
        raise InputError(f"run.{problem.full_key}: {str(problem).splitlines()[0]}") from problem
    assert isinstance(run, Run)
    return run


def near(word: str, options: Iterable[str]) -> str:
    """'did you mean ...?' with the options most like `word`, else the list of all options."""
    options = sorted(options)
    close = difflib.get_close_matches(word, options, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(options)}"


def build(node: Mapping[str, Any], **runtime: Any) -> Any:
    """The object that `node["_target_"]` names, made from the other keys of the node and from `runtime`.

    Nested nodes are built first; everything handed on is plain Python.

    Raises:
        InputError: the name does not exist, or the constructor refuses a value.
    """
    try:
        return construct(node)(**runtime)
    except InputError:
        raise
    except ValueError as problem:  # what constructors raise at values they cannot use
        raise InputError(f"{node['_target_']}: {problem}") from problem


def construct(node: Mapping[str, Any]) -> Callable[..., Any]:
    """The class or function of `node["_target_"]` with its settings filled in, waiting for the other arguments."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        waiting: Callable[..., Any] = instantiate({**node, "_partial_": True}, _convert_="all")
    except InstantiationException as problem:
        if isinstance(problem.__cause__, InputError):  # a nested constructor says what is wrong
            raise problem.__cause__ from None
        raise InputError(f"{node.get('_target_')}: {str(problem).splitlines()[0]}") from problem
    return waiting


def check(cfg: Mapping[str, Any], path: str = "") -> list[str]:
    """Every name in the configuration that leads nowhere, and every argument its constructor does not have."""
    from hydra.utils import get_object

    problems = []
    for key, value in cfg.items():
        if isinstance(value, Mapping):
            problems += check(value, f"{path}{key}.")
    if "_target_" in cfg:
        where, given = path.rstrip("."), {key for key in cfg if not key.startswith("_")}
        try:
            target = get_object(cfg["_target_"])
            known = inspect.signature(target).parameters
        except Exception as problem:
            return [*problems, f"{where}: '{cfg['_target_']}' cannot be used: {' '.join(str(problem).split())}"]
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
            problems += [
                f"{path}{name}: {cfg['_target_']} takes no '{name}'; {near(name, known)}"
                for name in sorted(given - set(known))
            ]
    return problems


def flat(node: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    if not isinstance(node, Mapping):
        return {path: node}
    return {
        key: leaf for name, value in node.items() for key, leaf in flat(value, f"{path}.{name}".lstrip(".")).items()
    }
