"""Terms of what a selecting fuser chose: its weights `(b, n, h, w)`, not the pixels they lead to.

The truth is which source comes closest to the reference; pixels where sources are equally close, within `tolerance` (in
the unit of the recipe's range), say nothing and are left out. Maps coarser than the picture are held against distances
averaged over their cells. `inside` names a map that the fuser tells in place of its weights, `(b, n, h, w)`, or
`(b, 1, h, w)` for the first of two sources: a soft map before it was cleaned, for instance.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.distance import Distance, apart
from fuse.losses.gradient import Importance

Picture = Float[Tensor, "b c h w"]
Maps = Float[Tensor, "b n i j"]
LEAST = 1e-6  # probabilities below it count as it


class Truth(NamedTuple):
    """Which source is right at every place, and where that is known."""

    source: Int64[Tensor, "b i j"]
    known: Bool[Tensor, "b i j"]


def chosen(sample: Sample, inside: str | None = None) -> Maps:
    """Maps of all sources: the fuser's weights, or what it tells inside.

    Raises:
        InputError: the fuser does not select, or tells no such map.
    """
    if inside is None:
        if sample.weights is None:
            raise InputError("this loss is about what a fuser selects, and this one makes pixels; name another loss")
        return sample.weights
    if inside not in sample.inside:
        raise InputError(f"inside={inside}: the fuser tells {', '.join(sample.inside) or 'nothing'}; name one of them")
    maps = sample.inside[inside]
    return torch.cat([maps, 1 - maps], 1) if maps.shape[1] == 1 else maps


def truth(sample: Sample, role: str, tolerance: float, maps: Maps) -> Truth:
    """Source of the smallest |I_i - reference| (mean over channels and cell); known where the next is farther off.

    Raises:
        InputError: the data have no such reference, or there is only one source.
    """
    if len(sample.sources) < 2:
        raise InputError("a choice needs at least two sources; choose data with more")
    with torch.no_grad():
        ideal = sample.role(role)
        distance = torch.cat([(x - ideal).abs().mean(1, keepdim=True) for x in sample.sources], 1)
        height, width = maps.shape[-2:]
        if distance.shape[-2:] != (height, width):
            distance = F.adaptive_avg_pool2d(distance, (height, width))
        best = distance.topk(2, 1, largest=False)
        return Truth(best.indices[:, 0], best.values[:, 1] - best.values[:, 0] > tolerance)


def right(maps: Maps, index: Int64[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
    """Probability that the maps give to the right source."""
    return maps.gather(1, index.unsqueeze(1))[:, 0].clamp_min(LEAST)


def mean_where(values: Float[Tensor, "b i j"], known: Bool[Tensor, "b i j"]) -> Tensor:
    """Mean over the known places; 0 where there are none."""
    return torch.where(known, values, 0.0).sum() / known.sum().clamp_min(1)


def cross_entropy(
    fused: Picture, sample: Sample, role: str = "reference", tolerance: float = 0.01, inside: str | None = None
) -> Tensor:
    """-mean log w_k, k the true source, over the pixels where it is known. CNN (Liu 2017), StackMFF."""
    maps = chosen(sample, inside)
    index, known = truth(sample, role, tolerance, maps)
    return mean_where(-right(maps, index).log(), known)


def boundary(
    fused: Picture,
    sample: Sample,
    role: str = "reference",
    tolerance: float = 0.01,
    width: int = 4,
    inside: str | None = None,
) -> Tensor:
    """`cross_entropy` of the places that have known places of two different sources within `width` around them.

    Next to plain cross-entropy it makes errors at the edges of the choice count more, where methods differ.
    """
    maps = chosen(sample, inside)
    index, known = truth(sample, role, tolerance, maps)
    present = F.one_hot(index, maps.shape[1]).movedim(-1, 1) * known.unsqueeze(1)
    near = F.max_pool2d(present.to(maps.dtype), 2 * width + 1, 1, width).sum(1) >= 2
    return mean_where(-right(maps, index).log(), known & near)


def focal(
    fused: Picture,
    sample: Sample,
    role: str = "reference",
    tolerance: float = 0.01,
    gamma: float = 2.0,
    alpha: float | None = None,
    inside: str | None = None,
) -> Tensor:
    """-mean a_k (1 - w_k)^gamma log w_k, k the true source, over the pixels where it is known (Lin et al. 2017).

    a is alpha where the first source is right and 1 - alpha elsewhere; 1 without alpha. LightMFF 15: gamma 2, alpha
    0.25.
    """
    maps = chosen(sample, inside)
    index, known = truth(sample, role, tolerance, maps)
    share = right(maps, index)
    balance = 1.0 if alpha is None else torch.where(index == 0, alpha, 1 - alpha)
    return mean_where(-balance * (1 - share).clamp_min(0) ** gamma * share.log(), known)


def dice(
    fused: Picture,
    sample: Sample,
    role: str = "reference",
    tolerance: float = 0.01,
    smooth: float = 1.0,
    inside: str | None = None,
) -> Tensor:
    """1 - (2 sum w y + s) / (sum w^2 + sum y^2 + s), y the true map, s `smooth`, sums over the known pixels of a map.

    Mean over pictures and maps; the last source's map, which follows from the others, is left out. GACN 1, LightMFF 1.
    """
    maps = chosen(sample, inside)
    index, known = truth(sample, role, tolerance, maps)
    true, made = (x[:, :-1] * known.unsqueeze(1) for x in (hard(index, maps), maps))
    overlap, sizes = (made * true).sum((2, 3)), (made.square() + true).sum((2, 3))
    return (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()


def l1(
    fused: Picture, sample: Sample, role: str = "reference", tolerance: float = 0.01, inside: str | None = None
) -> Tensor:
    """mean |w - y|, y the true map, over known pixels and all maps. MFIF-GAN 10."""
    maps = chosen(sample, inside)
    index, known = truth(sample, role, tolerance, maps)
    return mean_where((maps - hard(index, maps)).abs().mean(1), known)


def to_importance(
    fused: Picture, sample: Sample, importance: Importance, distance: Distance = "l1", inside: str | None = None
) -> Tensor:
    """mean over the sources of mean d(w_i, v_i), v the importance of the sources; needs no reference.

    ZMFF 20: `importance.repeated_blur`, `l1`.
    """
    maps = chosen(sample, inside)
    wanted = importance(sample).mean(2).movedim(0, 1).expand_as(maps)
    return apart(maps, wanted, distance).mean()


def sum_to_one(fused: Picture, sample: Sample, inside: str) -> Tensor:
    """mean |sum_i w_i - 1| of maps told inside, for fusers that do not normalise them. ZMFF 20."""
    return (chosen(sample, inside).sum(1) - 1).abs().mean()


def total_variation(fused: Picture, sample: Sample, inside: str | None = None) -> Tensor:
    """mean |w(i, j+1) - w(i, j)| + mean |w(i+1, j) - w(i, j)| over the maps: the length of the edges of the choice."""
    maps = chosen(sample, inside)
    return maps.diff(dim=-1).abs().mean() + maps.diff(dim=-2).abs().mean()


def hard(index: Int64[Tensor, "b i j"], maps: Maps) -> Maps:
    """1 in the map of the right source, else 0."""
    return F.one_hot(index, maps.shape[1]).movedim(-1, 1).to(maps.dtype)
