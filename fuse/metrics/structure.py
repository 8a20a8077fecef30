"""Metrics of local structure: the SSIM family."""

from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, combined, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.windows import Taps, gaussian, smooth

GAUSSIAN_11 = gaussian(11, 1.5)
Map = Float[Tensor, "b c y x"]


def local_mean(image: Tensor, window: Taps) -> Tensor:
    """Mean under the window."""
    return smooth(image, window)


def local_variance(image: Tensor, window: Taps, memo: Memo) -> Tensor:
    """Weighted population variance under the window."""
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


def ssim(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """SSIM: mean of the SSIM map (11x11 Gaussian, sigma 1.5, valid, range 255), averaged over the sources, -1..1.

    Higher is better; the mean of the sources does well. Wang et al. 2004.
    """
    memo = memo or Memo()
    values = [average(_ssim_255(memo(grey, source), memo(grey, fused), memo)[0]) for source in sources]
    return combined(values, combine)


def _ssim_255(x: Tensor, y: Tensor, memo: Memo) -> tuple[Tensor, Tensor]:
    return memo(_plain_ssim_map, x, y, memo)


def _plain_ssim_map(x: Tensor, y: Tensor, memo: Memo) -> tuple[Tensor, Tensor]:
    return ssim_map(x, y, memo=memo)
