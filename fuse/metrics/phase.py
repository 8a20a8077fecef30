"""Q_P: phase congruency of the fused picture and of its sources (Kovesi's filters)."""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, grey
from fuse.metrics.memo import Memo
from fuse.metrics.windows import gaussian, smooth

SCALES, ORIENTATIONS = 4, 6
WAVELENGTH, FACTOR = 3.0, 2.1  # pixels; from scale to scale
BANDWIDTH = 0.55  # sigma over centre frequency of the log Gabor filters
ANGULAR = math.pi / ORIENTATIONS / 1.2
NOISE_DEVIATIONS, NOISE_SHRINK = 2.0, 1.7
CUTOFF, GAIN = 0.5, 10.0
EPSILON = 1e-4
FEATURE = 0.1  # phase congruency from which a place counts as a feature
WINDOW = gaussian(11, 1.5)


def _frequencies(size: int, like: Tensor) -> Tensor:
    """Normalised frequencies in the order of the FFT; Kovesi divides by n - 1 where n is odd."""
    centred = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    return torch.fft.ifftshift(centred / (size - size % 2))


def lowpass(height: int, width: int, like: Tensor) -> Float[Tensor, "h w"]:
    """Butterworth low-pass, cut off at 0.45, order 15; a place off centre where a side is odd, as Kovesi's."""
    y, x = (
        torch.fft.fftshift((torch.arange(size, dtype=like.dtype, device=like.device) - size // 2) / size)
        for size in (height, width)
    )
    return 1 / (1 + ((y[:, None] ** 2 + x[None] ** 2) / 0.45**2) ** 15)


def filters(height: int, width: int, like: Tensor) -> tuple[Float[Tensor, "s h w"], Float[Tensor, "o h w"]]:
    """Radial (log Gabor, one per scale) and angular (one per orientation) filters; one of each makes a filter."""
    y, x = _frequencies(height, like)[:, None], _frequencies(width, like)[None]
    radius = torch.sqrt(x**2 + y**2)
    radius[0, 0] = 1
    scales = torch.arange(SCALES, dtype=like.dtype, device=like.device)[:, None, None]
    radial = torch.exp(-(torch.log(radius * WAVELENGTH * FACTOR**scales) ** 2) / (2 * math.log(BANDWIDTH) ** 2))
    radial = radial * lowpass(height, width, like)
    radial[:, 0, 0] = 0
    theta = torch.atan2(-y, x)
    angles = math.pi / ORIENTATIONS * torch.arange(ORIENTATIONS, dtype=like.dtype, device=like.device)[:, None, None]
    difference = torch.atan2(torch.sin(theta - angles), torch.cos(theta - angles))
    return radial, torch.exp(-(difference**2) / (2 * ANGULAR**2))


def phase_congruency(image: Float[Tensor, "b 1 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Phase congruency, and maximum and minimum moment of its variation with orientation, at every pixel."""
    height, width = image.shape[-2:]
    radial, angular = filters(height, width, image)
    spectrum = torch.fft.fft2(image)
    energy_sum = amplitude_sum = torch.zeros_like(image)
    xx = yy = xy = torch.zeros_like(image)
    for index, spread in enumerate(angular):
        bank = radial * spread
        response = torch.fft.ifft2(spectrum * bank)  # (b, scales, h, w): even part real, odd part imaginary
        amplitude = response.abs()
        even, odd = response.real.sum(1, keepdim=True), response.imag.sum(1, keepdim=True)
        length = torch.sqrt(even**2 + odd**2) + EPSILON
        even, odd = even / length, odd / length
        energy = (
            response.real * even + response.imag * odd - torch.abs(response.real * odd - response.imag * even)
        ).sum(1, keepdim=True)
        energy = (energy - noise_threshold(amplitude[:, 0], bank)[:, None, None, None]).clamp(min=0)
        amplitudes = amplitude.sum(1, keepdim=True)
        spread_of_scales = amplitudes / (amplitude.amax(1, keepdim=True) + EPSILON) / SCALES
        energy = energy * torch.sigmoid(GAIN * (spread_of_scales - CUTOFF))
        energy_sum, amplitude_sum = energy_sum + energy, amplitude_sum + amplitudes
        congruency = energy / amplitudes
        angle = index * math.pi / ORIENTATIONS
        across, down = congruency * math.cos(angle), congruency * math.sin(angle)
        xx, yy, xy = xx + across**2, yy + down**2, xy + across * down
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    difference = torch.sqrt(xy**2 + (xx - yy) ** 2) + EPSILON
    return energy_sum / (amplitude_sum + EPSILON), (xx + yy + difference) / 2, (xx + yy - difference) / 2


def median(values: Float[Tensor, "b n"]) -> Scores:
    """Median of each row: of an even number, the mean of the two in the middle."""
    size = values.shape[1]
    lower = values.kthvalue((size + 1) // 2, dim=1).values
    return lower if size % 2 else (lower + values.kthvalue(size // 2 + 1, dim=1).values) / 2


def noise_threshold(finest: Float[Tensor, "b h w"], bank: Float[Tensor, "s h w"]) -> Scores:
    """Energy that noise alone reaches, from the median amplitude at the finest scale."""
    power = median((finest**2).flatten(1)) / math.log(2) / (bank[0] ** 2).sum()
    # the real parts of the filters' impulse responses overlap as the even parts of the filters do
    even = (bank + bank.roll((-1, -1), (-2, -1)).flip(-2, -1)) / 2
    overlap = even.flatten(1) @ even.flatten(1).T
    own, mutual = overlap.diagonal().sum(), overlap.triu(1).sum()
    tau = torch.sqrt(power * own + 2 * power * mutual)
    return tau * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_SHRINK


def local_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Correlation under an 11x11 Gaussian, zeros outside."""

    def local(image: Tensor) -> Tensor:
        return smooth(functional.pad(image, (5, 5, 5, 5)), WINDOW)

    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    return (covariance + EPSILON) / (torch.sqrt(torch.abs(variance_x * variance_y)) + EPSILON)


def q_p(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_P: product of three correlations, of phase congruency and of its maximum and minimum moment, -1..1.

    Each is the local correlation of F with a source, or with the source of the largest congruency at each pixel,
    whichever is highest, over the places whose largest congruency exceeds 0.1. NaN where there are none. Higher is
    better. Zhao, Laganiere, Liu 2007; phase congruency of Kovesi 1999.
    """
    memo = memo or Memo()
    result = memo(phase_congruency, memo(grey, fused))
    maps = [memo(phase_congruency, memo(grey, source)) for source in sources]
    largest = maps[0]
    for other in maps[1:]:
        first = largest[0] > other[0]
        largest = tuple(torch.where(first, mine, its) for mine, its in zip(largest, other, strict=True))
    count = (largest[0] > FEATURE).flatten(1).sum(1)
    product = torch.ones(fused.shape[0], dtype=torch.float64, device=fused.device)
    for feature in range(3):
        best = torch.full_like(result[0], -torch.inf)
        for candidate in (*maps, largest):
            mask = candidate[0] > FEATURE
            likeness = torch.where(mask, local_correlation(result[feature], candidate[feature] * mask), 0.0)
            best = torch.maximum(best, likeness)
        product = product * best.flatten(1).sum(1) / count
    return product
