"""Metrics that filter with the contrast sensitivity of the eye: Q_CV and Q_CB."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor

from fuse.metrics.gradient import sobel
from fuse.metrics.levels import Image, Images, Scores, stretched
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.windows import separable

BLOCK = 16  # pixels
MASKING = 1e-4


def mannos_sakrison(radius: Tensor) -> Tensor:
    """Contrast sensitivity 2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1)."""
    return 2.6 * (0.0192 + 0.144 * radius) * torch.exp(-((0.144 * radius) ** 1.1))


def difference_of_gaussians(radius: Tensor) -> Tensor:
    """Contrast sensitivity exp(-(r / 15.387)^2) - 0.7622 exp(-(r / 1.3456)^2)."""
    return torch.exp(-((radius / 15.3870) ** 2)) - 0.7622 * torch.exp(-((radius / 1.3456) ** 2))


def sensed(image: Tensor, sensitivity: Callable[[Tensor], Tensor], divisor: float) -> Tensor:
    """The image filtered by a radial sensitivity of r = |(u w, v h)| / divisor, frequencies u and v in -1..1."""
    height, width = image.shape[-2:]
    vertical = torch.fft.fftfreq(height, dtype=image.dtype, device=image.device) * 2 * height / divisor
    horizontal = torch.fft.rfftfreq(width, dtype=image.dtype, device=image.device) * 2 * width / divisor
    radius = torch.sqrt(vertical[:, None] ** 2 + horizontal**2)
    return torch.fft.irfft2(torch.fft.rfft2(image) * sensitivity(radius), s=(height, width))


def block_means(image: Tensor) -> Tensor:
    """Mean of each 16x16 block, zeros added at the bottom and right."""
    height, width = image.shape[-2:]
    return functional.avg_pool2d(functional.pad(image, (0, -width % BLOCK, 0, -height % BLOCK)), BLOCK)


def q_cv(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_CV: error that the eye sees in 16x16 blocks, weighted by how salient the blocks of the source are, 0..65025.

    Pictures stretched to 0..255 by their own extremes; D = mean square of S - F after the Mannos-Sakrison filter,
    saliency = sum of Sobel magnitude^5; sum(l_k D_k) / sum(l_k). Lower is better; a few blocks with the strongest
    edges decide. NaN where no source has an edge. Not differentiable. Chen & Varshney 2007.
    """
    memo = memo or Memo()
    result = memo(stretched, fused)
    weighted, weights = [], []
    for source in (memo(stretched, source) for source in sources):
        across, down = memo(sobel, source, "zeros")
        saliency = block_means((across**2 + down**2) ** 2.5)
        error = block_means(sensed(source - result, mannos_sakrison, 8) ** 2)
        weighted.append((saliency * error).flatten(1).sum(1))
        weights.append(saliency.flatten(1).sum(1))
    return torch.stack(weighted).sum(0) / torch.stack(weights).sum(0)


def _gaussian_mean(image: Tensor, sigma: float) -> Tensor:
    """Mean under a 31x31 Gaussian, not normalised, zeros outside."""
    taps = [math.exp(-(i**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for i in range(-15, 16)]
    return separable(functional.pad(image, (15, 15, 15, 15)), taps, taps)


def masked_contrast(image: Tensor, memo: Memo) -> Tensor:
    """C^3 / (C^2 + 1e-4) of the local contrast C = |G2 * x / G4 * x - 1| of what the eye passes on."""
    seen = sensed(image, difference_of_gaussians, 30)
    contrast = torch.abs(_gaussian_mean(seen, 2) / _gaussian_mean(seen, 4) - 1)
    return contrast**3 / (contrast**2 + MASKING)


def q_cb(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_CB: ratio of the weaker to the stronger local contrast of F and a source, sources weighted by contrast^2, 0..1.

    Pictures stretched to 0..255 by their own extremes; band-pass contrast sensitivity, masking as in
    `masked_contrast`. Higher is better. Not differentiable. Chen & Blum 2009.
    """
    memo = memo or Memo()
    result = memo(masked_contrast, memo(stretched, fused), memo)
    kept, power = torch.zeros_like(result), torch.zeros_like(result)
    for source in sources:
        contrast = memo(masked_contrast, memo(stretched, source), memo)
        ratio = torch.minimum(contrast, result) / torch.maximum(contrast, result)
        kept, power = kept + contrast**2 * ratio, power + contrast**2
    return average(kept / power)
