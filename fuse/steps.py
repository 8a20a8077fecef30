"""Training protocols: what one update does, in the order the papers give.

A protocol owns its networks, calls `update(network name, loss)` where the paper updates, and returns every term by
name. The loop knows about precision, clipping and non-finite losses, so no protocol does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.data.sample import Sample
from fuse.errors import InputError

Terms = dict[str, Tensor]
Update = Callable[[str, Tensor], None]


class Term(NamedTuple):
    """One entry of a loss recipe: a pure function `(fused, sample) -> scalar`, its weight, the role it names."""

    weight: float
    function: Callable[[Tensor, Sample], Tensor]
    role: str | None = None


class Loss:
    """A recipe: weighted terms, computed on pictures brought from [0, 1] to the paper's own range."""

    def __init__(self, terms: Mapping[str, Term], span: Sequence[float] = (0.0, 1.0)) -> None:
        """
        Raises:
            InputError: a weight that is not a number.
        """
        for name, term in terms.items():
            if not isinstance(term.weight, int | float):
                raise InputError(f"loss.{name}.weight={term.weight}: must be a number")
        self.terms, self.span = dict(terms), span

    def check(self, roles: Sequence[str]) -> None:
        """Raises:
        InputError: a term names a role that the data do not have.
        """
        for name, term in self.terms.items():
            if term.role is not None and term.role not in roles:
                raise InputError(
                    f"loss.{name} compares with the role '{term.role}', but these data have {', '.join(roles)}; "
                    f"set loss.{name}.term.role to one of them or choose other data"
                )

    def view(self, fused: Tensor, sample: Sample) -> tuple[Tensor, Sample]:
        """Pictures as the recipe sees them: [0, 1] mapped to its range."""
        low, width = self.span[0], self.span[1] - self.span[0]
        if (low, width) == (0, 1):
            return fused, sample
        sources = tuple(low + width * x for x in sample.sources)
        reference = None if sample.reference is None else low + width * sample.reference
        return low + width * fused, sample._replace(sources=sources, reference=reference)

    def __call__(self, fused: Tensor, sample: Sample) -> tuple[Tensor, Terms]:
        """Weighted sum, and every term unweighted by name; arguments as `view` returns them."""
        values = {name: term.function(fused, sample) for name, term in self.terms.items()}
        total = torch.stack([self.terms[name].weight * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


class Direct:
    """The loss on what the fuser makes of the sources: CNNs with or without reference."""

    def __init__(self, networks: Mapping[str, nn.Module], loss: Loss, update: Update) -> None:
        self.fuser, self.loss, self.update = networks["fuser"], loss, update

    def __call__(self, sample: Sample, generator: torch.Generator) -> Terms:
        fused = self.fuser(*sample.sources)
        total, terms = self.loss(*self.loss.view(fused, sample))
        self.update("fuser", total)
        return {"loss": total.detach()} | terms


class Reconstruct:
    """Auto-encoders: each source alone goes in and is to come out; fusion by a rule happens only in use."""

    roles = ("source",)  # what its loss can name

    def __init__(self, networks: Mapping[str, nn.Module], loss: Loss, update: Update) -> None:
        self.direct = Direct(networks, loss, update)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Terms:
        picture = torch.cat(sample.sources)
        return self.direct(Sample((picture,), picture, (), ("source",)), generator)


class Adversarial:
    """Least-squares GAN with soft labels: the critic tells `real(sample)` from `fake(fused)`.

    Per batch `critic_steps` updates of the critic, then one of the fuser on adversarial + `content_weight` * loss.
    Labels are uniform between the bounds given, one per patch, drawn anew at every use.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        real: Callable[[Sample], Tensor],
        fake: Callable[[Tensor], Tensor],
        critic_steps: int = 2,
        content_weight: float = 10.0,
        real_label: Sequence[float] = (0.7, 1.2),
        fake_label: Sequence[float] = (0.0, 0.3),
        fuser_label: Sequence[float] = (0.7, 1.2),
    ) -> None:
        self.fuser, self.critic, self.loss, self.update = networks["fuser"], networks["critic"], loss, update
        self.real, self.fake = real, fake
        self.critic_steps, self.content_weight = critic_steps, content_weight
        self.real_label, self.fake_label, self.fuser_label = real_label, fake_label, fuser_label

    def __call__(self, sample: Sample, generator: torch.Generator) -> Terms:
        fused, seen = self.loss.view(self.fuser(*sample.sources), sample)
        real, fake = self.real(seen), self.fake(fused)

        for _ in range(self.critic_steps):
            on_real, on_fake = self.critic(real), self.critic(fake.detach())
            critic_loss = squares(on_real, self.real_label, generator) + squares(on_fake, self.fake_label, generator)
            self.update("critic", critic_loss)

        self.critic.requires_grad_(False)  # its weights need no gradient while it judges for the fuser
        adversarial = squares(self.critic(fake), self.fuser_label, generator)
        content, terms = self.loss(fused, seen)
        self.update("fuser", adversarial + self.content_weight * content)
        self.critic.requires_grad_(True)
        outputs = {"critic_on_real": on_real.mean().detach(), "critic_on_fused": on_fake.mean().detach()}
        return terms | {"adversarial": adversarial.detach(), "critic": critic_loss.detach()} | outputs


def squares(scores: Float[Tensor, " b"], label: Sequence[float], generator: torch.Generator) -> Tensor:
    """mean((D - label)^2) with one uniform label per score (LSGAN, Mao et al. 2017, with soft labels)."""
    low, high = label
    labels = low + (high - low) * torch.rand(scores.shape, generator=generator, device=scores.device)
    return ((scores - labels) ** 2).mean()
