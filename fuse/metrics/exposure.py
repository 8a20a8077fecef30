"""MEF-SSIM: structure of the sources that a multi-exposure fusion should show."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.structure import GAUSSIAN_11, SCALE_WEIGHTS, halved, local_covariance, local_variance
from fuse.metrics.windows import box

SIDE = 11
BOX = box(SIDE)
STABILITY = (0.03 * 255) ** 2
EPSILON = 2.0**-52  # of MATLAB


def _quadratic(weights: Sequence[Tensor], images: Sequence[Tensor], window: tuple[float, ...], memo: Memo) -> Tensor:
    """Local variance of the sum of images, each times its weight at the centre of the window."""
    result = torch.zeros(())
    for i, (weight, image) in enumerate(zip(weights, images, strict=True)):
        result = result + weight**2 * memo(local_variance, image, window, memo)
        for j in range(i):
            result = result + 2 * weight * weights[j] * memo(local_covariance, images[j], image, window, memo)
    return result


def mef_ssim_map(fused: Tensor, sources: Sequence[Tensor], memo: Memo) -> Tensor:
    """Likeness of every 11x11 patch of `fused` to the patch that has the strongest contrast of the sources.

    The wanted patch is the sum of the sources' patches without their means, normalised, weighted by their contrast
    to a power that grows with how well they agree, scaled to the largest contrast.
    """
    norms = [SIDE * memo(local_variance, source, BOX, memo).clamp(min=0).sqrt() for source in sources]
    contrasts = [norm + 0.001 for norm in norms]
    one = [torch.ones_like(norm) for norm in norms]
    joint = SIDE * _quadratic(one, sources, BOX, memo).clamp(min=0).sqrt()
    consistency = ((joint + EPSILON) / (sum(norms) + EPSILON)).clamp(0, 1 - EPSILON)
    power = torch.tan(math.pi / 2 * consistency).clamp(max=10)
    weights = [(contrast / SIDE) ** power + EPSILON for contrast in contrasts]
    total = torch.stack(weights).sum(0)
    shares = [weight / total / contrast for weight, contrast in zip(weights, contrasts, strict=True)]
    norm = SIDE * _quadratic(shares, sources, BOX, memo).clamp(min=0).sqrt()
    gain = torch.where(norm > 0, torch.stack(contrasts).amax(0) / torch.where(norm > 0, norm, 1.0), 0.0)
    variance = gain**2 * _quadratic(shares, sources, GAUSSIAN_11, memo)
    covariance = gain * sum(
        share * memo(local_covariance, source, fused, GAUSSIAN_11, memo)
        for share, source in zip(shares, sources, strict=True)
    )
    return (2 * covariance + STABILITY) / (variance + memo(local_variance, fused, GAUSSIAN_11, memo) + STABILITY)


def mef_ssim(fused: Image, sources: Images, *, scales: int = 3, memo: Memo | None = None) -> Scores:
    """MEF-SSIM: likeness of local contrast and structure to the best that the sources offer, 0..1.

    Product over three scales of the mean of `mef_ssim_map` ^ weight, weights .0448 .2856 .3001 divided by their sum;
    `scales=1`: the mean of the map. Higher is better; blind to the brightness of the fused picture. Several suites
    print it as MS_SSIM. Ma, Zeng, Wang 2015.

    Raises:
        InputError: a side is below 44 pixels (11 for one scale).
    """
    memo = memo or Memo()
    result, images = memo(grey, fused), [memo(grey, source) for source in sources]
    weights = SCALE_WEIGHTS[:scales]
    product = torch.ones(fused.shape[0], dtype=torch.float64, device=fused.device)
    for scale, weight in enumerate(weights):
        value = average(mef_ssim_map(result, images, memo))
        product = product * value.clamp(min=0) ** (weight / sum(weights))
        if scale < scales - 1:
            result, images = memo(halved, result), [memo(halved, image) for image in images]
    return product
