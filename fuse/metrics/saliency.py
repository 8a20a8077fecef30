"""Metrics of structure, each place judged by the source that has more to say there: Q_S, Q_W, Q_E, Q_C, Q_Y."""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from fuse.metrics.gradient import root
from fuse.metrics.levels import Image, Images, Scores, grey, total
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.structure import GAUSSIAN_11, local_covariance, local_mean, local_variance, ssim_map
from fuse.metrics.windows import Taps, box, gaussian, separable

BOX_8 = box(8)
GAUSSIAN_7 = gaussian(7, 1.5)
TINY = 2e-16  # the constants C1 and C2 of Q_C and Q_Y: none, but for 0 / 0
FLAT = 1e-6  # variance in squared levels below which rounding decides what a source says


def quality_index(x: Tensor, y: Tensor, window: Taps, memo: Memo) -> Tensor:
    """Universal quality index, SSIM without constants: 4 cov mx my / ((vx + vy)(mx^2 + my^2)), valid windows.

    The luminance factor alone where both are flat; 1 where both are 0.
    """
    mean_x, mean_y = memo(local_mean, x, window), memo(local_mean, y, window)
    variances = memo(local_variance, x, window, memo) + memo(local_variance, y, window, memo)
    covariance = memo(local_covariance, x, y, window, memo)
    flat, power = variances < FLAT, mean_x**2 + mean_y**2
    structure = torch.where(flat, 1.0, 2 * covariance / torch.where(flat, 1.0, variances))
    return structure * torch.where(power > 0, 2 * mean_x * mean_y / torch.where(power > 0, power, 1.0), 1.0)


def salient_map(fused: Tensor, sources: Sequence[Tensor], index: str, memo: Memo) -> tuple[Tensor, Tensor]:
    """Likeness to the sources, weighted by their local variances, and the largest of these variances."""
    window = GAUSSIAN_11 if index == "ssim" else BOX_8
    variances = [memo(local_variance, source, window, memo) for source in sources]
    power = torch.stack(variances).sum(0)
    empty = torch.stack([variance == 0 for variance in variances]).all(0)
    result = torch.zeros_like(power)
    for source, variance in zip(sources, variances, strict=True):
        if index == "ssim":
            like = memo(ssim_map, source, fused, window=window, data_range=255.0, memo=memo)[0]
        else:
            like = memo(quality_index, source, fused, window, memo)
        result = result + torch.where(empty, 1 / len(sources), variance / torch.where(empty, 1.0, power)) * like
    # where all are 0 the reference adds one half to each, so they count as much as an eighth of a level squared
    return result, torch.where(empty, 0.5, torch.stack(variances).amax(0))


def q_s(fused: Image, sources: Images, *, index: str = "ssim", memo: Memo | None = None) -> Scores:
    """Q_S: SSIM with each source, weighted at each place by its local variance, mean over the places, -1..1.

    `index`: `ssim` (11x11 Gaussian, sigma 1.5, range 255), or `uiqi`, the universal quality index on 8x8 boxes, as in
    the paper. Higher is better; noise in a source counts as detail. Piella & Heijmans 2003.
    """
    memo = memo or Memo()
    return average(
        memo(salient_map, memo(grey, fused), tuple(memo(grey, source) for source in sources), index, memo)[0]
    )


def _weighted(fused: Tensor, sources: tuple[Tensor, ...], index: str, memo: Memo) -> Scores:
    likeness, saliency = memo(salient_map, fused, sources, index, memo)
    return total(saliency * likeness) / total(saliency)


def q_w(fused: Image, sources: Images, *, index: str = "ssim", memo: Memo | None = None) -> Scores:
    """Q_W: as Q_S, but places count by the largest local variance of the sources, -1..1.

    `index` as in `q_s`. Higher is better; noise in a source counts as detail. Piella & Heijmans 2003.
    """
    memo = memo or Memo()
    return _weighted(memo(grey, fused), tuple(memo(grey, source) for source in sources), index, memo)


def prewitt_strength(image: Tensor) -> Tensor:
    """Magnitude of the Prewitt responses, not normalised, zeros outside."""
    padded = functional.pad(image, (1, 1, 1, 1))
    across, down = separable(padded, (1, 1, 1), (-1, 0, 1)), separable(padded, (-1, 0, 1), (1, 1, 1))
    return root(across**2 + down**2)


def q_e(
    fused: Image, sources: Images, *, index: str = "ssim", edges_only: bool = False, memo: Memo | None = None
) -> Scores:
    """Q_E: Q_W of the pictures times Q_W of their edge magnitudes (Prewitt, zero padding), -1..1.

    `index` as in `q_s`; `edges_only`: the second factor alone, which MEFB prints. Higher is better; noise in a source
    counts as detail. Piella & Heijmans 2003 with alpha 1.
    """
    memo = memo or Memo()
    result, images = memo(grey, fused), tuple(memo(grey, source) for source in sources)
    edges = tuple(memo(prewitt_strength, image) for image in images)
    factor = _weighted(memo(prewitt_strength, result), edges, index, memo)
    return factor if edges_only else factor * _weighted(result, images, index, memo)


def _bare_ssim(x: Tensor, y: Tensor, memo: Memo) -> Tensor:
    """SSIM on 7x7 Gaussians without stabilising constants, limited to -1..1: rounding decides where both are flat."""
    mean_x, mean_y = memo(local_mean, x, GAUSSIAN_7), memo(local_mean, y, GAUSSIAN_7)
    variances = memo(local_variance, x, GAUSSIAN_7, memo) + memo(local_variance, y, GAUSSIAN_7, memo)
    covariance = memo(local_covariance, x, y, GAUSSIAN_7, memo)
    luminance = (2 * mean_x * mean_y + TINY) / (mean_x**2 + mean_y**2 + TINY)
    return (luminance * (2 * covariance + TINY) / (variances + TINY)).clamp(-1, 1)


def _mean_of_defined(values: Tensor) -> Scores:
    return values.flatten(1).nanmean(1)


def q_c(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_C: SSIM (7x7 Gaussian, no constants) with each source, weighted by its local covariance with F, 0..1.

    s_k = cov(S_k, F) / sum of cov(S_j, F); 0 where s of the first source is below 0, 1 where it is above 1 (as
    published code has it, the paper clips s); where all sources are flat (variance below 1e-6) they count alike.
    Higher is better. Cvejic, Loza, Bull, Canagarajah 2005.
    """
    memo = memo or Memo()
    result, images = memo(grey, fused), [memo(grey, source) for source in sources]
    flat = torch.stack([memo(local_variance, image, GAUSSIAN_7, memo) < FLAT for image in images]).all(0)
    covariances = [memo(local_covariance, image, result, GAUSSIAN_7, memo) for image in images]
    total_covariance = torch.stack(covariances).sum(0)
    undefined = (total_covariance == 0) & ~flat
    divisor = torch.where(total_covariance == 0, 1.0, total_covariance)
    values = torch.zeros_like(total_covariance)
    for image, covariance in zip(images, covariances, strict=True):
        share = torch.where(flat, 1 / len(images), covariance / divisor)
        values = values + share * memo(_bare_ssim, image, result, memo)
        if image is images[0]:
            first = share
    values = torch.where(first < 0, 0.0, torch.where(first > 1, 1.0, values))
    return _mean_of_defined(values.where(~undefined, torch.nan))


def q_y(fused: Image, sources: Images, *, flat: str = "left out", memo: Memo | None = None) -> Scores:
    """Q_Y: SSIM (7x7 Gaussian, no constants), variance-weighted where the sources agree, the best of them elsewhere.

    They agree where their SSIM is at least 0.75 (every pair of them, if more than two). Places where all sources are
    flat (variance below 1e-6) say nothing and are left out; `flat="alike"`: there the sources count alike. 0..1,
    higher is better. Yang et al. 2008.
    """
    memo = memo or Memo()
    result, images = memo(grey, fused), [memo(grey, source) for source in sources]
    variances = torch.stack([memo(local_variance, image, GAUSSIAN_7, memo) for image in images])
    nothing = (variances < FLAT).all(0)
    likeness = torch.stack([memo(_bare_ssim, image, result, memo) for image in images])
    shares = torch.where(nothing, 1 / len(images), variances / torch.where(nothing, 1.0, variances.sum(0)))
    agree = torch.ones_like(nothing)
    for i, first in enumerate(images):
        for second in images[i + 1 :]:
            agree = agree & (memo(_bare_ssim, first, second, memo) >= 0.75)
    values = torch.where(agree, (shares * likeness).sum(0), likeness.amax(0))
    return values.flatten(1).mean(1) if flat == "alike" else _mean_of_defined(values.where(~nothing, torch.nan))
