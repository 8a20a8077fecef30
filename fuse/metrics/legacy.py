"""Forms of the metrics that published tables or other libraries use and that should not be used for new ones.

Each takes and returns what the canonical metric does. They exist to reproduce numbers, digit by digit, arithmetic of
8 or 32 bits, sums in a certain order and mistakes included.
"""

import math

import torch

from fuse.metrics.difference import decibel, squared_error
from fuse.metrics.information import entropy, histogram, image_entropy, joint_histogram, mi
from fuse.metrics.levels import Image, Images, Scores, combined, grey, levels, stretched, total
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.statistics import sf

NAVA_ORDER = 0.43137


def ag_forward(fused: Image, *, whole: bool = False) -> Scores:
    """AG of forward differences on the (h-1) x (w-1) top left block, over their number; `whole`: over h w."""
    image = grey(fused)
    across = image[..., :-1, 1:] - image[..., :-1, :-1]
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    strength = torch.sqrt((across**2 + down**2) / 2)
    return total(strength) / (fused.shape[-2] * fused.shape[-1]) if whole else average(strength)


def sd_uint8(fused: Image) -> Scores:
    """SD in MATLAB's saturating 8-bit arithmetic: F - mean is cut to 0..255 and rounded, its square cut to 255."""
    image = grey(fused)
    above = torch.floor((image - image.mean((1, 2, 3), keepdim=True)).clamp(0, 255) + 0.5)
    return torch.sqrt(average((above**2).clamp(max=255)))


def mi_two_entropies(fused: Image, sources: Images) -> Scores:
    """What hli prints as MI: twice the entropy of F, whatever the sources."""
    return 2 * entropy(histogram(fused)) * torch.ones(len(sources[0]), device=fused.device)


def mi_saturated(fused: Image, sources: Images) -> Scores:
    """MI of Tang's code: level 255 counts as 254 in the joint histogram, but not in the marginals."""
    memo, result = Memo(), levels(fused)
    values = []
    for source in (levels(source) for source in sources):
        alone = memo(image_entropy, source, memo) + memo(image_entropy, result, memo)
        values.append(alone - entropy(joint_histogram(source.clamp(max=254), result.clamp(max=254))))
    return combined(values, "sum")


def mi_nats(fused: Image, sources: Images, *, stretch: bool = False) -> Scores:
    """MI with natural logarithms; `stretch`: every picture first stretched to 0..255 by its own extremes."""
    if stretch:
        fused, sources = stretched(fused), [stretched(source) for source in sources]
    return mi(fused, sources) * math.log(2)


def _swapped_tsallis(first: Image, second: Image, order: float) -> Scores:
    """Tsallis information whose p(i, j) stands over the marginals of j and i, not of i and j."""
    joint = joint_histogram(first, second)
    apart = joint.sum(1)[:, :, None] * joint.sum(2)[:, None, :]
    there = (joint > 0) & (apart > 0)
    terms = torch.where(there, joint**order * torch.where(there, apart, 1.0) ** (1 - order), 0.0)
    return (1 - terms.flatten(1).sum(1)) / (1 - order)


def q_te_swapped(fused: Image, sources: Images) -> Scores:
    """Q_TE as Liu and MEFB compute it: marginals swapped, so no divergence at all."""
    result = stretched(fused)
    return combined([_swapped_tsallis(stretched(source), result, 1.85) for source in sources], "sum")


def q_te_nava(fused: Image, sources: Images) -> Scores:
    """Q_TE of order 0.43137 (Liu's third), marginals swapped, over H(A)^q + H(B)^q + T(A, B)."""
    memo, result, images = Memo(), stretched(fused), [stretched(source) for source in sources]
    told = combined([_swapped_tsallis(image, result, NAVA_ORDER) for image in images], "sum")
    alone = combined([image_entropy(image, memo) ** NAVA_ORDER for image in images], "sum")
    return told / (alone + _swapped_tsallis(images[0], images[1], NAVA_ORDER))


def psnr_peak_fused(fused: Image, sources: Images) -> Scores:
    """PSNR with the largest level of F as the peak (CDDFuse, Ma et al. 2019)."""
    memo = Memo()
    error = combined([squared_error(fused, source, memo) for source in sources], "mean")
    return decibel(error, grey(fused).amax((1, 2, 3)))


def _vifb_rmse(fused: Image, sources: Images) -> list[Scores]:
    memo, pixels = Memo(), fused.shape[-2] * fused.shape[-1]
    return [torch.sqrt(squared_error(fused, source, memo) / pixels) for source in sources]


def rmse_vifb(fused: Image, sources: Images) -> Scores:
    """RMSE of VIFB: root of the sum of squares over h w, which depends on the image size."""
    return combined(_vifb_rmse(fused, sources), "mean")


def psnr_vifb(fused: Image, sources: Images) -> Scores:
    """PSNR of VIFB, whose MSE is the mean of `rmse_vifb`."""
    return decibel(combined(_vifb_rmse(fused, sources), "mean"))


def sf_across_channels(fused: Image) -> Scores:
    """SF of VIFB on colour: the channels (the batch) side by side as one image, so differences cross their borders."""
    wide = torch.cat(list(grey(fused)), -1)[None]
    return sf(wide, whole=True)
