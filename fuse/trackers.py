"""Where a run's numbers and pictures go besides its folder: TensorBoard, MLflow, Weights & Biases."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from torch import Tensor

from fuse.config import flat, near
from fuse.errors import InputError

log = logging.getLogger(__name__)
AT_ONCE = 100  # parameters that an MLflow server takes at a time
LONGEST = 6000  # characters of one


class Tracker(Protocol):
    """What a run tells: scalars and pictures by name and step, and that it is over."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step."""

    def picture(self, name: str, picture: Float[Tensor, "3 h w"], step: int) -> None:
        """RGB in [0, 1]."""

    def close(self) -> None:
        """The run came to its end."""


class TensorBoard:
    """Event files in the run folder; a resumed run hides what an earlier one wrote after the step it goes on from."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: Float[Tensor, "3 h w"], step: int) -> None:
        self.writer.add_image(name, picture, step)

    def close(self) -> None:
        self.writer.close()


class MLflow:
    """A run of the experiment MLFLOW_EXPERIMENT_NAME (`fuse`), where MLFLOW_TRACKING_URI says.

    The run folder remembers the run's identity in `mlflow.txt`, so that a resumed run goes on with it; steps that
    were done again have two values there.
    """

    def __init__(self, folder: Path, start: int) -> None:
        mlflow = package("mlflow")
        self.client, self.metric = mlflow.MlflowClient(), mlflow.entities.Metric
        known = remembered(folder / "mlflow.txt") if start else None
        if known is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "fuse")
            found = self.client.get_experiment_by_name(name)
            where = self.client.create_experiment(name) if found is None else found.experiment_id
            known = self.client.create_run(where, run_name=folder.resolve().name).info.run_id
            params = [mlflow.entities.Param(key, str(value)[:LONGEST]) for key, value in settings(folder).items()]
            for first in range(0, len(params), AT_ONCE):
                self.client.log_batch(known, params=params[first : first + AT_ONCE])
            (folder / "mlflow.txt").write_text(known)
        self.run: str = known

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run, [self.metric(name, value, now, step) for name, value in values.items()])

    def picture(self, name: str, picture: Float[Tensor, "3 h w"], step: int) -> None:
        self.client.log_image(self.run, bytes_of(picture), key=name, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class WeightsAndBiases:
    """A run of the project WANDB_PROJECT (`fuse`); WANDB_MODE=offline keeps it below the run folder.

    The run folder remembers the run's identity in `wandb.txt`, so that a resumed run goes on with it; of steps that
    were done again the first value stays.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self.wandb = package("wandb")
        known = remembered(folder / "wandb.txt") if start else None
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fuse"),
            name=folder.resolve().name,
            dir=str(folder),
            id=known,
            resume="allow" if known else None,
            config=settings(folder),
        )
        (folder / "wandb.txt").write_text(self.run.id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def picture(self, name: str, picture: Float[Tensor, "3 h w"], step: int) -> None:
        self.run.log({name: self.wandb.Image(bytes_of(picture))}, step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[Path, int], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


class Trackers:
    """Several as one. What fails while a run goes on is told once and left out from then on: the run goes on.

    Raises:
        InputError: an unknown name, a package that is not there, or a service that does not answer at the start.
    """

    def __init__(self, names: Sequence[str], folder: Path, start: int) -> None:
        self.open: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            if name not in TRACKERS:
                raise InputError(f"run.logger: there is no '{name}'; {near(str(name), TRACKERS)}")
            try:
                self.open[name] = TRACKERS[name](folder, start)
            except Exception as problem:  # whatever a service's package raises
                if name == "tensorboard" or isinstance(problem, InputError):
                    raise
                raise InputError(f"run.logger={name} cannot be used: {' '.join(str(problem).split())}") from problem

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step, to all."""
        self._tell(lambda tracker: tracker.scalars(values, step))

    def picture(self, name: str, picture: Float[Tensor, "3 h w"], step: int) -> None:
        """RGB in [0, 1], to all."""
        self._tell(lambda tracker: tracker.picture(name, picture, step))

    def close(self) -> None:
        """The run came to its end."""
        self._tell(lambda tracker: tracker.close())

    def _tell(self, do: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.open.items()):
            try:
                do(tracker)
            except Exception as problem:
                if name == "tensorboard":  # a file of the run: a full disk is for the run to say
                    raise
                log.warning("%s is told nothing more: %s", name, " ".join(str(problem).split()))
                del self.open[name]


def package(name: str) -> Any:
    """The package of a service.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name != name:
            raise
        raise InputError(f"run.logger={name} needs {name}; pip install 'fuse-imaging[{name}]'") from problem


def settings(folder: Path) -> dict[str, Any]:
    """What the run was told, keys joined by dots; empty if the folder does not say."""
    from omegaconf import OmegaConf

    path = folder / "config.yaml"
    return flat(OmegaConf.to_container(OmegaConf.load(path))) if path.is_file() else {}


def remembered(path: Path) -> str | None:
    """The identity of the run at a service; None if there was none."""
    return path.read_text().strip() or None if path.is_file() else None


def bytes_of(picture: Float[Tensor, "3 h w"]) -> np.ndarray:
    """`(h, w, 3)` of 8 bits, as services take pictures."""
    shown: np.ndarray = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return shown
