"""A training protocol that lets losses decide who is updated and how often, so that no side runs away (DDcGAN)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fuse import ranks
from fuse.adversarial import Adversarial, Objective, bound
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.steps import Loss, Terms, Update


class Balanced:
    """Critics and fuser take turns, batch by batch, and go on with a batch until their losses are fit to be seen.

    Even batches: one update of every critic; then each goes on while its loss is above `critic_above`. Odd batches: one
    update of the fuser; then it follows the critics alone while any critic's loss is below `critic_below`, then all of
    its loss while that is above `fuser_above`. At most `repeats` updates beyond the first, for each critic and for the
    fuser. `clip` bounds the absolute weights of all networks after each of their updates. The other settings are those
    of `Adversarial`. Losses are read before every further update, for which the device is waited.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        critics: Mapping[str, Mapping[str, Any]],
        objective: Objective,
        clip: float | None = None,
        content_weight: float = 1.0,
        critic_above: float = 1.9,
        critic_below: float = 1.0,
        fuser_above: float = 200.0,
        repeats: int = 20,
    ) -> None:
        """
        Raises:
            InputError: a critic that is not among the networks, thresholds of which both always hold, repeats below 0.
        """
        if critic_below >= critic_above or repeats < 0:
            raise InputError(
                f"model.step: critic_below={critic_below}, critic_above={critic_above}, repeats={repeats}; "
                "critic_below must be less than critic_above, repeats at least 0"
            )
        self.adversarial = Adversarial(
            networks, loss, update, critics, objective, clip=clip, content_weight=content_weight
        )
        self.clip, self.repeats = clip, repeats
        self.critic_above, self.critic_below, self.fuser_above = critic_above, critic_below, fuser_above

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        return self.teach(sample, generator) if step % 2 == 0 else self.lead(sample, generator)

    def teach(self, sample: Sample, generator: torch.Generator) -> Terms:
        """The turn of the critics; what they cost and said at last, and how many updates that took."""
        gan, told = self.adversarial, dict[str, Tensor]()
        with torch.no_grad():
            fused, seen = gan.make(sample)
        for name in gan.critics:
            told |= gan.teach(name, fused, seen, generator)
        for name in gan.critics:
            updates = 1
            while updates <= self.repeats and self.cost(name, fused, seen, generator) > self.critic_above:
                told |= gan.teach(name, fused, seen, generator)
                updates += 1
            told[f"{name}_updates"] = fused.new_tensor(updates)
        return told

    def lead(self, sample: Sample, generator: torch.Generator) -> Terms:
        """The turn of the fuser; its terms at last, and how many updates that took."""
        gan, beaten, updates = self.adversarial, True, 1
        fused, seen = gan.make(sample)
        told = self.led(fused, seen, generator)
        while updates <= self.repeats:
            fused, seen = gan.make(sample)
            beaten = beaten and min(self.cost(name, fused, seen, generator) for name in gan.critics) < self.critic_below
            if not beaten and self.total(fused, seen, generator) <= self.fuser_above:
                break
            told = self.led(fused, seen, generator, 0.0 if beaten else None)
            updates += 1
        return told | {"fuser_updates": fused.new_tensor(updates)}

    def led(
        self, fused: Tensor, seen: Sample, generator: torch.Generator, content_weight: float | None = None
    ) -> Terms:
        """One update of the fuser, whose weights are bounded too."""
        told = self.adversarial.lead(fused, seen, generator, content_weight)
        if self.clip is not None:
            bound(self.adversarial.fuser, self.clip)
        return told

    @torch.no_grad()
    def cost(self, name: str, fused: Tensor, seen: Sample, generator: torch.Generator) -> float:
        """What a critic's answers cost it now."""
        return ranks.mean(self.adversarial.judge(name, fused, seen, generator)[0]).item()

    @torch.no_grad()
    def total(self, fused: Tensor, seen: Sample, generator: torch.Generator) -> float:
        """What the fuser's pictures cost it now."""
        adversarial, content, _ = self.adversarial.aim(fused, seen, generator)
        return ranks.mean(adversarial + self.adversarial.content_weight * content).item()
