"""Adversarial objectives by hand; the gradient penalty of a critic whose gradient is known."""

import math

import pytest
import torch
from torch import Tensor

from fuse.losses.objectives import Hinge, LeastSquares, Minimax, Wasserstein, gradient_penalty, squares


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SCORES = torch.tensor([-2.0, 0.5])


@pytest.mark.parametrize(
    ("objective", "real", "fake", "fuser"),
    [
        (LeastSquares((1, 1), (0, 0), (2, 2)), (9 + 0.25) / 2, (4 + 0.25) / 2, (16 + 2.25) / 2),
        (Wasserstein(), 0.75, -0.75, 0.75),
        (Hinge(), (3 + 0.5) / 2, (0 + 1.5) / 2, 0.75),
        (
            Minimax(),
            (math.log1p(math.exp(2)) + math.log1p(math.exp(-0.5))) / 2,
            (math.log1p(math.exp(-2)) + math.log1p(math.exp(0.5))) / 2,
            (math.log1p(math.exp(2)) + math.log1p(math.exp(-0.5))) / 2,
        ),
    ],
)
def test_by_hand(objective: Hinge, real: float, fake: float, fuser: float) -> None:
    values = [cost(SCORES, rng()).item() for cost in (objective.real, objective.fake, objective.fuser)]
    assert values == pytest.approx([real, fake, fuser], rel=1e-6)


def test_a_label_belongs_to_a_picture_not_to_a_patch_of_it() -> None:
    scores = torch.zeros(3, 5, 5)
    low, high = 0.7, 1.2
    drawn = low + (high - low) * torch.rand(3, generator=rng())
    assert squares(scores, (low, high), rng()).item() == pytest.approx((drawn**2).mean().item())


@pytest.mark.parametrize(("weight", "power", "target"), [(10.0, 2.0, 1.0), (2.0, 6.0, 0.0), (1.0, 1.0, 3.0)])
def test_the_penalty_of_a_linear_critic(weight: float, power: float, target: float) -> None:
    """D(x) = s . x has the gradient s everywhere."""
    slope = torch.randn(1, 4, 4, generator=rng())

    def critic(x: Tensor) -> Tensor:
        return (slope * x).sum((1, 2, 3))

    real, fake = torch.rand(2, 3, 1, 4, 4, generator=rng(1))
    value = gradient_penalty(critic, real, fake, rng(), weight, power, target)
    assert value.item() == pytest.approx(weight * abs(slope.norm().item() - target) ** power, rel=1e-5)


def test_the_penalty_reaches_the_weights_of_the_critic_and_nothing_else() -> None:
    scale = torch.nn.Parameter(torch.ones(()))
    real = torch.rand(2, 1, 4, 4, generator=rng())
    fake = torch.rand(2, 1, 4, 4, generator=rng(1)).requires_grad_()
    gradient_penalty(lambda x: (scale * x).sum((1, 2, 3)), real, fake, rng()).backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(10 * 2 * (4 - 1) * 4, rel=1e-5)  # d/ds w (4 s - 1)^2
    assert fake.grad is None


def test_places_lie_between_real_and_fused() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum((1, 2, 3))

    gradient_penalty(critic, torch.zeros(50, 1, 2, 2), torch.ones(50, 1, 2, 2), rng())
    share = seen[0].flatten(1)
    assert bool((share == share[:, :1]).all())  # one place per picture
    assert share.min() >= 0
    assert share.max() <= 1
    assert len(share[:, 0].unique()) == 50


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
