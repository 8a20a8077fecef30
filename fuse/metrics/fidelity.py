"""Metrics of information fidelity: what a model of natural scenes and of the eye can still read."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fuse.metrics.levels import Image, Images, Mask, Scores, combined, grey, total
from fuse.metrics.memo import Memo
from fuse.metrics.structure import local_covariance, local_variance
from fuse.metrics.windows import Taps, decimated, gaussian, middle

WINDOWS = tuple(gaussian(size, size / 5) for size in (17, 9, 5, 3))  # from fine to coarse
GUARD = 1e-10
NOISE = 2.0  # variance of the noise of the eye, squared grey levels
NOISE_VIFF = 0.005 * 255**2
VIFF_WEIGHTS = (1.0, 0.0, 0.15, 1.0)


def pyramid(image: Tensor, memo: Memo) -> Iterator[tuple[Tensor, Taps]]:
    """The image at each of the four scales, with the window of that scale."""
    yield image, WINDOWS[0]
    for window in WINDOWS[1:]:
        image = memo(decimated, image, window)
        yield image, window


def places(mask: Mask | None) -> Iterator[Mask | None]:
    """At each of the four scales, which windows have their middle in the mask; None is everywhere."""
    for scale, window in enumerate(WINDOWS):
        if mask is not None and scale:
            mask = middle(mask, window, 2)
        yield mask if mask is None else middle(mask, window)


def model(variance: Tensor, variance_fused: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The model F = g S + noise from local moments: g, variance of the noise, variance of S, flat places taken out."""
    variance, variance_fused = variance.clamp(min=0), variance_fused.clamp(min=0)
    gain = covariance / (variance + GUARD)
    noise = variance_fused - gain * covariance
    flat, flat_fused, opposed = variance < GUARD, variance_fused < GUARD, gain < 0
    noise = torch.where(flat | opposed, variance_fused, noise)
    noise = torch.where(flat_fused, 0.0, noise).clamp(min=GUARD)
    gain = torch.where(flat | flat_fused | opposed, 0.0, gain)
    return gain, noise, torch.where(flat, 0.0, variance)


def gain_and_noise(source: Tensor, fused: Tensor, window: Taps, memo: Memo) -> tuple[Tensor, Tensor, Tensor]:
    """`model` of two images at every place of the window."""
    return model(
        memo(local_variance, source, window, memo),
        memo(local_variance, fused, window, memo),
        memo(local_covariance, source, fused, window, memo),
    )


def kept_and_there(gain: Tensor, noise: Tensor, variance: Tensor, *, mask: Mask | None = None) -> tuple[Scores, Scores]:
    """Information (times ln 2 / 2) that the eye gets of S from F, and from S itself, in all or in the mask."""
    kept, there = torch.log1p(gain**2 * variance / (noise + NOISE)), torch.log1p(variance / NOISE)
    return total(kept, mask), total(there, mask)


def vif_of(source: Tensor, fused: Tensor, mask: Mask | None, memo: Memo) -> Scores:
    """VIF of one source: information of it that the eye gets from `fused`, over what it gets from the source itself."""
    scales = zip(pyramid(source, memo), pyramid(fused, memo), places(mask), strict=True)
    parts = [kept_and_there(*memo(gain_and_noise, x, y, window, memo), mask=at) for (x, window), (y, _), at in scales]
    kept, there = zip(*parts, strict=True)
    return torch.stack(kept).sum(0) / torch.stack(there).sum(0)


def vif(
    fused: Image, sources: Images, *, combine: str = "sum", mask: Mask | None = None, memo: Memo | None = None
) -> Scores:
    """VIF: visual information fidelity in the pixel domain, four scales, summed over the sources, 0..2 and above.

    Contrast beyond that of a source raises it above 1 per source. `mask`: at every scale the sums are over the windows
    whose middle is in it (see `vif_body`). NaN where a source is constant. Higher is better.
    Differentiable. Needs float64, which it uses. CDDFuse prints it as VIFF. Sheikh & Bovik 2006.

    Raises:
        InputError: a side is below 41 pixels.
    """
    memo = memo or Memo()
    return combined([memo(vif_of, memo(grey, source), memo(grey, fused), mask, memo) for source in sources], combine)


def viff(fused: Image, sources: Images, *, combine: str = "weakest", memo: Memo | None = None) -> Scores:
    """VIFF: VIF for a noisier eye (variance 325), each place judged by the source that F follows less, 0..1 and above.

    Scales weigh 1, 0, 0.15, 1 over 2.15; ties go to the later source. `combine`: `weakest` place by place; `min`,
    `mean` of each source's own VIFF. Higher is better. Differentiable. Han et al. 2013.

    Raises:
        InputError: a side is below 41 pixels.
    """
    memo = memo or Memo()
    if combine != "weakest":
        return combined([viff(fused, [source], memo=memo) for source in sources], combine)
    pyramids = [list(pyramid(memo(grey, source), memo)) for source in sources]
    result = torch.zeros(fused.shape[0], dtype=torch.float64, device=fused.device)
    for scale, (y, window) in enumerate(pyramid(memo(grey, fused), memo)):
        if not VIFF_WEIGHTS[scale]:
            continue
        gain, noise, variance = memo(gain_and_noise, pyramids[0][scale][0], y, window, memo)
        for images in pyramids[1:]:
            other = memo(gain_and_noise, images[scale][0], y, window, memo)
            first = gain < other[0]
            gain, noise, variance = (
                torch.where(first, mine, its) for mine, its in zip((gain, noise, variance), other, strict=True)
            )
        kept = torch.log10(1 + gain**2 * variance / (noise + NOISE_VIFF))
        there = torch.log10(1 + variance / NOISE_VIFF)
        result = result + VIFF_WEIGHTS[scale] * total(kept + 1e-7) / total(there + 1e-7)
    return result / sum(VIFF_WEIGHTS)
