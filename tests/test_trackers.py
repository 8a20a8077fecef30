"""What trackers are told of a run. MLflow and W&B are stood in for; they are asked for nothing that these lack."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fuse import train
from fuse.config import LOGGERS, typed
from fuse.errors import InputError
from fuse.log import Log
from fuse.trackers import TRACKERS

GRID = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1).expand(3, 2, 4)


class Point(NamedTuple):
    """Metric or parameter, as MLflow's entities are made."""

    key: str
    value: Any
    timestamp: int = 0
    step: int = 0


class Client:
    """Remembers what an MLflow server would."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: list[tuple[str, str]] = []
        self.metrics: list[tuple[str, str, float, int]] = []
        self.params: dict[str, str] = {}
        self.pictures: list[tuple[str, int, np.ndarray]] = []
        self.ended: list[str] = []
        self.down = False

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, f"e-{name}")

    def create_run(self, experiment_id: str, run_name: str) -> Any:
        self.runs.append((experiment_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=f"r{len(self.runs)}"))

    def log_batch(self, run_id: str, metrics: Sequence[Point] = (), params: Sequence[Point] = ()) -> None:
        if self.down:
            raise ConnectionError("the server\nis down")
        self.metrics += [(run_id, one.key, one.value, one.step) for one in metrics]
        self.params |= {one.key: one.value for one in params}

    def log_image(self, run_id: str, image: np.ndarray, key: str, step: int) -> None:
        self.pictures.append((key, step, image))

    def set_terminated(self, run_id: str) -> None:
        self.ended.append(run_id)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """The one client of a module `mlflow`."""
    one, module = Client(), ModuleType("mlflow")
    vars(module).update(MlflowClient=lambda: one, entities=SimpleNamespace(Metric=Point, Param=Point))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return one


def told(folder: Path, start: int, *loggers: str) -> Log:
    """A run that writes a line and a validation at the step after `start`."""
    folder.mkdir(exist_ok=True)
    meter = Log(folder, start, 9, 4, loggers=loggers)
    meter.add({"loss": torch.tensor(0.25)})
    meter.line(start + 1, {"lr": 0.5})
    meter.scores(start + 1, {"q_g": 0.75}, {"scene": GRID})
    return meter


def test_mlflow_is_told_lines_scores_pictures_and_settings(client: Client, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("run: {steps: 9}\nloss:\n  text: " + "x" * 7000)
    told(tmp_path, 0, "mlflow").close()
    assert client.runs == [("e-fuse", tmp_path.name)]
    seen = {(key, value, step) for _, key, value, step in client.metrics}
    assert {("loss", 0.25, 1), ("lr", 0.5, 1), ("val/q_g", 0.75, 1)} <= seen
    assert not {key for key, _, _ in seen} & {"step"}
    assert client.params["run.steps"] == "9"
    assert len(client.params["loss.text"]) == 6000
    ((key, step, picture),) = client.pictures
    assert (key, step, picture.shape, picture.dtype) == ("val/scene", 1, (2, 4, 3), np.uint8)
    assert picture[0, 0].tolist() == [0, 128, 255]
    assert client.ended == ["r1"]
    assert not list(tmp_path.glob("events.out.*"))  # nobody asked for TensorBoard


def test_a_resumed_run_stays_the_same_run_of_mlflow_and_a_new_one_does_not(client: Client, tmp_path: Path) -> None:
    told(tmp_path, 0, "mlflow")
    told(tmp_path, 1, "mlflow").close()
    assert len(client.runs) == 1
    assert [(run, step) for run, key, _, step in client.metrics if key == "loss"] == [("r1", 1), ("r1", 2)]
    told(tmp_path, 0, "mlflow").close()
    assert [run for run, key, _, _ in client.metrics if key == "loss"][-1] == "r2"


def test_a_server_that_goes_away_does_not_end_the_run(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = told(tmp_path, 0, "mlflow", "tensorboard")
    client.down = True
    meter.add({"loss": torch.tensor(1.0)})
    with caplog.at_level(logging.WARNING):
        meter.line(2, {})
        meter.scores(2, {"q_g": 0.5}, {})
    meter.close()
    assert [record.message for record in caplog.records] == ["mlflow is told nothing more: the server is down"]
    assert client.ended == []
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(1, 0.25), (2, 1.0)]
    assert [point.step for point in events.Scalars("val/q_g")] == [1, 2]
    assert [point.step for point in events.Images("val/scene")] == [1]


def test_a_server_that_is_not_there_at_the_start_is_a_mistake(client: Client, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("run: {steps: 9}")
    client.down = True
    with pytest.raises(InputError, match=r"run\.logger=mlflow cannot be used: the server is down"):
        told(tmp_path, 0, "mlflow")


def test_a_full_disk_is_for_the_run_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = told(tmp_path, 0, "tensorboard")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(meter.trackers.open["tensorboard"], "scalars", full)
    with pytest.raises(OSError, match="No space"):
        meter.line(2, {})
    meter.close()


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the runs of a module `wandb` were made with and told, one after the other."""
    runs: list[Any] = []

    def init(**given: Any) -> Any:
        run = SimpleNamespace(id=given["id"] or f"w{len(runs)}", given=given, told=[], finished=[])
        run.log = lambda values, step: run.told.append((step, values))
        run.finish = lambda: run.finished.append(True)
        runs.append(run)
        return run

    module = ModuleType("wandb")
    vars(module).update(init=init, Image=lambda picture: ("picture", picture.shape))
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    return runs


def test_wandb_is_told_the_same_and_knows_a_resumed_run(wandb: list[Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("run: {steps: 9}")
    told(tmp_path, 0, "wandb")
    told(tmp_path, 1, "wandb").close()
    first, second = wandb
    given = {"project": "mine", "name": tmp_path.name, "dir": str(tmp_path), "config": {"run.steps": 9}}
    assert first.given == given | {"id": None, "resume": None}
    assert second.given == given | {"id": "w0", "resume": "allow"}
    (line, scores, pictures) = first.told
    assert line[0] == 1
    assert (line[1]["loss"], line[1]["lr"]) == (0.25, 0.5)
    assert scores == (1, {"val/q_g": 0.75})
    assert pictures == (1, {"val/scene": ("picture", (2, 4, 3))})
    assert (first.finished, second.finished) == ([], [True])


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs {name}; pip install 'fuse-imaging\[{name}\]'"):
        Log(tmp_path, 0, 9, 4, loggers=["tensorboard", name])
    Log(tmp_path, 0, 9, 4).close()  # who does not ask for it does not need it


def test_an_unknown_tracker_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no 'tensorbord'; did you mean tensorboard"):
        Log(tmp_path, 0, 9, 4, loggers=["tensorbord"])


def test_a_run_tells_the_trackers_that_it_names(
    client: Client, tiny: Callable[..., tuple[dict[str, Any], Path]]
) -> None:
    cfg, out = tiny("run", "run.steps=5", "run.logger=[tensorboard,mlflow]")
    train.run(cfg, out)
    assert [step for _, key, _, step in client.metrics if key == "lr"] == [5]
    assert [step for _, key, _, step in client.metrics if key == "val/q_g"] == [5]
    assert client.ended == ["r1"]
    assert len(list(out.glob("events.out.*"))) == 1


@pytest.mark.parametrize(
    ("given", "kept"), [("mlflow", ["mlflow"]), (["tensorboard", "mlflow"], ["tensorboard", "mlflow"]), ([], [])]
)
@pytest.mark.usefixtures("client")
def test_one_name_several_or_none(given: Any, kept: list[str]) -> None:
    assert typed({"dir": "x", "steps": 1, "logger": given}).logger == kept


@pytest.mark.parametrize("given", ["tensorbord", ["mlflow", "excel"], 3, None])
@pytest.mark.usefixtures("client")
def test_other_names_are_mistakes_before_anything_begins(given: Any) -> None:
    with pytest.raises(InputError, match=r"run\.logger=.*: choose tensorboard, mlflow, wandb"):
        typed({"dir": "x", "steps": 1, "logger": given})


def test_a_missing_package_is_a_mistake_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    with pytest.raises(InputError, match="needs mlflow; pip install"):
        typed({"dir": "x", "steps": 1, "logger": "mlflow"})


def test_the_names_in_the_configuration_are_those_there_are() -> None:
    assert tuple(TRACKERS) == LOGGERS
