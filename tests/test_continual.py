"""Continual learning: the Fisher information by hand, what a later task pays, and what it then still knows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse import checkpoint, train
from fuse.continual import FISHER, Consolidated, diagonal, remembered
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms
from fuse.steps import Loss, Term
from fuse.update import Update

Tiny = Callable[..., tuple[dict[str, Any], Path]]


class Line(nn.Module):
    """w0 a + w1 b."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 0.25]))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.weight[0] * a + self.weight[1] * b


def pair(a: float, b: float, truth: float) -> Sample:
    near, far, reference = (torch.full((1, 1, 2, 2), value) for value in (a, b, truth))
    return Sample((near, far), reference, (), ("near", "far"))


def recipe() -> Loss:
    return Loss({"mse": Term(2, partial(terms.mse, role="reference"))})


def stored(folder: Path, weight: list[float], fisher: list[float]) -> Path:
    network = Line()
    with torch.no_grad():
        network.weight.copy_(torch.tensor(weight))
    checkpoint.save(folder, {"fuser": network}, {}, {}, {})
    checkpoint.save_file({"weight": torch.tensor(fisher)}, folder / FISHER)
    return folder


def continued(fuser: nn.Module, previous: Path | None, weight: float, rate: float = 0.05) -> Consolidated:
    update = Update({"fuser": torch.optim.SGD(fuser.parameters(), rate)}, None, torch.device("cpu"))
    return Consolidated({"fuser": fuser}, recipe(), update, previous and str(previous), weight)


def test_the_fisher_information_is_the_mean_squared_gradient_of_single_pairs() -> None:
    # L = 2 (0.5 a + 0.25 b - r)^2, dL/dw = 4 (...) (a, b): for (1, 2, 0) it is 4 (1, 2), for (2, 0, 1.5) -2 (2, 0)
    found = diagonal(Line(), recipe(), [pair(1, 2, 0), pair(2, 0, 1.5)])
    assert found["weight"].tolist() == [(16 + 16) / 2, 64 / 2]


def test_a_task_starts_from_the_one_before_and_pays_for_moving_what_it_needed(tmp_path: Path) -> None:
    fuser = Line()
    step = continued(fuser, stored(tmp_path / "c", [1.0, 2.0], [3.0, 0.0]), 10, 0.01)
    assert fuser.weight.tolist() == [1, 2]
    told = step(pair(1, 1, 2), 0, torch.Generator())
    assert (told["drift"].item(), told["mse"].item(), told["loss"].item()) == (0, 1, 2)  # nothing has moved yet
    with torch.no_grad():
        fuser.weight.copy_(torch.tensor([1.5, 7.0]))
    told = step(pair(0, 0, 0), 1, torch.Generator())
    assert told["drift"].item() == pytest.approx(10 / 2 * 3 * 0.5**2)
    assert told["loss"].item() == pytest.approx(3.75)
    assert fuser.weight.tolist() == pytest.approx([1.5 - 0.01 * 10 * 3 * 0.5, 7])  # drawn back; what is free stays


def test_the_first_task_is_trained_directly() -> None:
    fuser = Line()
    assert sorted(continued(fuser, None, 10)(pair(1, 1, 0), 0, torch.Generator())) == ["loss", "mse"]


@pytest.mark.parametrize(("weight", "forgets"), [(0.0, True), (3.0, False)])
def test_with_consolidation_the_second_task_is_learned_without_forgetting_the_first(
    weight: float, forgets: bool, tmp_path: Path
) -> None:
    """The first task needs w0 = 1 and says nothing of w1; the second is solved by many pairs of both."""
    first, second = pair(1, 0, 1), pair(1, 1, 3)
    network = Line()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.95, 0.0]))
    fisher = diagonal(network, recipe(), [first])["weight"].tolist()
    assert fisher[0] > 0.03
    assert fisher[1] == 0
    fuser = Line()
    step = continued(fuser, stored(tmp_path / "c", [1.0, 0.0], [100 * f for f in fisher]), weight)
    for i in range(400):
        step(second, i, torch.Generator())
    assert abs(fuser.weight.sum().item() - 3) < 0.02
    assert (abs(fuser(*first.sources).mean().item() - 1) > 0.5) == forgets


def test_two_runs_in_a_row(tiny: Tiny) -> None:
    words = ("model=u2fusion", "run.steps=2", "run.val_every=2", "run.evaluate=false", "run.ema=0")
    few = "model.step.samples=3"
    cfg, first = tiny("first", *words)
    train.run(cfg, first)
    (first / "config.yaml").write_text(dumped(cfg))
    cfg, second = tiny("second", *words, few, f"model.step.previous={first}", "data.seed=1")
    train.run(cfg, second)
    (second / "config.yaml").write_text(dumped(cfg))
    fisher = checkpoint.weights(first / "best" / FISHER)
    before, after = (checkpoint.weights(x / "best" / checkpoint.FUSER) for x in (first, second))
    assert fisher.keys() == before.keys()
    assert all((x >= 0).all() for x in fisher.values())
    assert any(x.any() for x in fisher.values())
    assert "drift" in (second / "metrics.csv").read_text().splitlines()[0]
    moved = max((after[key] - before[key]).abs().max().item() for key in before)
    assert 0 < moved < 0.01

    both = remembered(second / "best", 3)  # what either task needs
    assert all((both[key] >= fisher[key]).all() for key in fisher)
    assert any((both[key] > fisher[key]).any() for key in fisher)


def dumped(cfg: dict[str, Any]) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(cfg)


def test_what_was_estimated_is_kept(tmp_path: Path) -> None:
    folder = stored(tmp_path / "c", [1.0, 2.0], [3.0, 0.5])
    assert remembered(folder, 30)["weight"].tolist() == [3, 0.5]


def test_a_checkpoint_without_a_run_or_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = stored(tmp_path / "run" / "best", [1.0, 2.0], [3.0, 0.5])
    with pytest.raises(InputError, match="does not fit Linear"):
        continued(nn.Linear(2, 1), folder, 1)
    (folder / FISHER).unlink()
    with pytest.raises(InputError, match=r"no run around it \(config.yaml\).*give a run folder"):
        continued(Line(), folder, 1)


@pytest.mark.parametrize("target", ["os.system", "fuse.train.os.system", "fuse.train.nothing"])
def test_a_run_that_would_call_something_else_is_refused(target: str, tmp_path: Path) -> None:
    folder = stored(tmp_path / "run" / "best", [1.0, 2.0], [3.0, 0.5])
    (folder / FISHER).unlink()
    cfg = {
        "data": {"_target_": "fuse.data.synthetic.Synthetic"},
        "loss": {"t": {"weight": 1, "term": {"_target_": "fuse.losses.terms.mse", "role": {"_target_": target}}}},
        "model": {"patches": {"_target_": "fuse.data.patches.Patches"}, "step": {}},
        "run": {"seed": 0},
    }
    (folder.parent / "config.yaml").write_text(dumped(cfg))
    with pytest.raises(InputError, match=f"names '{target}', which is no part of fuse"):
        remembered(folder, 3)
    (folder.parent / "config.yaml").write_text("data: 1")
    with pytest.raises(InputError, match="is not that of a run"):
        remembered(folder, 3)
