"""Training protocols: what one update does, in the order the papers give.

A protocol owns its networks, calls `update(network name, loss)` where the paper updates, and returns every term by
name. The loop knows about precision, clipping and non-finite losses, so no protocol does. Those with critics are in
`fuse/adversarial.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fuse import infer
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


def forward(fuser: nn.Module, sample: Sample) -> tuple[Tensor, Sample]:
    """Fused pictures, and the sample with what the fuser told besides: a choice of weights, things inside.

    A fuser without padding makes less than it sees; what it is compared with is cut to the same middle.
    """
    told = fuser(*sample.sources)
    made, inside = told if isinstance(told, tuple) else (told, {})
    sample = middle(sample, made.shape[-2], made.shape[-1])
    if getattr(fuser, "selects", False) and len(sample.sources) > 1:  # of one picture there is nothing to select
        return infer.sum_weighted(made, sample.sources), sample._replace(weights=made, inside=inside)
    return made, sample._replace(inside=inside)


def middle(sample: Sample, height: int, width: int) -> Sample:
    """Sources and reference, where larger, cut to `height` x `width` around their centre."""

    def cut(x: Tensor) -> Tensor:
        top, left = (max(0, x.shape[-2] - height) // 2, max(0, x.shape[-1] - width) // 2)
        return x[..., top : top + height, left : left + width]

    reference = None if sample.reference is None else cut(sample.reference)
    sources, chroma = (tuple(cut(x) for x in pictures) for pictures in (sample.sources, sample.chroma))
    return sample._replace(sources=sources, reference=reference, chroma=chroma)


class Direct:
    """The loss on what the fuser makes of the sources: CNNs with or without reference."""

    def __init__(self, networks: Mapping[str, nn.Module], loss: Loss, update: Update) -> None:
        self.fuser, self.loss, self.update = networks["fuser"], loss, update

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        total, terms = self.loss(*self.loss.view(*forward(self.fuser, sample)))
        self.update("fuser", total)
        return {"loss": total.detach()} | terms


class Reconstruct:
    """Auto-encoders: each source alone goes in and is to come out; fusion by a rule happens only in use."""

    roles = ("source",)  # what its loss can name

    def __init__(self, networks: Mapping[str, nn.Module], loss: Loss, update: Update) -> None:
        self.direct = Direct(networks, loss, update)

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        picture = torch.cat(sample.sources)
        return self.direct(Sample((picture,), picture, (), ("source",)), step, generator)
