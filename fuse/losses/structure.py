"""Terms of local structure: 1 - SSIM and its forms. Means over the places of the window, the channels and the batch.

`data_range` is the width of the recipe's range: 1 for [0, 1], 2 for [-1, 1], 255 for [0, 255]; SSIM depends on it, and
on [-1, 1] also on where the range lies. `importance` is explained in `fuse/losses/importance.py`. `terms.ssim` and
`terms.structure` are the commonest cases.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.losses.gradient import Importance
from fuse.losses.importance import equal
from fuse.losses.intensity import mixture
from fuse.losses.terms import sum_over
from fuse.metrics.structure import SCALE_WEIGHTS, halved, ssim_map
from fuse.metrics.windows import gaussian, smooth

Picture = Float[Tensor, "b c h w"]
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
LEAST = 0.01  # means of contrast-structure below it have no gradient: that of their small powers would be endless


def similarity(
    x: Picture, y: Picture, data_range: float, window: int, sigma: float, luminance: bool
) -> Float[Tensor, "b c i j"]:
    """SSIM at every place of a `window` x `window` Gaussian; without `luminance` its contrast-structure factor."""
    whole, contrast_structure = ssim_map(x, y, window=gaussian(window, sigma), data_range=data_range)
    return whole if luminance else contrast_structure


def to_role(
    fused: Picture,
    sample: Sample,
    role: str,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
    luminance: bool = True,
) -> Tensor:
    """1 - mean SSIM(F, I), I one source or the reference.

    DenseFuse: no luminance, data_range 1 on 0..255. SESF-Fuse 1000: window 5. Text-IF: window 48. CDDFuse's phase I 5,
    UFGAN, SwinMFF 0.8: the defaults, with the width of their range.
    """
    return 1 - similarity(fused, sample.role(role), data_range, window, sigma, luminance).mean()


def to_maximum(fused: Picture, sample: Sample, data_range: float = 1.0, window: int = 11, sigma: float = 1.5) -> Tensor:
    """1 - mean SSIM(F, max_i I_i)."""
    return 1 - similarity(fused, torch.stack(sample.sources).amax(0), data_range, window, sigma, True).mean()


def to_sources(
    fused: Picture,
    sample: Sample,
    importance: Importance = equal,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
) -> Tensor:
    """sum_i mean(w_i (1 - SSIM(F, I_i))), w the importance of the sources at the centre of the window.

    With weights that sum to 1 it is 1 - sum_i w_i SSIM(F, I_i). SwinFusion 10: `importance.gradient_share` (medical 50:
    equal). U2Fusion 1: `importance.information`. TarDAL v0 1: `importance.histogram_contrast`. ReCoNet: equal.
    """
    parts = []
    for weight, source in zip(importance(sample), sample.sources, strict=True):
        lost = 1 - similarity(fused, source, data_range, window, sigma, True)
        parts.append((central(weight, lost) * lost).mean())
    return sum_over(parts)


def multiscale_to_role(
    fused: Picture, sample: Sample, role: str, data_range: float = 1.0, normalised: bool = False
) -> Tensor:
    """1 - mean MS-SSIM(F, I), I one source or the reference; `multiscale` says more.

    NestFuse 100, RFN-Nest 700 and DenseFuse's PyTorch version: `normalised`, data_range 255.
    """
    return 1 - multiscale(fused, sample.role(role), data_range, normalised).mean()


def multiscale_to_sources(
    fused: Picture,
    sample: Sample,
    importance: Importance = equal,
    data_range: float = 1.0,
    normalised: bool = False,
) -> Tensor:
    """sum_i mean(w_i (1 - MS-SSIM(F, I_i))), w the importance of each picture (its mean, where it is a map)."""
    pairs = zip(importance(sample), sample.sources, strict=True)
    return sum_over((w.mean((1, 2, 3)) * (1 - multiscale(fused, x, data_range, normalised))).mean() for w, x in pairs)


def multiscale_to_mixture(
    fused: Picture, sample: Sample, importance: Importance, data_range: float = 1.0, normalised: bool = False
) -> Tensor:
    """1 - mean MS-SSIM(F, sum_i w_i I_i). UMF-CMGR 1: `importance.histogram_contrast`."""
    return 1 - multiscale(fused, mixture(sample, importance), data_range, normalised).mean()


def blend_to_sources(
    fused: Picture,
    sample: Sample,
    importance: Importance = equal,
    data_range: float = 1.0,
    alpha: float = 0.025,
    compensation: float = 200.0,
) -> Tensor:
    """sum_i mean(w_i c (alpha (1 - MS-SSIM) + (1 - alpha) G * |F - I_i| / data_range)), c the compensation.

    Here MS-SSIM is a map at full size: luminance under a Gaussian of sigma 8 times contrast-structure under sigmas 0.5,
    1, 2, 4, 8 (33 taps, zeros outside); G is the Gaussian of sigma 8. Zhao et al. 2017 with alpha 0.025; the SSIM loss
    of TarDAL v1 (0.8).
    """
    pairs = zip(importance(sample), sample.sources, strict=True)
    return sum_over((w * compensation * blend(fused, x, data_range, alpha)).mean() for w, x in pairs)


def multiscale(x: Picture, y: Picture, data_range: float, normalised: bool = False) -> Float[Tensor, "b"]:
    """MS-SSIM: product over five scales of mean contrast-structure (SSIM at the last) ^ weight, mean over channels.

    Weights .0448 .2856 .3001 .2363 .1333, 2x2 means between scales. The 11x11 window is cut to what is left of small
    patches; from 176 pixels up it is the metric `ms_ssim`. Means below 0.01 count as 0.01 and have no gradient;
    `normalised` brings every mean m to (m + 1) / 2 first, which always has one. Wang et al. 2003.
    """
    batch = x.shape[0]
    x, y = x.flatten(0, 1).unsqueeze(1), y.flatten(0, 1).unsqueeze(1)
    product = x.new_ones(x.shape[0])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        last = scale == len(SCALE_WEIGHTS) - 1
        value = similarity(x, y, data_range, min(11, *x.shape[-2:]), 1.5, last).mean((1, 2, 3))
        product = product * ((value + 1) / 2 if normalised else value).clamp_min(LEAST) ** weight
        if not last:
            x, y = halved(x), halved(y)
    return product.view(batch, -1).mean(1)


def blend(x: Picture, y: Picture, data_range: float, alpha: float) -> Picture:
    """alpha (1 - MS-SSIM map) + (1 - alpha) G * |x - y| / data_range; see `blend_to_sources`."""
    x, y = (F.pad(picture / data_range, (16,) * 4) for picture in (x, y))
    product = torch.ones_like(x[..., 16:-16, 16:-16])
    for sigma in SIGMAS:
        whole, contrast_structure = ssim_map(x, y, window=gaussian(33, sigma), data_range=1.0)
        product = product * (whole if sigma == SIGMAS[-1] else contrast_structure)
    return alpha * (1 - product) + (1 - alpha) * smooth((x - y).abs(), gaussian(33, 8.0))


def central(weight: Float[Tensor, "b c y x"], places: Float[Tensor, "b k i j"]) -> Tensor:
    """Weights at the centres of the windows; a weight per picture as it is."""
    if weight.shape[-2:] == (1, 1):
        return weight
    top, left = ((a - b) // 2 for a, b in zip(weight.shape[-2:], places.shape[-2:], strict=True))
    return weight[..., top : top + places.shape[-2], left : left + places.shape[-1]]
