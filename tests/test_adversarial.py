"""Training with critics: who is updated, in which order, from what; how many critics, which objective."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from protocols import SIDE, Recorder, batch, rng, updating, weights
from torch import Tensor, nn

from fuse.adversarial import Adversarial
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms, views
from fuse.losses.objectives import Hinge, LeastSquares, Minimax, Wasserstein, gradient_penalty
from fuse.models.mffgan import Discriminator, Generator
from fuse.steps import Loss, Term

SOFT = LeastSquares()
PAPER = {"critic_steps": 2, "content_weight": 10}


def content() -> Loss:
    return Loss({"intensity": Term(1, terms.decided_intensity), "gradient": Term(5, terms.decided_gradient)}, (-1, 1))


def gan(
    update: Any,
    fuser: nn.Module | None = None,
    critic: nn.Module | None = None,
    other: nn.Module | None = None,
    **settings: Any,
) -> Adversarial:
    networks = {"fuser": fuser or Generator(None), "critic": critic or Discriminator(SIDE, None)}
    networks |= {"other": other} if other else {}
    critics = {"critic": {"real": views.joint_gradient, "fake": views.gradient}}
    return Adversarial(networks, content(), update, critics, **({"objective": SOFT, **PAPER} | settings))


def test_the_gan_updates_in_the_order_of_the_paper() -> None:
    update = Recorder()
    gan(update)(batch(), 0, rng())
    assert [name for name, _ in update.calls] == ["critic", "critic", "fuser"]
    update = Recorder()
    gan(update, critic_steps=3)(batch(), 0, rng())
    assert [name for name, _ in update.calls] == ["critic"] * 3 + ["fuser"]


def test_critic_and_fuser_leave_each_other_alone() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    update = Recorder(networks)
    gan(update, **networks)(batch(), 0, rng())
    assert update.reached == [{"critic"}, {"critic"}, {"fuser"}]
    assert all(p.requires_grad for network in networks.values() for p in network.parameters())


def test_each_update_changes_its_own_network_only() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    apply, before, changed = updating(networks), {}, []

    def watched(name: str, loss: Tensor) -> None:
        before.update({key: weights(network) for key, network in networks.items()})
        apply(name, loss)
        changed.append({key for key, network in networks.items() if not torch.equal(weights(network), before[key])})

    gan(watched, **networks)(batch(), 0, rng())
    assert changed == [{"critic"}, {"critic"}, {"fuser"}]


def test_the_fuser_is_led_by_the_critic_too() -> None:
    """Without content the adversarial term alone moves the fuser, through a critic that stays as it is."""
    torch.manual_seed(0)
    fuser = Generator(None)
    update = Recorder({"fuser": fuser})
    named = gan(update, fuser, content_weight=0)(batch(), 0, rng())
    assert update.calls[-1] == ("fuser", pytest.approx(named["adversarial"].item()))
    assert update.reached[-1] == {"fuser"}


def test_the_losses_of_the_gan_by_hand() -> None:
    """A critic that answers with the mean of its map, labels without a range."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x.mean((1, 2, 3))

    torch.manual_seed(0)
    fuser, sample, update = Generator(None), batch(), Recorder()
    labels = LeastSquares((0.9, 0.9), (0.1, 0.1), (0.8, 0.8))
    named = gan(update, fuser, Mean(), objective=labels)(sample, 0, rng())
    near, far = (2 * x - 1 for x in sample.sources)
    seen = Sample((near, far), None, (), ("near", "far"))
    fused = (2 * fuser(*sample.sources) - 1).detach()
    real, fake = (x.mean((1, 2, 3)) for x in (views.joint_gradient(seen), views.gradient(fused, seen)))
    critic = ((real - 0.9) ** 2).mean() + ((fake - 0.1) ** 2).mean()
    adversarial = ((fake - 0.8) ** 2).mean()
    intensity, gradient = terms.decided_intensity(fused, seen), terms.decided_gradient(fused, seen)
    wanted = {"intensity": intensity, "gradient": gradient, "adversarial": adversarial, "critic": critic}
    wanted |= {"critic_on_real": real.mean(), "critic_on_fused": fake.mean()}
    assert {k: v.item() for k, v in named.items()} == pytest.approx({k: v.item() for k, v in wanted.items()})
    assert update.calls[0] == ("critic", pytest.approx(critic.item()))
    assert update.calls[2] == ("fuser", pytest.approx((adversarial + 10 * (intensity + 5 * gradient)).item()))


def test_the_gan_lowers_its_content() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    step, generator = gan(updating(networks), **networks), rng()
    values = [step(batch(), 0, generator) for _ in range(12)]
    content_loss = [(v["intensity"] + 5 * v["gradient"]).item() for v in values]
    assert content_loss[-1] < 0.7 * content_loss[0]
    assert values[-1]["critic"] < values[0]["critic"]


def test_the_critic_learns_to_tell() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    step, generator = gan(updating(networks, 1e-4), **networks), rng()
    last: Mapping[str, Tensor] = {}
    for _ in range(15):
        last = step(batch(), 0, generator)
    assert last["critic_on_real"] > last["critic_on_fused"] + 0.3


def test_the_same_generator_gives_the_same_step() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
        gan(updating(networks), **networks)(batch(), 0, rng(5))
        results.append(torch.cat([weights(networks["fuser"]), weights(networks["critic"])]))
    assert torch.equal(*results)


def test_a_fuser_without_padding_is_compared_with_the_middle() -> None:
    class Valid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 1, 7)

        def forward(self, *sources: Tensor) -> Tensor:
            return self.conv(torch.cat(sources, 1))

    seen: list[Sample] = []

    def view(sample: Sample) -> Tensor:
        seen.append(sample)
        return sample.sources[0]

    networks = {"fuser": Valid(), "critic": Judge()}
    critics = {"critic": {"real": view, "fake": views.fused}}
    Adversarial(networks, content(), Recorder(), critics, SOFT)(batch(), 0, rng())
    truth = batch().reference
    assert truth is not None
    assert seen[0].reference is not None
    torch.testing.assert_close(seen[0].sources[0], 2 * batch().sources[0][..., 3:-3, 3:-3] - 1)
    torch.testing.assert_close(seen[0].reference, 2 * truth[..., 3:-3, 3:-3] - 1)


class Judge(nn.Module):
    """A critic without batch norm and with any number of outputs."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


@pytest.mark.parametrize("objective", [SOFT, Minimax(), Wasserstein(), Hinge()])
@pytest.mark.parametrize("penalty", [None, partial(gradient_penalty, weight=10), partial(gradient_penalty, target=0)])
def test_every_objective_trains_the_same_fuser(objective: Any, penalty: Any) -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Judge()}
    step = gan(updating(networks), **networks, objective=objective, penalty=penalty)
    before = weights(networks["fuser"]), weights(networks["critic"])
    assert all(bool(value.isfinite()) for value in step(batch(), 0, rng()).values())
    assert not torch.equal(before[0], weights(networks["fuser"]))
    assert not torch.equal(before[1], weights(networks["critic"]))


def test_several_critics_each_see_their_own_and_weigh_their_own() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "near_critic": Judge(), "far_critic": Judge()}
    seen: dict[str, list[Tensor]] = {"near": [], "far": []}

    def view(sample: Sample, role: str) -> Tensor:
        seen[role].append(sample.role(role))
        return sample.role(role)

    critics = {
        f"{role}_critic": {"real": partial(view, role=role), "fake": views.fused, "weight": weight}
        for role, weight in (("near", 1.0), ("far", 0.0))
    }
    update = Recorder()
    named = Adversarial(networks, content(), update, critics, Wasserstein())(batch(), 0, rng())
    assert [name for name, _ in update.calls] == ["near_critic", "far_critic", "fuser"]
    assert torch.equal(seen["near"][0], 2 * batch().sources[0] - 1)
    assert torch.equal(seen["far"][0], 2 * batch().sources[1] - 1)
    assert named["adversarial"].item() == pytest.approx(-named["near_critic_on_fused"].item())


def test_one_critic_with_an_output_per_source_is_taught_which_is_which() -> None:
    """GANMcC: output i is true for source i, false for the other and for the fused picture."""
    networks = {"fuser": Generator(None), "critic": Judge(2)}
    reals = [partial(views.source, role=role) for role in ("near", "far")]
    critics = {"critic": {"real": reals, "fake": views.fused}}
    labels, update = LeastSquares((0.9, 0.9), (0.1, 0.1), (0.8, 0.8)), Recorder()
    sample = batch()
    fused = 2 * networks["fuser"](*sample.sources).detach() - 1
    answers = [networks["critic"](x).detach() for x in (*(2 * s - 1 for s in sample.sources), fused)]
    wanted = [(0.9, 0.1), (0.1, 0.9), (0.1, 0.1)]
    cost = sum(((a - torch.tensor(w)) ** 2).mean(0).sum() for a, w in zip(answers, wanted, strict=True))
    named = Adversarial(networks, content(), update, critics, labels)(sample, 0, rng())
    assert named["critic"].item() == pytest.approx(float(cost), rel=1e-5)
    assert named["adversarial"].item() == pytest.approx(((answers[2] - 0.8) ** 2).mean(0).sum().item(), rel=1e-5)


def test_the_fuser_may_wait_and_critics_may_be_clipped() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Judge()}
    step = gan(updating(networks), **networks, fuser_every=3, clip=0.01, critic_steps=1)
    before, moved = weights(networks["fuser"]), []
    for number in range(3):
        named = step(batch(), number, rng())
        moved.append(not torch.equal(before, weights(networks["fuser"])))
        assert ("adversarial" in named) == moved[-1]
    assert moved == [False, False, True]
    assert weights(networks["critic"]).abs().max() <= 0.01


class Blend(nn.Module):
    """Selects with one share for all pixels, and tells it."""

    selects = True

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.3))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        share = self.share.sigmoid() * torch.ones_like(a)
        return torch.cat([share, 1 - share], 1), {"share": share}


def test_critics_that_see_the_choice_do_not_teach_the_fuser() -> None:
    fuser, critic = Blend(), Discriminator(SIDE, None)
    before = fuser.share.item()

    def fake(fused: Tensor, sample: Sample) -> Tensor:
        assert sample.weights is not None
        return sample.weights[:, :1] + sample.inside["share"]

    networks = {"fuser": fuser, "critic": critic}
    critics = {"critic": {"real": views.joint_gradient, "fake": fake}}
    gan_step = Adversarial(networks, content(), updating(networks), critics, SOFT, critic_steps=2, fuser_every=2)
    gan_step(batch(), 0, rng())
    assert fuser.share.grad is None
    gan_step(batch(), 1, rng())
    assert fuser.share.item() != before


def test_critics_that_the_model_lacks_or_has_for_nothing_are_named() -> None:
    with pytest.raises(InputError, match=r"names judge, but model has fuser"):
        Adversarial({"fuser": Generator()}, content(), Recorder(), {"judge": {}}, SOFT)
    with pytest.raises(InputError, match=r"critics.judge must say what it sees: real, and fake"):
        Adversarial({"fuser": Generator(), "judge": Judge()}, content(), Recorder(), {"judge": {"real": []}}, SOFT)
    with pytest.raises(InputError, match=r"model has other, but model.step.critics says what critic sees"):
        gan(Recorder(), other=Judge())
    with pytest.raises(InputError, match="fuser_every=0"):
        gan(Recorder(), fuser_every=0)
