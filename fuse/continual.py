"""Continual learning by elastic weight consolidation (Kirkpatrick et al. PNAS 114, 2017), as U2Fusion uses it.

A task is a run. The next one starts from the weights of the run before and pays for moving those that it needed:
weight / 2 * sum_k F_k (theta_k - theta*_k)^2, with theta* the weights of the run before and F its diagonal Fisher
information, the mean square of the gradient of its loss over single pairs of its training data.
"""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fuse import checkpoint, infer
from fuse.config import build
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.phases import inner
from fuse.steps import Direct, Loss, Terms, Update, forward

log = logging.getLogger(__name__)
FISHER = "fisher.safetensors"


class Consolidated:
    """Direct training that stays near what an earlier run learned.

    `previous`: run folder of the task before, which stays where it is while this run lasts or is resumed; None for the
    first task, which is then trained as by `Direct`. `weight`: lambda. `samples`: pairs that the Fisher information is
    estimated from. It is stored beside the weights of the run before, as `fisher.safetensors`, and adds to that of
    all tasks before it: what any of them needs is held.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        previous: str | None = None,
        weight: float = 8e4,
        samples: int = 30,
    ) -> None:
        """
        Raises:
            InputError: a previous run that cannot be read, or is of another network.
        """
        self.fuser, self.loss, self.update, self.weight = networks["fuser"], loss, update, weight
        self.direct = Direct(networks, loss, update)
        self.previous = previous
        if previous is None:
            return
        module, folder = inner(self.fuser), checkpoint.locate(Path(previous).expanduser())
        path = folder / checkpoint.FUSER
        module.load_state_dict(checkpoint.fitting(checkpoint.weights(path), module, path))
        device = next(module.parameters()).device
        self.anchor = [p.detach().clone() for p in module.parameters()]
        needed = remembered(folder, samples)
        self.fisher = [needed[name].to(device) for name, _ in module.named_parameters()]

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        if self.previous is None:
            return self.direct(sample, step, generator)
        total, terms = self.loss(*self.loss.view(*forward(self.fuser, sample)))
        drift = self.weight / 2 * self.drift()
        self.update("fuser", total + drift)
        return {"loss": (total + drift).detach()} | terms | {"drift": drift.detach()}

    def drift(self) -> Tensor:
        """sum_k F_k (theta_k - theta*_k)^2."""
        parameters = inner(self.fuser).parameters()
        moved = zip(self.fisher, parameters, self.anchor, strict=True)
        return torch.stack([(f * (now - then).square()).sum() for f, now, then in moved]).sum()


def diagonal(fuser: nn.Module, loss: Loss, pairs: list[Sample]) -> dict[str, Tensor]:
    """Mean over pairs of the squared gradient of the loss of one pair, per parameter, by name."""
    squares = {name: torch.zeros_like(p) for name, p in fuser.named_parameters()}
    for pair in pairs:
        total, _ = loss(*loss.view(*forward(fuser, pair)))
        gradients = torch.autograd.grad(total, list(fuser.parameters()), allow_unused=True)
        for square, gradient in zip(squares.values(), gradients, strict=True):
            if gradient is not None:
                square += gradient.square() / len(pairs)
    return squares


def remembered(folder: Path, samples: int) -> dict[str, Tensor]:
    """Fisher information of a run and of all before it: what lies beside its weights, else estimated and put there.

    Raises:
        InputError: it cannot be estimated, or not be written.
    """
    stored = folder / FISHER
    if not stored.is_file():
        estimated = estimate(folder, samples)
        try:
            making = stored.with_name(f"{FISHER}.making")
            checkpoint.save_file(estimated, making)
            making.rename(stored)
        except OSError as problem:
            raise InputError(f"{stored} cannot be written ({problem}); the run before keeps its Fisher there") from None
    return checkpoint.weights(stored)


def estimate(folder: Path, samples: int) -> dict[str, Tensor]:
    """Fisher information of the run whose checkpoint this is, on its own training data with its own loss.

    Raises:
        InputError: its `config.yaml` is missing, or names what is not part of `fuse`.
    """
    from omegaconf import OmegaConf

    from fuse.train import recipe

    described = next((path for path in (folder / "config.yaml", folder.parent / "config.yaml") if path.is_file()), None)
    if described is None:
        raise InputError(
            f"{folder} has no run around it (config.yaml): its data and loss are not known; give a run folder"
        )
    cfg: Any = OmegaConf.to_container(OmegaConf.load(described), resolve=True)
    try:
        data, loss, patches, step = cfg["data"], cfg["loss"], cfg["model"]["patches"], cfg["model"]["step"]
        seed = int(cfg["run"]["seed"])
    except (KeyError, TypeError, ValueError) as problem:
        raise InputError(f"{described} is not that of a run: {problem!r}") from problem
    for node in (data, loss, patches):
        own(node, described)
    fuser, _ = checkpoint.load(folder)
    facts = infer.traits(fuser)
    cut = build(
        {**patches, "batch": 1, "order": "random"},
        samples=build(data).samples("train"),
        channels=facts.channels,
        luma=facts.luma,
    )
    generator = torch.Generator().manual_seed(seed)
    pairs = [cut(i, seed, generator) for i in range(samples)]
    log.info("Fisher information of %s from %d pairs of %s", folder, samples, data.get("name", "made data"))
    found = diagonal(fuser.train(), recipe(loss), pairs)
    if earlier := step.get("previous"):
        before = remembered(checkpoint.locate(Path(earlier).expanduser()), samples)
        found = {name: value + before[name] for name, value in found.items()}
    return found


def own(node: Any, source: Path) -> None:
    """Refuse a configuration from a folder that would call anything outside of `fuse`.

    Raises:
        InputError: it would.
    """
    if isinstance(node, Mapping):
        if "_target_" in node and not ours(node["_target_"]):
            raise InputError(
                f"{source} names '{node['_target_']}', which is no part of fuse; the task before may use only its parts"
            )
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            own(value, source)


def ours(name: Any) -> bool:
    """Whether a dotted name leads to a class or function that `fuse` defines itself; what counts is what is found."""
    from hydra.utils import get_object

    if not isinstance(name, str) or not name.startswith("fuse."):
        return False
    try:
        module = inspect.getmodule(get_object(name))
    except (ImportError, ValueError):  # no such thing; a name that nothing can have
        return False
    return module is not None and f"{module.__name__}.".startswith("fuse.")
