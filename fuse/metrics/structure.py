"""Metrics of local structure: the SSIM family."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Mask, Scores, combined, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.windows import Taps, gaussian, middle, smooth

Map = Float[Tensor, "b c y x"]
GAUSSIAN_11 = gaussian(11, 1.5)
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def local_mean(image: Tensor, window: Taps) -> Tensor:
    """Mean under the window."""
    return smooth(image, window)


def local_variance(image: Tensor, window: Taps, memo: Memo) -> Tensor:
    """Weighted population variance under the window; rounding can leave it slightly negative."""
    return smooth(image * image, window) - memo(local_mean, image, window) ** 2


def local_covariance(first: Tensor, second: Tensor, window: Taps, memo: Memo) -> Tensor:
    """Weighted population covariance under the window."""
    return smooth(first * second, window) - memo(local_mean, first, window) * memo(local_mean, second, window)


def ssim_map(
    x: Float[Tensor, "b c h w"],
    y: Float[Tensor, "b c h w"],
    *,
    window: Taps = GAUSSIAN_11,
    data_range: float = 255.0,
    k1: float = 0.01,
    k2: float = 0.03,
    memo: Memo | None = None,
) -> tuple[Map, Map]:
    """SSIM and its contrast-structure factor (2 cov + C2) / (var x + var y + C2) at every place of the window.

    Computed in the precision of the input (float32 on levels 0..255 or 0..1 is good to 2e-5), each channel for
    itself, valid windows only: the maps are smaller than the images by the window minus one. C1 = (k1 data_range)^2,
    C2 = (k2 data_range)^2, weighted population moments. `window`: taps along each axis, sum 1. Wang et al. 2004.

    Raises:
        InputError: the images are smaller than the window.
    """
    memo = memo or Memo()
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    mean_x, mean_y = memo(local_mean, x, window), memo(local_mean, y, window)
    variances = memo(local_variance, x, window, memo) + memo(local_variance, y, window, memo)
    covariance = memo(local_covariance, x, y, window, memo)
    contrast_structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * contrast_structure, contrast_structure


def ssim(
    fused: Image,
    sources: Images,
    *,
    combine: str = "mean",
    window: Taps = GAUSSIAN_11,
    data_range: float = 255.0,
    border: str = "valid",
    mask: Mask | None = None,
    memo: Memo | None = None,
) -> Scores:
    """SSIM: mean of the SSIM map (11x11 Gaussian, sigma 1.5, valid windows, range 255), averaged over sources, -1..1.

    `border`: `valid`, or `replicate` for a map as large as the image, as MATLAB's `ssim`. `mask`: the mean is over the
    windows whose middle is in it (see `ssim_body`). Higher is better; the mean of the sources does well.
    Differentiable. Wang et al. 2004.
    """
    memo = memo or Memo()
    margin = len(window) // 2 if border == "replicate" else 0
    result = memo(extended, memo(grey, fused), margin)
    places = mask if mask is None or margin else middle(mask, window)
    values = []
    for source in sources:
        maps = memo(
            ssim_map,
            memo(extended, memo(grey, source), margin),
            result,
            window=window,
            data_range=data_range,
            memo=memo,
        )
        values.append(average(maps[0], places))
    return combined(values, combine)


def extended(image: Tensor, margin: int) -> Tensor:
    """The image with its border pixels repeated `margin` times outwards."""
    return functional.pad(image, (margin,) * 4, mode="replicate") if margin else image


def halved(image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
    """Means of 2x2 pixels; the last row and column of odd sizes are repeated."""
    height, width = image.shape[-2:]
    padded = functional.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
    return functional.avg_pool2d(padded, 2)


def ms_ssim_of(x: Tensor, y: Tensor, memo: Memo) -> Scores:
    """MS-SSIM of two images: product over five scales of the mean contrast-structure (SSIM at the last) ^ weight."""
    product = torch.ones(x.shape[0], dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        last = scale == len(SCALE_WEIGHTS) - 1
        full, contrast_structure = memo(ssim_map, x, y, window=GAUSSIAN_11, data_range=255.0, memo=memo)
        # a negative mean has no real power: such a pair has nothing in common at that scale
        product = product * average(full if last else contrast_structure).clamp(min=0) ** weight
        if not last:
            x, y = memo(halved, x), memo(halved, y)
    return product


def ms_ssim(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """MS-SSIM: SSIM over five scales, weights .0448 .2856 .3001 .2363 .1333, averaged over the sources, 0..1.

    Contrast-structure at scales 1 to 4, full SSIM at 5; between scales 2x2 means, the last row and column of odd sizes
    repeated. What some suites print as MS_SSIM is `mef_ssim`. Higher is better. Differentiable. Wang et al. 2003.

    Raises:
        InputError: a side is below 176 pixels.
    """
    memo = memo or Memo()
    return combined([ms_ssim_of(memo(grey, source), memo(grey, fused), memo) for source in sources], combine)
