"""FMI: mutual information of features in 3x3 windows, treated as distributions over the nine places."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.features import FEATURES
from fuse.metrics.levels import Image, Images, Scores, combined, grey
from fuse.metrics.memo import Memo

PLACES = 9
CHUNK = 2048  # windows at a time: their 9x9 joint distributions stay in the cache
SMALLEST = 1e-300


def windows(feature: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "9 windows"]:
    """All 3x3 windows, their samples column by column."""
    height, width = feature.shape[-2:]
    parts = [
        feature[:, 0, row : height - 2 + row, column : width - 2 + column].flatten()
        for column in range(3)
        for row in range(3)
    ]
    return torch.stack(parts)


def stretched(samples: Float[Tensor, "9 windows"]) -> Float[Tensor, "9 windows"]:
    """Each window stretched to 0..1 by its extremes; constant windows become 1."""
    low, high = samples.amin(0), samples.amax(0)
    flat = (low == high).to(samples.dtype)
    return (samples - low) / (high - low + flat) + flat


def information(shares: Tensor) -> Tensor:
    """-sum p ln|p| over the first axis; p may be slightly negative in a joint distribution."""
    return -(shares.abs().clamp_(min=SMALLEST).log_().mul_(shares)).sum(0)


def dependence(f: Float[Tensor, "9 windows"], s: Float[Tensor, "9 windows"]) -> Float[Tensor, "windows"]:
    """Pearson correlation of two distributions, -1..1; 0 where one is uniform."""
    f, s = f - 1 / PLACES, s - 1 / PLACES
    return (f * s).sum(0) / ((f * f).sum(0) * (s * s).sum(0)).sqrt_().clamp_(min=SMALLEST)


def joint_information(f: Float[Tensor, "9 windows"], s: Float[Tensor, "9 windows"]) -> Float[Tensor, "windows"]:
    """Entropy of the joint distribution between independence and the strongest dependence the marginals allow.

    phi t + (1 - phi) f s, where t is the comonotone coupling (countermonotone where the two are negatively
    correlated) and phi is the correlation of f and s over the largest that any coupling gives.
    """
    correlation = dependence(f, s)
    # the countermonotone coupling with s is the comonotone one with s read backwards
    backwards = (correlation < 0).to(f.dtype)
    s = torch.lerp(s, s.flip(0), backwards)
    index = torch.arange(1.0, PLACES + 1, dtype=f.dtype, device=f.device)[:, None]
    mean_f, mean_s = (index * f).sum(0), (index * s).sum(0)
    spread = ((index**2 * f).sum(0) - mean_f**2) * ((index**2 * s).sum(0) - mean_s**2)
    f_to, s_to = f.cumsum(0), s.cumsum(0)
    low = torch.minimum(f_to[:, None], s_to[None])
    strongest = low.sum((0, 1)) - f_to.sum(0) * s_to.sum(0)
    possible = (spread > 0) & (strongest > 0)
    phi = possible * correlation.abs() * spread.clamp(min=0).sqrt() / strongest.clamp(min=SMALLEST)
    coupled = low.sub_(torch.maximum((f_to - f)[:, None], (s_to - s)[None])).clamp_(min=0).mul_(phi)
    return information(coupled.addcmul_(((1 - phi) * f)[:, None], s[None]).flatten(0, 1))


def window_values(f: Float[Tensor, "9 windows"], s: Float[Tensor, "9 windows"]) -> Float[Tensor, "windows"]:
    """Normalised mutual information 2 I / (H(f) + H(s)) of stretched windows; 1 where both are constant."""
    flat = (f.amin(0) == 1) & (s.amin(0) == 1)
    f, s = f / f.sum(0), s / s.sum(0)
    alone = information(f) + information(s)
    value = 2 * (alone - joint_information(f, s)) / alone.clamp(min=SMALLEST)
    return torch.where(flat, 1.0, value)


@torch.no_grad()
def fmi_values(fused: Tensor, sources: tuple[Tensor, ...]) -> list[Scores]:
    """Mean over the windows of the feature images, for each source. Windows equal to those of F count 1.

    As in the code that made all published values, F's window is compared stretched once an earlier source differed:
    then a single bright sample in black, equal in F and source, counts 0 unless it is 1 itself.
    """
    values: list[list[Tensor]] = [[] for _ in sources]
    chunks = zip(*(windows(image).split(CHUNK, 1) for image in (fused, *sources)), strict=True)
    for window, *others in chunks:
        f = stretched(window)
        compared = window
        for result, other in zip(values, others, strict=True):
            equal = (compared == other).all(0)
            result.append(torch.where(equal, 1.0, window_values(f, stretched(other))))
            compared = torch.where(equal, compared, f)
    return [torch.cat(result).view(fused.shape[0], -1).mean(1) for result in values]


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
        InputError: an unknown feature; a side below 3 pixels.
    """
    memo = memo or Memo()
    extract = FEATURES[feature]
    result, *others = [memo(extract, memo(unit, memo(grey, image))) for image in (fused, *sources)]
    return combined(memo(fmi_values, result, tuple(others)), combine)


fmi_edge = partial(fmi, feature="edge")
fmi_raw = partial(fmi, feature="raw")
fmi_gradient = partial(fmi, feature="gradient")
fmi_dct = partial(fmi, feature="dct")
fmi_w = partial(fmi, feature="w")
