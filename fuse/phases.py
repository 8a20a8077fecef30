"""Training in two phases: auto-encoders that learn to reconstruct first and to fuse after.

Terms of the first phase see the reconstructions of all sources one after the other along the batch; `each` and `one`
hand them to ordinary terms. What the fuser tells inside of a source bears the number of the source: `base1`, `base2`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fuse import checkpoint
from fuse.config import near
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.steps import Loss, Terms, Update, forward


class Phased:
    """Until a share of all `steps` is done every source alone goes in and is to come out; then the fuser fuses.

    `until`: that share, 0 to 1. A run that is resumed with more steps goes on with the first phase if its share grows.
    `first` and `second` name the terms of the recipe that count in each phase. `part` is the part of the fuser (an
    attribute) that the first phase trains and the second leaves as it is; None: everything learns in both. `start`, a
    run or checkpoint folder whose fuser is that part (or, without a part, the whole), takes the place of the first
    phase. It is read whenever the run starts or is resumed.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        until: float,
        steps: int,
        first: Sequence[str],
        second: Sequence[str],
        part: str | None = None,
        start: str | None = None,
    ) -> None:
        """
        Raises:
            InputError: no share, a term or part that is not there, or a `start` that does not fit.
        """
        if not 0 <= until <= 1:
            raise InputError(f"model.step.until={until}: a share of all steps, from 0 to 1")
        self.fuser, self.update = networks["fuser"], update
        self.first, self.second = (chosen(loss, names) for names in (first, second))
        self.until = round(until * steps) if start is None else 0
        self.kept = submodule(self.fuser, part) if part else None
        if start is not None:
            module = self.kept or inner(self.fuser)
            path = checkpoint.locate(Path(start).expanduser()) / checkpoint.FUSER
            module.load_state_dict(checkpoint.fitting(checkpoint.weights(path), module, path))

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        if step < self.until:
            picture = torch.cat(sample.sources)
            made, seen = forward(self.fuser, Sample((picture,), None, (), ("source",)))
            told = {
                f"{name}{i}": x
                for name, stacked in seen.inside.items()
                for i, x in enumerate(stacked.chunk(len(sample.sources)), 1)
            }
            return self.learn(self.first, made, sample._replace(inside=told))
        if self.kept is not None:
            self.kept.requires_grad_(False)
        return self.learn(self.second, *forward(self.fuser, sample))

    def learn(self, loss: Loss, made: Tensor, seen: Sample) -> Terms:
        """One update of the fuser by the terms of a phase."""
        total, terms = loss(*loss.view(made, seen))
        self.update("fuser", total)
        return {"loss": total.detach()} | terms


def chosen(loss: Loss, names: Sequence[str]) -> Loss:
    """The recipe with these terms alone.

    Raises:
        InputError: it has no such term.
    """
    if missing := [name for name in names if name not in loss.terms]:
        raise InputError(f"model.step names the term '{missing[0]}'; {near(missing[0], loss.terms)}")
    return Loss({name: loss.terms[name] for name in names}, loss.span)


def submodule(network: nn.Module, name: str) -> nn.Module:
    """The part of a network of that name, however the network is wrapped.

    Raises:
        InputError: there is none.
    """
    parts = dict(inner(network).named_children())
    if name not in parts:
        raise InputError(f"model.step.part={name}: {type(inner(network)).__name__} has {', '.join(parts)}")
    return parts[name]


def inner(network: nn.Module) -> nn.Module:
    """The fuser inside of what adds precision or devices to it: their only child, until there is none such."""
    while type(network).__module__ in ("fuse.update", "torch.nn.parallel.distributed"):
        network = next(network.children())
    return network


def each(fused: Tensor, sample: Sample, term: Callable[[Tensor, Sample], Tensor]) -> Tensor:
    """Sum over the sources of a term on the reconstruction of each, which it finds as `source`."""
    pairs = zip(fused.chunk(len(sample.sources)), sample.sources, strict=True)
    return torch.stack([term(made, Sample((x,), x, (), ("source",))) for made, x in pairs]).sum()


def one(fused: Tensor, sample: Sample, role: str, term: Callable[[Tensor, Sample], Tensor]) -> Tensor:
    """A term on the reconstruction of one source, which it finds as `source`."""
    made, x = fused.chunk(len(sample.sources))[sample.roles.index(role)], sample.role(role)
    return term(made, Sample((x,), x, (), ("source",)))
