"""Training with a memory: when there is one, what it is, and that it goes on exactly where it stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse import checkpoint, train
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.memory import Remembering
from fuse.steps import Loss, Term
from fuse.update import Update

Tiny = Callable[..., tuple[dict[str, Any], Path]]


class Scale(nn.Module):
    """Mean of the sources times one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, *sources: Tensor) -> Tensor:
        return self.value * torch.stack(sources).mean(0)


def batch() -> Sample:
    near, far = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    return Sample((near, far), None, (), ("near", "far"))


def remembering(every: int, span: tuple[float, float] = (0, 1)) -> tuple[Remembering, list[Tensor | None]]:
    seen: list[Tensor | None] = []

    def term(fused: Tensor, sample: Sample) -> Tensor:
        seen.append(sample.inside.get("memory"))
        return fused.square().mean()

    networks = {"fuser": Scale(1.0), "memory": Scale(7.0)}
    update = Update({"fuser": torch.optim.SGD(networks["fuser"].parameters(), 0.1)}, None, torch.device("cpu"))
    return Remembering(networks, Loss({"t": Term(1, term)}, span), update, every), seen


def test_the_memory_is_the_fuser_at_the_end_of_the_epoch_before() -> None:
    step, seen = remembering(2)
    sample, values = batch(), []
    for i in range(6):
        values.append(step.fuser.value.item())
        step(sample, i, torch.Generator())
    mean = torch.stack(sample.sources).mean(0)
    assert seen[:2] == [None, None]  # the first epoch has none
    for i, epoch in ((2, 2), (3, 2), (4, 4), (5, 4)):
        torch.testing.assert_close(seen[i], values[epoch] * mean)
    assert len(set(values)) == 6
    assert not any(x is not None and x.requires_grad for x in seen)


def test_the_memory_is_shown_in_the_range_of_the_recipe() -> None:
    step, seen = remembering(1, (-1, 1))
    sample = batch()
    step(sample, 1, torch.Generator())
    torch.testing.assert_close(seen[0], 2 * torch.stack(sample.sources).mean(0) - 1)


def test_a_model_without_a_memory_or_an_epoch_is_refused() -> None:
    networks = {"fuser": Scale(1.0), "memory": Scale(1.0)}
    with pytest.raises(InputError, match=r"every=0: an epoch has at least 1 update"):
        Remembering(networks, Loss({}), lambda name, loss: None, 0)
    with pytest.raises(InputError, match=r"add model\.memory"):
        Remembering({"fuser": Scale(1.0)}, Loss({}), lambda name, loss: None, 1)


def test_a_run_resumed_in_the_second_epoch_still_has_the_memory_of_the_first(tiny: Tiny) -> None:
    words = ("model=mufusion", "model.step.every=2", "run.save_every=3", "run.val_every=9", "run.evaluate=false")
    cfg, whole = tiny("whole", *words, "run.steps=4")
    train.run(cfg, whole)
    cfg, broken = tiny("broken", *words, "run.steps=3")
    train.run(cfg, broken)
    cfg["run"] |= {"steps": 4, "resume": True}
    train.run(cfg, broken)
    for name in ("fuser", "memory"):
        one, other = (checkpoint.weights(x / "last" / f"{name}.safetensors") for x in (whole, broken))
        assert all(torch.equal(one[key], other[key]) for key in one), name
    fuser, memory = (checkpoint.weights(whole / "last" / f"{x}.safetensors") for x in ("iterate", "memory"))
    assert not torch.equal(fuser["a.weight"], memory["a.weight"])
