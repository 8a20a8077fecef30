"""Training protocols: what is updated, in which order, from what."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet
from fuse.models.mffgan import Discriminator, Generator
from fuse.steps import Adversarial, Direct, Loss, Reconstruct, Term, squares
from fuse.update import Update

SIDE = 31


def batch(channels: int = 1, count: int = 4) -> Sample:
    generator = torch.Generator().manual_seed(0)
    near, far, truth = torch.rand(3, count, channels, SIDE, SIDE, generator=generator)
    return Sample((near, far), truth, (), ("near", "far"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def content() -> Loss:
    return Loss({"intensity": Term(1, terms.decided_intensity), "gradient": Term(5, terms.decided_gradient)}, (-1, 1))


def gan(update: Any, fuser: nn.Module | None = None, critic: nn.Module | None = None, **settings: Any) -> Adversarial:
    networks = {"fuser": fuser or Generator(None), "critic": critic or Discriminator(SIDE, None)}
    return Adversarial(networks, content(), update, terms.joint_gradient, terms.absolute_gradient, **settings)


def updating(networks: Mapping[str, nn.Module], rate: float = 1e-3) -> Update:
    optimisers = {name: torch.optim.Adam(net.parameters(), lr=rate, fused=True) for name, net in networks.items()}
    return Update(optimisers, None, torch.device("cpu"))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class Recorder:
    """In place of an update: which network, which loss, and what its gradients would reach."""

    def __init__(self, networks: Mapping[str, nn.Module] | None = None) -> None:
        self.calls: list[tuple[str, float]] = []
        self.networks = dict(networks or {})
        self.reached: list[set[str]] = []

    def __call__(self, name: str, loss: Tensor) -> None:
        self.calls.append((name, loss.item()))
        for network in self.networks.values():
            network.zero_grad()
        loss.backward()
        self.reached.append(
            {key for key, network in self.networks.items() if any(p.grad is not None for p in network.parameters())}
        )


def test_a_recipe_weighs_its_terms_and_names_them_unweighted() -> None:
    near, far = (partial(term, role=role) for term, role in ((terms.mse, "near"), (terms.l1, "far")))
    loss = Loss({"a": Term(2, near, "near"), "b": Term(3, far, "far")})
    sample = batch()
    fused = sample.sources[0] + 0.5
    total, values = loss(*loss.view(fused, sample))
    assert values["a"].item() == pytest.approx(0.25)
    assert total.item() == pytest.approx(2 * 0.25 + 3 * values["b"].item())
    assert not any(value.requires_grad for value in values.values())


def test_a_recipe_sees_pictures_in_its_own_range() -> None:
    sample = batch()
    fused, seen = Loss({}, (-1, 1)).view(sample.sources[0], sample)
    assert torch.equal(fused, 2 * sample.sources[0] - 1)
    assert torch.equal(seen.sources[1], 2 * sample.sources[1] - 1)
    assert seen.reference is not None
    assert sample.reference is not None
    torch.testing.assert_close(seen.reference, 2 * sample.reference - 1)
    wide, without = Loss({}, (0, 255)).view(fused, sample._replace(reference=None))
    assert torch.equal(wide, 255 * fused)
    assert without.reference is None
    assert Loss({}).view(fused, sample) == (fused, sample)


def test_a_role_that_the_data_lack_is_refused_with_the_remedy() -> None:
    loss = Loss({"pixel": Term(1, terms.mse, "reference"), "free": Term(1, terms.decided_intensity)})
    loss.check(["near", "far", "reference"])
    with pytest.raises(InputError, match=r"loss\.pixel compares with the role 'reference'.*have ir, vi; set loss"):
        loss.check(["ir", "vi"])


@pytest.mark.parametrize("residual", [False, True])
def test_direct_lowers_its_loss(residual: bool) -> None:
    torch.manual_seed(0)
    fuser = FusionNet(residual)
    loss = Loss({"mse": Term(1, partial(terms.mse, role="reference"))})
    step = Direct({"fuser": fuser}, loss, updating({"fuser": fuser}, 3e-3))
    sample = batch(3, 2)
    sample = sample._replace(reference=0.3 * sample.sources[0])
    values = [step(sample, rng())["loss"].item() for _ in range(8)]
    assert values[-1] < 0.8 * values[0]


def test_direct_updates_the_fuser_once_with_the_weighted_sum() -> None:
    update = Recorder()
    loss = Loss({"mse": Term(7, partial(terms.mse, role="reference"))})
    named = Direct({"fuser": FusionNet()}, loss, update)(batch(3, 2), rng())
    assert [name for name, _ in update.calls] == ["fuser"]
    assert update.calls[0][1] == pytest.approx(7 * named["mse"].item())
    assert named["loss"].item() == pytest.approx(update.calls[0][1])


def test_reconstruct_lowers_its_loss_on_pictures_alone() -> None:
    torch.manual_seed(0)
    fuser = DenseFuse()
    pixel, ssim = (partial(term, role="source") for term in (terms.mse, terms.ssim))
    loss = Loss({"pixel": Term(1, pixel), "ssim": Term(100, ssim)})
    step = Reconstruct({"fuser": fuser}, loss, updating({"fuser": fuser}))
    values = [step(batch(), rng())["loss"].item() for _ in range(8)]
    assert min(values[5:]) < 0.8 * values[0]


def test_reconstruct_gives_every_source_alone_and_wants_it_back() -> None:
    given: list[Tensor] = []

    class Echo(nn.Module):
        def forward(self, *sources: Tensor) -> Tensor:
            given.extend(sources)
            return sources[0].clone().requires_grad_()

    step = Reconstruct({"fuser": Echo()}, Loss({"pixel": Term(1, partial(terms.mse, role="source"))}), Recorder())
    assert step.roles == ("source",)
    assert step(batch(), rng())["pixel"].item() == 0
    assert len(given) == 1
    assert torch.equal(given[0], torch.cat(batch().sources))


def test_the_gan_updates_in_the_order_of_the_paper() -> None:
    update = Recorder()
    gan(update)(batch(), rng())
    assert [name for name, _ in update.calls] == ["critic", "critic", "fuser"]
    update = Recorder()
    gan(update, critic_steps=3)(batch(), rng())
    assert [name for name, _ in update.calls] == ["critic"] * 3 + ["fuser"]


def test_critic_and_fuser_leave_each_other_alone() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    update = Recorder(networks)
    gan(update, **networks)(batch(), rng())
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

    gan(watched, **networks)(batch(), rng())
    assert changed == [{"critic"}, {"critic"}, {"fuser"}]


def test_the_fuser_is_led_by_the_critic_too() -> None:
    """Without content the adversarial term alone moves the fuser, through a critic that stays as it is."""
    torch.manual_seed(0)
    fuser = Generator(None)
    update = Recorder({"fuser": fuser})
    named = gan(update, fuser, content_weight=0)(batch(), rng())
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
    labels = {"real_label": (0.9, 0.9), "fake_label": (0.1, 0.1), "fuser_label": (0.8, 0.8)}
    named = gan(update, fuser, Mean(), **labels)(sample, rng())
    near, far = (2 * x - 1 for x in sample.sources)
    seen = Sample((near, far), None, (), ("near", "far"))
    fused = (2 * fuser(*sample.sources) - 1).detach()
    real, fake = (x.mean((1, 2, 3)) for x in (terms.joint_gradient(seen), terms.absolute_gradient(fused)))
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
    values = [step(batch(), generator) for _ in range(12)]
    content_loss = [(v["intensity"] + 5 * v["gradient"]).item() for v in values]
    assert content_loss[-1] < 0.7 * content_loss[0]
    assert values[-1]["critic"] < values[0]["critic"]


def test_the_critic_learns_to_tell() -> None:
    torch.manual_seed(0)
    networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
    step, generator = gan(updating(networks, 1e-4), **networks), rng()
    last: Mapping[str, Tensor] = {}
    for _ in range(15):
        last = step(batch(), generator)
    assert last["critic_on_real"] > last["critic_on_fused"] + 0.3


@pytest.mark.parametrize("label", [(0.7, 1.2), (0.0, 0.3)])
def test_labels_are_uniform_between_their_bounds_one_per_score_and_new_each_time(label: tuple[float, float]) -> None:
    generator, low, high = rng(), *label
    drawn = []
    for _ in range(400):  # against a score of 0 and one of 1, mean((D - l)^2) of one score gives l
        drawn.append(squares(torch.zeros(1), label, generator).sqrt())
    labels = torch.stack(drawn)
    assert labels.min() >= low
    assert labels.max() <= high
    width = high - low
    assert labels.mean().item() == pytest.approx((low + high) / 2, abs=0.06 * width)
    assert labels.std().item() == pytest.approx(width / 12**0.5, rel=0.1)
    assert len(labels.unique()) > 390
    spread = squares(torch.zeros(5000), label, rng())  # E[l^2] = mean^2 + variance if every score has its own
    assert spread.item() == pytest.approx(((low + high) / 2) ** 2 + width**2 / 12, rel=0.03)


def test_the_same_generator_gives_the_same_step() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        networks = {"fuser": Generator(None), "critic": Discriminator(SIDE, None)}
        gan(updating(networks), **networks)(batch(), rng(5))
        results.append(torch.cat([weights(networks["fuser"]), weights(networks["critic"])]))
    assert torch.equal(*results)
