"""Terms on what a fuser tells besides its picture (`sample.inside`): reconstructions, features, decompositions."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError

Picture = Float[Tensor, "b c h w"]


def of(
    fused: Picture,
    sample: Sample,
    picture: str,
    term: Callable[..., Tensor],
    role: str | None = None,
    span: Sequence[float] = (0.0, 1.0),
) -> Tensor:
    """Another term, with a picture told inside in the place of the fused one.

    `role` is handed to the term where it is given. The picture is in [0, 1] as the fuser's result is; `span` is the
    recipe's range. CDDFuse's phase I: `terms.mse`, `structure.to_role` and `gradient.to_role` of each reconstruction.
    """
    low, high = span
    shown = told(sample, picture) * (high - low) + low
    return term(shown, sample) if role is None else term(shown, sample, role=role)


def to_mixture(fused: Picture, sample: Sample, made: str, shares: Mapping[str, float]) -> Tensor:
    """mean (x - sum_k s_k y_k)^2 of features told inside: x is `made`, y_k and s_k are `shares`.

    RFN-Nest: per scale, shares 6 (infrared) and 3 (visible), weights 1, 10, 100, 1000.
    """
    wanted = torch.stack([share * told(sample, name) for name, share in shares.items()]).sum(0)
    return F.mse_loss(told(sample, made), wanted)


def decomposition(fused: Picture, sample: Sample, base: Sequence[str], detail: Sequence[str]) -> Tensor:
    """cc(D_1, D_2)^2 / (1.01 + cc(B_1, B_2)), cc the mean correlation of channels of features told inside.

    What the sources share belongs into the bases, what tells them apart into the details. CDDFuse 2.
    """
    (base_1, base_2), (detail_1, detail_2) = ([told(sample, name) for name in names] for names in (base, detail))
    return correlation(detail_1, detail_2).square() / (1.01 + correlation(base_1, base_2))


def correlation(x: Float[Tensor, "b k y x"], y: Float[Tensor, "b k y x"]) -> Tensor:
    """Pearson correlation over the places of a channel, mean over channels and batch; 0 where one is constant."""
    x, y = (maps.flatten(2) - maps.flatten(2).mean(2, keepdim=True) for maps in (x, y))
    return F.cosine_similarity(x, y, 2).mean()


def told(sample: Sample, name: str) -> Tensor:
    """What the fuser tells under that name.

    Raises:
        InputError: nothing.
    """
    if name not in sample.inside:
        raise InputError(f"this loss needs '{name}'; the fuser tells {', '.join(sample.inside) or 'nothing'} inside")
    return sample.inside[name]
