"""Training protocols with critics: any number of them, each told what it sees, under any objective."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.steps import Loss, Terms, Update, forward


@runtime_checkable
class Objective(Protocol):
    """Costs of scores; see `fuse/losses/objectives.py`."""

    def real(self, scores: Tensor, generator: torch.Generator) -> Tensor: ...
    def fake(self, scores: Tensor, generator: torch.Generator) -> Tensor: ...
    def fuser(self, scores: Tensor, generator: torch.Generator) -> Tensor: ...


class Sight(NamedTuple):
    """What one critic sees. Of several real views, its output i tells view i from all else (GANMcC)."""

    real: Sequence[Callable[[Sample], Tensor]]
    fake: Callable[[Tensor, Sample], Tensor]
    weight: float = 1.0


class Adversarial:
    """Critics tell `real(sample)` from `fake(fused, sample)`; the fuser is led by them and by the loss.

    Per batch `critic_steps` updates of every critic on the same fused pictures, and in every `fuser_every`-th batch one
    update of the fuser on the weighted adversarial terms + `content_weight` * loss. `critics` names networks of the
    model and what each sees: `real` (one view or several), `fake`, `weight`. `penalty(critic, real, fake, generator)`
    is added to the critic's loss; `clip` bounds the absolute value of critic weights after each of their updates.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        critics: Mapping[str, Mapping[str, Any]],
        objective: Objective,
        penalty: Callable[..., Tensor] | None = None,
        clip: float | None = None,
        critic_steps: int = 1,
        fuser_every: int = 1,
        content_weight: float = 1.0,
    ) -> None:
        """
        Raises:
            InputError: a critic that is not among the networks or is not told what it sees, a network that is no
                critic, or steps below 1.
        """
        if missing := [name for name in critics if name not in networks]:
            raise InputError(f"model.step.critics names {', '.join(missing)}, but model has {', '.join(networks)}")
        if unused := [name for name in networks if name != "fuser" and name not in critics]:
            raise InputError(
                f"model has {', '.join(unused)}, but model.step.critics says what {', '.join(critics)} sees"
            )
        if blind := [name for name, seen in critics.items() if not {"real", "fake"} <= set(seen)]:
            raise InputError(f"model.step.critics.{blind[0]} must say what it sees: real, and fake")
        if min(critic_steps, fuser_every) < 1:
            raise InputError(f"model.step: critic_steps={critic_steps}, fuser_every={fuser_every}; at least 1")
        self.fuser, self.loss, self.update = networks["fuser"], loss, update
        self.critics = {name: networks[name] for name in critics}
        self.sights = {name: sight(**seen) for name, seen in critics.items()}
        self.objective, self.penalty, self.clip = objective, penalty, clip
        self.critic_steps, self.fuser_every, self.content_weight = critic_steps, fuser_every, content_weight

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        fused, seen = self.make(sample)
        told: Terms = {}
        for name in self.critics:
            for _ in range(self.critic_steps):
                told |= self.teach(name, fused, seen, generator)
        led = self.lead(fused, seen, generator) if (step + 1) % self.fuser_every == 0 else {}
        return led | told

    def make(self, sample: Sample) -> tuple[Tensor, Sample]:
        """Fused pictures and their sample, in the range of the recipe."""
        return self.loss.view(*forward(self.fuser, sample))

    def judge(self, name: str, fused: Tensor, seen: Sample, generator: torch.Generator) -> tuple[Tensor, Terms]:
        """Cost of a critic without its penalty, and its mean answers; it does not reach the fuser."""
        critic, sight = self.critics[name], self.sights[name]
        real_views, fake_view = apart(sight, fused, seen)
        on_reals, on_fake = [outputs(critic(view)) for view in real_views], outputs(critic(fake_view))
        costs = [
            (self.objective.real if i == j else self.objective.fake)(scores[:, j], generator)
            for i, scores in enumerate(on_reals)
            for j in range(scores.shape[1])
        ]
        costs += [self.objective.fake(on_fake[:, j], generator) for j in range(on_fake.shape[1])]
        real_score = torch.stack([scores[:, i].mean() for i, scores in enumerate(on_reals)]).mean()
        answers = {f"{name}_on_real": real_score.detach(), f"{name}_on_fused": on_fake.mean().detach()}
        return torch.stack(costs).sum(), answers

    def teach(self, name: str, fused: Tensor, seen: Sample, generator: torch.Generator) -> Terms:
        """One update of a critic; its loss and its mean answers."""
        total, answers = self.judge(name, fused, seen, generator)
        if self.penalty is not None:
            reals, fake = apart(self.sights[name], fused, seen)
            total = total + torch.stack([self.penalty(self.critics[name], x, fake, generator) for x in reals]).sum()
        self.update(name, total)
        if self.clip is not None:
            bound(self.critics[name], self.clip)
        return {name: total.detach()} | answers

    def aim(self, fused: Tensor, seen: Sample, generator: torch.Generator) -> tuple[Tensor, Tensor, Terms]:
        """What the critics cost the fuser, weighted; its loss; every term by name."""
        parts = []
        for name, critic in self.critics.items():
            scores = outputs(critic(self.sights[name].fake(fused, seen)))
            costs = [self.objective.fuser(scores[:, j], generator) for j in range(scores.shape[1])]
            parts.append(self.sights[name].weight * torch.stack(costs).sum())
        adversarial = torch.stack(parts).sum()
        content, terms = self.loss(fused, seen)
        return adversarial, content, terms | {"adversarial": adversarial.detach()}

    def lead(
        self, fused: Tensor, seen: Sample, generator: torch.Generator, content_weight: float | None = None
    ) -> Terms:
        """One update of the fuser, with critics that stay as they are; `content_weight` None is the protocol's."""
        for critic in self.critics.values():
            critic.requires_grad_(False)  # its weights need no gradient while it judges for the fuser
        adversarial, content, terms = self.aim(fused, seen, generator)
        weight = self.content_weight if content_weight is None else content_weight
        self.update("fuser", adversarial + weight * content)
        for critic in self.critics.values():
            critic.requires_grad_(True)
        return terms


def sight(real: Any, fake: Callable[[Tensor, Sample], Tensor], weight: float = 1.0) -> Sight:
    """What a critic sees, from one real view or a list of them."""
    return Sight(real if isinstance(real, list | tuple) else [real], fake, weight)


def outputs(scores: Tensor) -> Tensor:
    """Scores of a critic as `(b, k, ...)`: one output unless it has several."""
    return scores.unsqueeze(1) if scores.dim() == 1 else scores


def apart(sight: Sight, fused: Tensor, seen: Sample) -> tuple[list[Tensor], Tensor]:
    """What a critic sees while it learns, real and fused, cut off from the fuser."""
    chosen = None if seen.weights is None else seen.weights.detach()
    shown = seen._replace(weights=chosen, inside={name: value.detach() for name, value in seen.inside.items()})
    return [view(shown) for view in sight.real], sight.fake(fused.detach(), shown)


def bound(network: nn.Module, largest: float) -> None:
    """Weights brought back to [-largest, largest] in place."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.clamp_(-largest, largest)
