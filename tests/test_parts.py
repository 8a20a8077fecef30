"""Batches that memory does not suffice for: what comes out as with the whole batch, and what is refused."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import TINY, Outcome
from protocols import SIDE, rng
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import parts
from fuse.adversarial import Adversarial
from fuse.balance import Balanced
from fuse.data.sample import Sample
from fuse.errors import InputError, ran_out
from fuse.losses import objectives
from fuse.memory import Remembering
from fuse.parts import Parts
from fuse.steps import Direct, Loss, Term
from fuse.update import Autocast, Update

CPU = torch.device("cpu")


class Greedy(nn.Module):
    """A fuser with dropout whose memory holds so many pictures; `norm` adds batch norm."""

    def __init__(self, most: int, norm: bool = False) -> None:
        super().__init__()
        self.most = most
        self.first, self.last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Dropout(0.3)

    def forward(self, *sources: Tensor) -> Tensor:
        fused = torch.sigmoid(self.last(F.relu(self.norm(self.first(torch.cat(sources, 1))))))
        if len(fused) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return fused


class Critic(nn.Module):
    """Scores pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.LeakyReLU(), nn.Dropout(0.2), nn.Flatten())
        self.head = nn.LazyLinear(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(1)


def content(fused: Tensor, sample: Sample) -> Tensor:
    return (fused - torch.maximum(*sample.sources)).square().mean()


def greedy(fused: Tensor, sample: Sample) -> Tensor:
    """A term that is too much for more than two patches."""
    if len(fused) > 2:
        torch.empty(2**50)
    return content(fused, sample)


def impossible(fused: Tensor, sample: Sample) -> Tensor:
    """A term that is too much for any patch."""
    return torch.empty(2**50).sum()


def loss(term: Callable[[Tensor, Sample], Tensor] = content) -> Loss:
    return Loss({"content": Term(1.0, term)})


def batch(count: int, dtype: torch.dtype = torch.float32) -> Sample:
    near, far = torch.rand(2, count, 1, SIDE, SIDE, generator=rng(5), dtype=dtype)
    return Sample((near, far), None, (), ("near", "far"))


def trained(
    networks: Mapping[str, nn.Module],
    make: Callable[[Mapping[str, nn.Module], Update], Any],
    count: int,
    steps: int = 3,
    clip: float | None = None,
    divided: int = 1,
) -> tuple[list[dict[str, Tensor]], Parts]:
    """Terms of some steps by SGD with momentum, and what wraps the protocol."""
    optimisers = {name: torch.optim.SGD(net.parameters(), 0.05, momentum=0.9) for name, net in networks.items()}
    update = Update(optimisers, clip, CPU)
    whole = Parts(make(networks, update), update, networks)
    whole.count = divided
    generator, told = torch.Generator(), []
    sample = batch(count, next(networks["fuser"].parameters()).dtype)
    for step in range(steps):
        torch.manual_seed(step)
        generator.manual_seed(step)
        told.append(whole(sample, step, generator))
    return told, whole


def direct(networks: Mapping[str, nn.Module], update: Update) -> Direct:
    return Direct(networks, loss(), update)


def difference(one: nn.Module, other: nn.Module) -> float:
    """||difference|| / ||weights||"""
    pairs = [
        (a.detach().flatten(), b.detach().flatten()) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    ]
    apart, size = torch.cat([a - b for a, b in pairs]).norm(), torch.cat([a for a, _ in pairs]).norm()
    return float(apart / size)


@pytest.mark.parametrize(
    ("count", "most", "found"), [(8, 4, 2), (8, 2, 4), (8, 1, 8), (12, 2, 12), (6, 2, 6), (7, 3, 7)]
)
def test_parts_do_what_the_whole_batch_does(
    count: int, most: int, found: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Float32: what is left is the order of sums. Measured: 1.3e-8 to 2.5e-8."""
    torch.manual_seed(0)
    roomy = Greedy(count)
    tight = copy.deepcopy(roomy)
    tight.most = most
    start = copy.deepcopy(roomy)
    whole, _ = trained({"fuser": roomy}, direct, count, clip=0.1)
    with caplog.at_level(logging.WARNING):
        divided, wrapper = trained({"fuser": tight}, direct, count, clip=0.1)
    assert wrapper.count == found
    assert difference(roomy, start) > 1e-2
    assert 0 < difference(roomy, tight) < 1e-7
    for one, other in zip(whole, divided, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    words = caplog.messages[-1]
    assert words.startswith("step 0: memory of cpu ran out with ")
    assert f"in {found} parts of {count // found}," in words
    assert f"model.patches.batch={count // found} or" in words
    assert words.endswith("run.precision=bf16")
    assert "batch norm" not in words
    assert len(caplog.messages) < 4  # once for each number of parts that was tried, none for further steps


def gan(**settings: Any) -> Callable[[Mapping[str, nn.Module], Update], Adversarial]:
    def make(networks: Mapping[str, nn.Module], update: Update) -> Adversarial:
        sees = {"real": lambda sample: sample.sources[0], "fake": lambda fused, _: fused}
        critics = {name: sees for name in networks if name != "fuser"}
        objective = objectives.LeastSquares(real=[0.7, 1.2], fake=[0.0, 0.3], fuser=[0.7, 1.2])
        return Adversarial(networks, settings.pop("loss", loss()), update, critics, objective, **settings)

    return make


def pair_of_networks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    critic = Critic()
    critic(torch.rand(2, 1, SIDE, SIDE))
    return {"fuser": Greedy(99).double(), "critic": critic.double()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"critic_steps": 3},
        {"clip": 0.02},
        {"clip": 0.02, "fuser_every": 2},
        {"penalty": objectives.gradient_penalty},
    ],
)
def test_a_gan_does_too_with_labels_dropout_penalty_and_clipping(settings: dict[str, Any]) -> None:
    """Float64: what is left is the order of sums. The critic's last clipping is done although its update comes late."""
    one = pair_of_networks()
    other, start = copy.deepcopy(one), copy.deepcopy(one)
    other["fuser"].most = 2
    trained(one, gan(**settings), 8)
    trained(other, gan(**settings), 8)
    for name in one:
        assert difference(one[name], start[name]) > 1e-4
        assert difference(one[name], other[name]) < 1e-12


@pytest.mark.parametrize("divided", [1, 2])
def test_what_was_updated_before_memory_ran_out_is_not_updated_again(divided: int) -> None:
    """Memory runs out for the fuser's loss; undivided, the critic has learned by then, and divided, it is frozen."""
    one = pair_of_networks()
    other = copy.deepcopy(one)
    trained(one, gan(), 8, steps=1)
    trained(other, gan(loss=loss(greedy)), 8, steps=1, divided=divided)
    for name in one:
        assert difference(one[name], other[name]) < 1e-12


def test_running_statistics_follow_the_mean_of_the_parts(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    roomy = Greedy(8, norm=True)
    tight = copy.deepcopy(roomy)
    trained({"fuser": roomy}, direct, 8, steps=1)
    update = Update({"fuser": torch.optim.SGD(tight.parameters(), 0.05)}, None, CPU)
    whole = Parts(direct({"fuser": tight}, update), update, {"fuser": tight})
    whole.count = 4
    whole(batch(8), 0, torch.Generator())
    assert tight.norm.num_batches_tracked == 1
    torch.testing.assert_close(tight.norm.running_mean, roomy.norm.running_mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(tight.norm.running_var, roomy.norm.running_var, rtol=1e-3, atol=0)
    assert not torch.equal(tight.norm.running_var, roomy.norm.running_var)
    tight.most = 1
    whole(batch(8), 1, torch.Generator())
    assert "batch norm, whose statistics are those of a part" in caplog.messages[-1]


def test_a_memory_is_that_of_before_the_step() -> None:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"fuser": Greedy(2), "memory": Greedy(99)}
    start = copy.deepcopy(networks["fuser"].state_dict())
    update = Update({name: torch.optim.SGD(net.parameters(), 0.05) for name, net in networks.items()}, None, CPU)
    whole = Parts(Remembering(networks, loss(), update, every=2), update, networks)
    whole(batch(4), 2, torch.Generator())
    assert all(torch.equal(x, start[name]) for name, x in networks["memory"].state_dict().items())
    assert not torch.equal(networks["fuser"].first.weight, start["first.weight"])


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"ran out with one patch of 31x31 pixels, and there is nothing smaller .*now 8"
    ):
        trained({"fuser": Greedy(0)}, direct, 8)
    network = Greedy(0)
    update = Update({"fuser": torch.optim.SGD(network.parameters(), 0.1)}, None, CPU)
    half: dict[str, nn.Module] = {"fuser": Autocast(network, "cpu")}
    with pytest.raises(InputError, match=r"or with run.device=cpu.*run.resume=true run.device=cpu goes on"):
        Parts(direct(half, update), update, half)(batch(2), 3, torch.Generator())


def test_several_devices_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.ranks, "size", lambda: 2)
    with pytest.raises(
        InputError, match=r"step 0: memory of cpu ran out with 4 patches .* run.devices=2 take no parts"
    ):
        trained({"fuser": Greedy(2)}, direct, 8)


def test_an_optimiser_without_memory_ends() -> None:
    class Hungry(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise torch.OutOfMemoryError

    network = Greedy(8)
    update = Update({"fuser": Hungry(network.parameters(), 0.1)}, None, CPU)
    with pytest.raises(InputError, match="an optimiser was at work"):
        Parts(direct({"fuser": network}, update), update, {"fuser": network})(batch(2), 0, torch.Generator())


def test_parts_that_decide_for_different_updates_end() -> None:
    class Fickle:
        def __init__(self, update: Update) -> None:
            self.update, self.calls = update, 0

        def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> dict[str, Tensor]:
            self.calls += 1
            if len(sample.sources[0]) > 2:
                raise MemoryError
            if self.calls == 2:
                self.update("fuser", network(*sample.sources).mean())
            return {}

    network = Greedy(8)
    update = Update({"fuser": torch.optim.SGD(network.parameters(), 0.1)}, None, CPU)
    whole = Parts(Fickle(update), update, {"fuser": network})
    with pytest.raises(InputError, match="its parts decide for different updates"):
        whole(batch(4), 0, torch.Generator())


def test_balanced_turns_take_as_many_updates_as_they_need() -> None:
    def make(networks: Mapping[str, nn.Module], update: Update) -> Balanced:
        sees = {"real": lambda sample: sample.sources[0], "fake": lambda fused, _: fused}
        objective = objectives.LeastSquares(real=[1.0, 1.0], fake=[0.0, 0.0], fuser=[1.0, 1.0])
        bounds = {"critic_below": -2.0, "critic_above": -1.0, "fuser_above": 1e9, "repeats": 2}
        return Balanced(networks, loss(), update, {"critic": sees}, objective, **bounds)

    one = pair_of_networks()
    other = copy.deepcopy(one)
    other["fuser"].most = 2
    told = [trained(networks, make, 4, steps=1)[0] for networks in (one, other)]
    assert [x[0]["critic_updates"] for x in told] == [3, 3]
    assert difference(one["critic"], other["critic"]) < 1e-12


def test_batch_norm_of_single_values_ends() -> None:
    class Flat(Greedy):
        def forward(self, *sources: Tensor) -> Tensor:
            self.shift(torch.cat(sources, 1).mean((2, 3)))
            return super().forward(*sources)

    network = Flat(1)
    network.shift = nn.BatchNorm1d(2)
    with pytest.raises(InputError, match="batch norm cannot do with single patches"):
        trained({"fuser": network}, direct, 4)


def test_other_faults_stay_what_they_are() -> None:
    def broken(fused: Tensor, sample: Sample) -> Tensor:
        raise RuntimeError("shapes do not fit")

    network = Greedy(8)
    update = Update({"fuser": torch.optim.SGD(network.parameters(), 0.1)}, None, CPU)
    whole = Parts(Direct({"fuser": network}, loss(broken), update), update, {"fuser": network})
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        whole(batch(2), 0, torch.Generator())


def test_how_memory_is_said_to_have_run_out() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.empty(2**50)
    assert ran_out(told.value)
    assert ran_out(MemoryError())
    assert ran_out(torch.OutOfMemoryError())
    assert ran_out(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert not ran_out(RuntimeError("shapes do not fit"))
    assert not ran_out(ValueError("out of memory"))


def words(term: Callable[..., Tensor], model: str = "mffgan", *others: str) -> Sequence[str]:
    place = f"{term.__module__}.{term.__name__}"
    extra = (
        f"model={model}",
        "data.train=4",
        "+loss.more.weight=1",
        f"+loss.more.term._target_={place}",
        "model.patches.batch=4",
    )
    return [*TINY, *extra, "run.steps=2", "run.evaluate=false", "run.dir=run", *others]


def test_a_run_says_so_once_and_ends_well(run_command: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_command("train", *words(greedy))
    assert outcome.code == 0, outcome.err
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("memory of cpu ran out") == 1
    assert "step 0: memory of cpu ran out with 4 patches of 32x32 pixels. This and all further steps take" in log
    assert "in 2 parts of 2, whose gradients are averaged" in log
    assert (tmp_path / "run" / "best" / "fuser.safetensors").is_file()


def test_a_run_that_cannot_be_mended_ends_with_one_message(run_command: Callable[..., Outcome]) -> None:
    outcome = run_command("train", *words(impossible, "fusionnet"))
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith(
        "fuse-train: step 0: memory of cpu ran out with one patch of 32x32 pixels, and there is nothing smaller"
    )
