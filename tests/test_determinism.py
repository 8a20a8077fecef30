"""The same weights twice, what they depend on written down, and what cannot be repeated refused."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import TINY, Outcome
from torch import Tensor

from fuse import determinism, train
from fuse.data.sample import Sample

Tiny = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture(autouse=True)
def _free_again() -> Iterator[None]:
    yield
    determinism.enforce(False)


def unrepeatable(fused: Tensor, sample: Sample) -> Tensor:
    """A term with an operation that PyTorch has in no deterministic form."""
    return torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0])).sum() * 0 * fused.mean()


@pytest.mark.parametrize("model", ["mffgan", "densefuse"])
def test_the_same_weights_twice(tiny: Tiny, model: str) -> None:
    found = []
    for folder in ("one", "two"):
        cfg, out = tiny(folder, f"model={model}", "run.steps=4", "run.deterministic=true")
        train.run(cfg, out)
        assert torch.are_deterministic_algorithms_enabled()
        found.append([(out / "last" / name).read_bytes() for name in ("fuser.safetensors", "iterate.safetensors")])
    assert found[0] == found[1]
    told = json.loads((out / "environment.json").read_text())
    assert (told["deterministic"], told["seed"], told["torch"]) == (True, 0, torch.__version__)
    assert told["threads"] == torch.get_num_threads()


def test_it_is_off_unless_asked_for(tiny: Tiny) -> None:
    determinism.enforce(True)
    cfg, out = tiny("run", "run.steps=1")
    train.run(cfg, out)
    assert not torch.are_deterministic_algorithms_enabled()
    assert json.loads((out / "environment.json").read_text())["deterministic"] is False


def test_what_cannot_be_repeated_is_refused_by_name(run_command: Callable[..., Outcome]) -> None:
    words = [*TINY, "run.steps=1", "+loss.odd={weight: 1, term: {_target_: test_determinism.unrepeatable}}"]
    outcome = run_command("train", *words, "run.deterministic=true", "run.dir=r")
    assert outcome.code == 2
    assert "fuse-train: run.deterministic=true: put_ does not have a deterministic implementation; " in outcome.err
    assert "Traceback" not in outcome.err


def test_another_environment_is_said_when_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    determinism.record(tmp_path, 3, torch.device("cpu"), False)
    with caplog.at_level(logging.WARNING):
        determinism.record(tmp_path, 3, torch.device("cpu"), False)
        assert caplog.text == ""
        held = json.loads((tmp_path / "environment.json").read_text())
        (tmp_path / "environment.json").write_text(json.dumps(held | {"torch": "2.11.0"}))
        determinism.record(tmp_path, 3, torch.device("cpu"), False)
    assert f"weights may differ in their last digits: torch 2.11.0 -> {torch.__version__}" in caplog.text
