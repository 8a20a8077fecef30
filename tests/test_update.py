"""One optimiser step: clipping, losses that are not numbers, the running average, precision, the device, signals."""

import copy
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse.errors import InputError
from fuse.models.mffgan import Discriminator
from fuse.update import Autocast, Update, follow, interruptible, pick

CPU = torch.device("cpu")
OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": partial(torch.optim.Adam, lr=0.1, fused=False),
    "Adam fused": partial(torch.optim.Adam, lr=0.1, fused=True),
    "AdamW": partial(torch.optim.AdamW, lr=0.1, fused=False),
    "AdamW fused": partial(torch.optim.AdamW, lr=0.1, fused=True),
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9, fused=False),
    "SGD fused": partial(torch.optim.SGD, lr=0.1, momentum=0.9, fused=True),
}


def state(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy({"weights": network.state_dict(), "optimiser": optimiser.state_dict()["state"]})


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def loss_of(network: nn.Module, factor: float = 1.0) -> Tensor:
    return factor * (network(torch.ones(2, 3)) ** 2).mean()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_after_a_loss_that_is_no_number_nothing_moves_any_more(name: str, bad: float) -> None:
    torch.manual_seed(0)
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimisers = {"fuser": OPTIMISERS[name](network.parameters()), "critic": OPTIMISERS[name](other.parameters())}
    update = Update(optimisers, None, CPU)
    start = state(network, optimisers["fuser"])
    for _ in range(3):
        update("fuser", loss_of(network))
        update("critic", loss_of(other))
    assert update.bad == 0
    good = state(network, optimisers["fuser"]), state(other, optimisers["critic"])
    assert not same(good[0]["weights"], start["weights"])
    update("fuser", loss_of(network, bad))
    assert update.bad == 1
    assert same(state(network, optimisers["fuser"]), good[0])
    update("critic", loss_of(other))  # a number again, and another network: still nothing
    update("fuser", loss_of(network))
    assert update.bad == 1
    assert same(state(other, optimisers["critic"]), good[1])
    assert same(state(network, optimisers["fuser"]), good[0])


def test_a_finite_loss_with_gradients_that_are_no_numbers_counts_as_bad() -> None:
    network = nn.Linear(3, 1)
    update = Update({"fuser": torch.optim.Adam(network.parameters(), fused=True)}, None, CPU)
    before = copy.deepcopy(network.state_dict())
    update("fuser", (network.weight * 0).sum().sqrt())  # 0, with slope 0 * inf
    assert torch.isnan(update.norms["gradient_norm_fuser"])
    assert update.bad == 1
    assert same(network.state_dict(), before)


def test_a_step_is_that_of_the_optimiser() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    plain = copy.deepcopy(network)
    update = Update({"fuser": torch.optim.SGD(network.parameters(), lr=0.1)}, None, CPU)
    for _ in range(2):  # the second shows that gradients do not add up
        update("fuser", loss_of(network))
        plain.zero_grad()
        loss_of(plain).backward()
        with torch.no_grad():
            for parameter in plain.parameters():
                assert parameter.grad is not None
                parameter -= 0.1 * parameter.grad
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fused", [False, True])
def test_clipping_bounds_the_step_and_reports_the_norm_before(fused: bool) -> None:
    weight = nn.Parameter(torch.zeros(2))
    update = Update({"fuser": torch.optim.SGD([weight], lr=1.0, fused=fused)}, 1.0, CPU)
    update("fuser", (weight * torch.tensor([3.0, 4.0])).sum())
    assert update.norms["gradient_norm_fuser"].item() == pytest.approx(5)
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]), rtol=0, atol=1e-5)
    update("fuser", (weight * torch.tensor([0.3, 0.4])).sum())  # below the bound: as it is
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.9, -1.2]), rtol=0, atol=1e-5)


def test_without_a_bound_nothing_is_clipped() -> None:
    weight = nn.Parameter(torch.zeros(2))
    update = Update({"fuser": torch.optim.SGD([weight], lr=1.0)}, None, CPU)
    update("fuser", (weight * torch.tensor([300.0, 400.0])).sum())
    assert weight.tolist() == [-300, -400]


def test_parameters_that_take_no_part_stay() -> None:
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    update = Update({"fuser": torch.optim.Adam([used, unused], fused=True)}, 1.0, CPU)
    update("fuser", used.square().sum())
    assert unused.item() == 1
    assert used.item() < 1


def test_the_average_by_hand() -> None:
    average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    for module, values in ((average, (1.0, 2.0)), (network, (3.0, -2.0))):
        nn.init.constant_(module.weight, values[0])
        nn.init.constant_(module.bias, values[1])
    follow(average, network, 0.75)
    assert (average.weight.item(), average.bias.item()) == (1.5, 1.0)
    assert network.weight.item() == 3
    follow(average, network, 0.75)
    assert (average.weight.item(), average.bias.item()) == (1.875, 0.25)
    follow(average, network, 0.0)
    assert (average.weight.item(), average.bias.item()) == (3, -2)


def test_the_average_takes_buffers_as_they_are() -> None:
    network, average = Discriminator(31), Discriminator(31)
    network(torch.rand(4, 1, 31, 31))
    follow(average, network, 0.999)
    assert torch.equal(average.norms[0].running_mean, network.norms[0].running_mean)
    assert average.norms[0].num_batches_tracked == 1


def test_half_precision_inside_single_outside() -> None:
    seen: list[torch.dtype] = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    network = Watched(4, 4)
    half = Autocast(network, "cpu")
    x = torch.rand(3, 4)
    result = half(x)
    assert result.dtype == torch.float32
    assert seen == [torch.bfloat16]
    torch.testing.assert_close(result, network(x), rtol=0.02, atol=0.02)
    assert not torch.equal(result, network(x))
    result.sum().backward()
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
    half.requires_grad_(False)
    assert not network.weight.requires_grad


def test_devices() -> None:
    assert pick("cpu") == CPU
    assert pick("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:77", "", "cpu:x"):
        with pytest.raises(InputError, match=f"device '{name}' cannot be used here: .*; try auto"):
            pick(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_only_set_a_mark_while_it_lasts(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruptible() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()
        assert interrupted()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_signals_are_as_before_after_an_error_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="inside"), interruptible():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGTERM) == before
