"""Adversarial objectives: what a critic's scores of real and fused pictures cost, for the critic and for the fuser.

An objective has three functions of scores `(b, ...)`, unbounded and before any sigmoid: `real` and `fake` are the
critic's cost of a real and of a fused picture, `fuser` the fuser's cost of its own picture. Means over all scores.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


class LeastSquares:
    """(D - label)^2 with one uniform label per picture (LSGAN, Mao et al. 2017, with soft labels as in FusionGAN)."""

    def __init__(
        self, real: Sequence[float] = (0.7, 1.2), fake: Sequence[float] = (0, 0.3), fuser: Sequence[float] = (0.7, 1.2)
    ) -> None:
        self.labels = {"real": real, "fake": fake, "fuser": fuser}

    def real(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean((D - b)^2)."""
        return squares(scores, self.labels["real"], generator)

    def fake(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean((D - a)^2)."""
        return squares(scores, self.labels["fake"], generator)

    def fuser(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean((D - c)^2)."""
        return squares(scores, self.labels["fuser"], generator)


class Minimax:
    """Cross-entropy on logits; the fuser's cost is the non-saturating -log D (Goodfellow et al. 2014)."""

    def real(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean log sigmoid(D)."""
        return F.softplus(-scores).mean()

    def fake(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean log(1 - sigmoid(D))."""
        return F.softplus(scores).mean()

    def fuser(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean log sigmoid(D)."""
        return F.softplus(-scores).mean()


class Wasserstein:
    """Difference of means (WGAN, Arjovsky et al. 2017); wants clipped weights or a gradient penalty."""

    def real(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean D."""
        return -scores.mean()

    def fake(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean D."""
        return scores.mean()

    def fuser(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean D."""
        return -scores.mean()


class Hinge:
    """Scores beyond 1 and -1 cost the critic nothing (Lim and Ye 2017; Miyato et al. 2018)."""

    def real(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean max(0, 1 - D)."""
        return F.relu(1 - scores).mean()

    def fake(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """mean max(0, 1 + D)."""
        return F.relu(1 + scores).mean()

    def fuser(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """-mean D."""
        return -scores.mean()


def squares(scores: Tensor, label: Sequence[float], generator: torch.Generator) -> Tensor:
    """mean((D - l)^2); l is uniform between the two bounds, one for every picture `(b, ...)`."""
    low, high = label
    labels = low + (high - low) * torch.rand(scores.shape[:1], generator=generator, device=scores.device)
    return ((scores - labels.view(-1, *[1] * (scores.dim() - 1))) ** 2).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator,
    weight: float = 10.0,
    power: float = 2.0,
    target: float = 1.0,
) -> Tensor:
    """weight * mean | ||grad D(x)||_2 - target |^power at x between a real and a fused picture, uniform per picture.

    WGAN-GP (Gulrajani et al. 2017): 10, 2, 1. WGAN-div (Wu et al. 2018): weight k = 2, power p = 6, target 0. A critic
    with batch norm has no gradient of its own per picture; use none, or instance norm.
    """
    share = torch.rand(real.shape[0], 1, 1, 1, generator=generator, device=real.device)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    square = slope.flatten(1).square().sum(1)
    if target == 0:  # no root where the norm may be 0
        return weight * square.pow(power / 2).mean()
    return weight * (square.clamp_min(1e-12).sqrt() - target).abs().pow(power).mean()
