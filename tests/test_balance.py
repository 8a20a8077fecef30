"""The protocol whose losses decide: whose turn it is, how long it lasts, what bounds it."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse.balance import Balanced
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms, views
from fuse.losses.objectives import Minimax
from fuse.steps import Loss, Term
from fuse.update import Update

SIDE = 16


def batch() -> Sample:
    generator = torch.Generator().manual_seed(0)
    ir, vi = torch.rand(4, 1, SIDE // 4, SIDE // 4, generator=generator), torch.rand(4, 1, SIDE, SIDE)
    return Sample((ir, vi), None, (), ("ir", "vi"))


class Fuser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, ir: Tensor, vi: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(vi))


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((1, 2, 3))


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"fuser": Fuser(), "vi_critic": Judge(), "ir_critic": Judge()}


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def protocol(nets: dict[str, nn.Module], update: Callable[[str, Tensor], None], **settings: Any) -> Balanced:
    critics = {
        "vi_critic": {"real": partial(views.source, role="vi"), "fake": views.fused},
        "ir_critic": {"real": partial(views.source, role="ir"), "fake": partial(views.fused_like, role="ir")},
    }
    loss = Loss({"edges": Term(2, partial(terms.gradient, role="vi"))})
    return Balanced(nets, loss, update, critics, Minimax(), content_weight=0.5, **settings)


def scripted(
    monkeypatch: pytest.MonkeyPatch, costs: dict[str, Iterable[float]], totals: Iterable[float], **settings: Any
) -> tuple[Balanced, list[tuple[str, float | None]]]:
    """The protocol with losses that a test prescribes, and the updates that follow: whose, and the content weight."""
    step = protocol(networks(), lambda name, loss: None, **settings)
    calls: list[tuple[str, float | None]] = []
    left, following = {name: deque(values) for name, values in costs.items()}, deque(totals)

    def teach(name: str, *given: Any) -> dict[str, Tensor]:
        calls.append((name, None))
        return {name: torch.zeros(())}

    def lead(fused: Tensor, seen: Sample, generator: Any, content_weight: float | None = None) -> dict[str, Tensor]:
        calls.append(("fuser", content_weight))
        return {"adversarial": torch.zeros(())}

    monkeypatch.setattr(step.adversarial, "teach", teach)
    monkeypatch.setattr(step.adversarial, "lead", lead)
    monkeypatch.setattr(step, "cost", lambda name, *given: left[name].popleft())
    monkeypatch.setattr(step, "total", lambda *given: following.popleft())
    return step, calls


def test_critics_go_on_one_after_the_other_until_they_are_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = scripted(monkeypatch, {"vi_critic": [2.5, 1.91, 1.9], "ir_critic": [0.5]}, [])
    told = step(batch(), 0, rng())
    assert [name for name, _ in calls] == ["vi_critic", "ir_critic", "vi_critic", "vi_critic"]
    assert (told["vi_critic_updates"].item(), told["ir_critic_updates"].item()) == (3, 1)


def test_the_fuser_first_follows_the_critics_and_then_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"vi_critic": [1.2, 1.2, 1.2, 0.1], "ir_critic": [0.9, 0.99, 1.0, 0.1]}
    step, calls = scripted(monkeypatch, costs, [300, 201, 200])
    told = step(batch(), 1, rng())
    # the whole loss; two on the critics alone; then the whole loss, and not back to the critics
    assert calls == [("fuser", None), ("fuser", 0.0), ("fuser", 0.0), ("fuser", None), ("fuser", None)]
    assert told["fuser_updates"].item() == 5


def test_a_turn_ends_after_so_many_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = scripted(monkeypatch, {"vi_critic": [9] * 99, "ir_critic": [9] * 99}, [999] * 99, repeats=20)
    step(batch(), 0, rng())
    assert [name for name, _ in calls].count("vi_critic") == [name for name, _ in calls].count("ir_critic") == 21
    calls.clear()
    step(batch(), 1, rng())
    assert calls == [("fuser", None)] * 21


def test_turns_touch_their_own_networks_only() -> None:
    nets = networks()
    optimisers = {name: torch.optim.SGD(net.parameters(), lr=0.1) for name, net in nets.items()}
    step = protocol(nets, Update(optimisers, None, torch.device("cpu")), repeats=2)

    def moved(number: int) -> set[str]:
        before = {name: nn.utils.parameters_to_vector(net.parameters()).clone() for name, net in nets.items()}
        step(batch(), number, rng())
        return {
            name
            for name, net in nets.items()
            if not torch.equal(before[name], nn.utils.parameters_to_vector(net.parameters()))
        }

    assert moved(0) == moved(2) == {"vi_critic", "ir_critic"}
    assert moved(1) == {"fuser"}
    assert all(p.requires_grad for net in nets.values() for p in net.parameters())


def test_losses_that_decide_are_those_of_the_networks() -> None:
    nets, sample = networks(), batch()
    step = protocol(nets, lambda name, loss: None)
    fused = nets["fuser"](*sample.sources).detach()
    small = views.fused_like(fused, sample, "ir")
    seen = {"vi_critic": (sample.role("vi"), fused), "ir_critic": (sample.role("ir"), small)}
    adversarial = 0.0
    for name, (real, fake) in seen.items():
        p, q = (torch.sigmoid(nets[name](x)) for x in (real, fake))
        wanted = -(p.log().mean() + (1 - q).log().mean())
        assert step.cost(name, fused, sample, rng()) == pytest.approx(wanted.item(), rel=1e-5)
        adversarial -= q.log().mean().item()
    content = 2 * terms.gradient(fused, sample, "vi").item()
    assert step.total(fused, sample, rng()) == pytest.approx(adversarial + 0.5 * content, rel=1e-5)


def test_weights_of_all_networks_are_bounded() -> None:
    nets = networks()
    optimisers = {name: torch.optim.SGD(net.parameters(), lr=0.1) for name, net in nets.items()}
    step = protocol(nets, Update(optimisers, None, torch.device("cpu")), clip=0.01, repeats=0)
    for number in range(2):
        step(batch(), number, rng())
    assert max(p.abs().max().item() for net in nets.values() for p in net.parameters()) <= 0.01


def test_thresholds_that_fight_are_refused() -> None:
    with pytest.raises(InputError, match=r"critic_below=2.0, critic_above=1.9"):
        protocol(networks(), lambda name, loss: None, critic_below=2.0)
    with pytest.raises(InputError, match=r"repeats=-1"):
        protocol(networks(), lambda name, loss: None, repeats=-1)
