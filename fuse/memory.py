"""Training with a memory: what the network of the epoch before made of the same patches (MUFusion)."""

from collections.abc import Mapping

import torch
from torch import nn

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.steps import Loss, Terms, Update, forward


class Remembering:
    """Direct training whose loss also sees `inside["memory"]`: what the fuser at the end of the last epoch makes of it.

    `every`: updates of an epoch. The network `memory`, built like the fuser, is replaced by a copy of it at each end of
    an epoch, is in every checkpoint, and never learns; in the first epoch there is no memory. MUFusion's authors keep
    the pictures themselves, made in the course of the epoch, in 8-bit files stretched by their extremes, so that the
    memory brightens; a copy of the network needs neither files nor fixed patches.
    """

    def __init__(self, networks: Mapping[str, nn.Module], loss: Loss, update: Update, every: int) -> None:
        """
        Raises:
            InputError: no network of that name, or an epoch without updates.
        """
        if "memory" not in networks:
            raise InputError(f"model has the networks {', '.join(networks)}; add model.memory, the same as model.fuser")
        if every < 1:
            raise InputError(f"model.step.every={every}: an epoch has at least 1 update")
        self.fuser, self.memory = networks["fuser"], networks["memory"].requires_grad_(False)
        self.loss, self.update, self.every = loss, update, every

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        if step and step % self.every == 0:
            self.memory.load_state_dict(self.fuser.state_dict())
        fused, seen = forward(self.fuser, sample)
        if step >= self.every:
            with torch.no_grad():
                remembered, _ = forward(self.memory, sample)
            seen = seen._replace(inside={**seen.inside, "memory": self.loss.view(remembered, sample)[0]})
        total, terms = self.loss(*self.loss.view(fused, seen))
        self.update("fuser", total)
        return {"loss": total.detach()} | terms
