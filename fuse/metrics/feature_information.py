"""FMI: mutual information of features in 3x3 windows, treated as distributions over the nine places."""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int64
from torch import Tensor

from fuse.errors import InputError
from fuse.metrics.features import FEATURES
from fuse.metrics.levels import Image, Images, Scores, combined, grey
from fuse.metrics.memo import Memo

PLACES = 9
CHUNK = 8192  # windows at a time: few enough to stay in the cache, enough for two threads
SMALLEST = 1e-300  # stands for 0 in logarithms and divisions

# the nine places come first: numbers of many windows then lie beside each other
Windows = Float[Tensor, "9 n"]
Values = Float[Tensor, "n"]


def windows(feature: Float[Tensor, "b 1 h w"]) -> Iterator[Windows]:
    """All 3x3 windows, some rows at a time, their samples column by column."""
    batch, _, height, width = feature.shape
    rows = max(1, CHUNK // (batch * (width - 2)))
    for top in range(0, height - 2, rows):
        part = feature[:, 0, top : min(top + rows, height - 2) + 2]
        yield part.unfold(1, 3, 1).unfold(2, 3, 1).permute(4, 3, 0, 1, 2).reshape(PLACES, -1)


def stretched(samples: Windows) -> Windows:
    """Each window stretched to 0..1 by its extremes; constant windows become 1."""
    low, high = samples.amin(0), samples.amax(0)
    flat = (low == high).to(samples.dtype)
    return (samples - low).div_(high - low + flat).add_(flat)


def surprise(shares: Tensor) -> Tensor:
    """ln|p|: mixed distributions can have slightly negative p."""
    return shares.abs().clamp_(min=SMALLEST).log_()


def dependence(f: Windows, s: Windows) -> Values:
    """Pearson correlation of two distributions, -1..1; 0 where one is uniform."""
    f, s = f - 1 / PLACES, s - 1 / PLACES
    return (f * s).sum(0).div_(((f * f).sum(0) * (s * s).sum(0)).sqrt_().clamp_(min=SMALLEST))


def spread(shares: Windows) -> Values:
    """Variance of the place."""
    index = torch.arange(1.0, PLACES + 1, dtype=shares.dtype, device=shares.device)
    return index**2 @ shares - (index @ shares) ** 2


def cumulated(shares: Windows) -> Windows:
    """Sums from the first place on."""
    return torch.stack(list(accumulate(shares)))


def picked(table: Float[Tensor, "10 n"], place: Int64[Tensor, "9 n"]) -> Windows:
    """Of each window the entries of `table` at `place`, which counts in places times n."""
    return table.flatten().index_select(0, place.flatten()).view_as(place)


def ranks(f: Windows, s: Windows) -> tuple[Int64[Tensor, "9 n"], Int64[Tensor, "9 n"]]:
    """For each value of f how many of s are below it, and for each of s how many of f are not above it."""
    below = (s[:, None] < f[None]).view(torch.uint8)
    under_f, over_s = below.sum(0, dtype=torch.uint8), below.sum(1, dtype=torch.uint8)
    return under_f.to(torch.int64), PLACES - over_s.to(torch.int64)


def joint_information(f: Windows, s: Windows, log_f: Windows, log_s: Windows) -> Values:
    """Entropy (nats) of the joint distribution between independence and the strongest dependence of the marginals.

    p = phi t + (1 - phi) f s, where t is the comonotone coupling (countermonotone where the two are negatively
    correlated) and phi is the correlation of f and s over the largest that any coupling gives. t is not 0 in at most
    17 of the 81 cells: those where one of the two cumulative distributions has a step inside a step of the other. Of
    the others the sum of p ln p is known without a logarithm each.
    """
    correlation = dependence(f, s)
    # the countermonotone coupling with s is the comonotone one with s read backwards
    backwards = (correlation < 0).to(f.dtype)
    s, log_s = torch.lerp(s, s.flip(0), backwards), torch.lerp(log_s, log_s.flip(0), backwards)
    f_to, s_to = cumulated(f), cumulated(s)
    f_from, s_from = f_to - f, s_to - s
    in_s, in_f = ranks(f_to, s_to)
    count = f.shape[1]
    offset = torch.arange(count, device=f.device)
    at_s, at_f = in_s * count + offset, in_f * count + offset
    # sum of min(F_i, S_j) - F_i S_j over all cells, the covariance of the comonotone coupling
    before = functional.pad(cumulated(s_to), (0, 0, 1, 0))
    lower = picked(before, at_s).addcmul_((PLACES - in_s).to(f.dtype), f_to)
    strongest = lower.sum(0) - f_to.sum(0) * s_to.sum(0)
    spreads = spread(f) * spread(s)
    possible = (spreads > 0) & (strongest > 0)
    phi = possible * correlation.abs() * spreads.clamp(min=0).sqrt() / strongest.clamp(min=SMALLEST)
    rest = 1 - phi
    log_rest = surprise(rest)
    result = rest * (log_rest + (f * log_f).sum(0) + (s * log_s).sum(0))
    for step, start, log_step, to, other, other_from, log_other, at in (
        (f, f_from, log_f, f_to, s, s_from, log_s, at_s),
        (s, s_from, log_s, s_to, f, f_from, log_f, at_f),
    ):
        # a tenth place for what lies beyond the last: nothing
        share, log_share = (picked(functional.pad(table, (0, 0, 0, 1)), at) for table in (other, log_other))
        begin = picked(functional.pad(other_from, (0, 0, 0, 1), value=2.0), at)
        coupled = torch.maximum(start, begin).neg_().add_(to).clamp_(min=0)
        apart = share.mul_(step).mul_(rest)
        joint = coupled.mul_(phi).add_(apart)
        log_share.add_(log_step).add_(log_rest).mul_(apart)
        result += surprise(joint).mul_(joint).sub_(log_share).sum(0)
    return -result


def window_values(f: Windows, s: Windows) -> Values:
    """Normalised mutual information 2 I / (H(f) + H(s)) of stretched windows, not both constant."""
    f, s = f / f.sum(0), s / s.sum(0)
    log_f, log_s = surprise(f), surprise(s)
    alone = -(f * log_f).sum(0) - (s * log_s).sum(0)
    return 2 * (alone - joint_information(f, s, log_f, log_s)) / alone.clamp(min=SMALLEST)


@torch.no_grad()
def fmi_values(fused: Tensor, sources: tuple[Tensor, ...]) -> list[Scores]:
    """Mean over the windows of the feature images, for each source. Windows equal to those of F, or both flat, count 1.

    As in the code that made all published values, F's window is compared stretched once an earlier source differed:
    then a single bright sample in black, equal in F and source, counts 0 unless it is 1 itself.
    """
    sums = torch.zeros(len(sources), fused.shape[0], dtype=fused.dtype, device=fused.device)
    for window, *others in zip(*map(windows, (fused, *sources)), strict=True):
        f = stretched(window)
        compared = window
        for result, other in zip(sums, others, strict=True):
            s = stretched(other)
            equal = (compared == other).all(0)
            flat = (f.amin(0) == 1) & (s.amin(0) == 1)
            values = torch.ones_like(f[0])
            rest = (~(equal | flat)).nonzero()[:, 0]
            if len(rest):
                every = len(rest) == len(values)
                values[rest] = window_values(f, s) if every else window_values(f[:, rest], s[:, rest])
            result += values.view(fused.shape[0], -1).sum(1)
            compared = torch.where(equal, compared, f)
    return list(sums / ((fused.shape[-2] - 2) * (fused.shape[-1] - 2)))


def unit(image: Tensor) -> Tensor:
    """Levels 0..255 as 0..1: FMI is unaffected by the scale, but for the rounding that decides between equals."""
    return image / 255


def fmi(
    fused: Image, sources: Images, *, feature: str = "edge", combine: str = "mean", memo: Memo | None = None
) -> Scores:
    """FMI: how much the 3x3 windows of a feature of F tell of those of a source, averaged over the sources, 0..1.

    `feature`: `edge` (thinned Sobel edges as 0/1; the default of the code that everybody uses and what tables call
    FMI_pixel), `raw`, `gradient` (across), `dct` (of the whole image), `w` (one level of the dmey wavelet).
    Unaffected by the scale of the levels. Higher is better. Not differentiable. Haghighat & Razian 2014.

    Raises:
        InputError: an unknown feature.
    """
    memo = memo or Memo()
    if feature not in FEATURES:
        raise InputError(f"feature='{feature}' is not known; use one of {', '.join(FEATURES)}")
    extract = FEATURES[feature]
    result, *others = [memo(extract, memo(unit, memo(grey, image))) for image in (fused, *sources)]
    return combined(memo(fmi_values, result, tuple(others)), combine)


fmi_edge = partial(fmi, feature="edge")
fmi_raw = partial(fmi, feature="raw")
fmi_gradient = partial(fmi, feature="gradient")
fmi_dct = partial(fmi, feature="dct")
fmi_w = partial(fmi, feature="w")
