"""Q_P: phase congruency of the fused picture and of its sources (Kovesi's filters)."""

import math
from typing import NamedTuple

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
TINY = 1e-300  # stands for 0 in divisions
FEATURE = 0.1  # phase congruency from which a place counts as a feature
WINDOW = gaussian(11, 1.5)


class Bank(NamedTuple):
    """Filters for one size of image: one of `radial` times one of `angular`; `noise` per orientation, see below."""

    radial: Float[Tensor, "s h w"]
    angular: Float[Tensor, "o h w"]
    noise: Float[Tensor, "o"]


def _frequencies(size: int, device: torch.device) -> Tensor:
    """Normalised frequencies in the order of the FFT; Kovesi divides by n - 1 where n is odd."""
    centred = torch.arange(size, dtype=torch.float64, device=device) - size // 2
    return torch.fft.ifftshift(centred / max(1, size - size % 2))


def lowpass(height: int, width: int, device: torch.device) -> Float[Tensor, "h w"]:
    """Butterworth low-pass, cut off at 0.45, order 15; a place off centre where a side is odd, as Kovesi's."""
    y, x = (
        torch.fft.fftshift((torch.arange(size, dtype=torch.float64, device=device) - size // 2) / size)
        for size in (height, width)
    )
    return 1 / (1 + ((y[:, None] ** 2 + x[None] ** 2) / 0.45**2) ** 15)


def filters(height: int, width: int, device: torch.device) -> Bank:
    """Log Gabor filters, and per orientation the energy that noise of median power 1 at the finest scale reaches."""
    y, x = _frequencies(height, device)[:, None], _frequencies(width, device)[None]
    radius = torch.sqrt(x**2 + y**2)
    radius[0, 0] = 1
    scales = torch.arange(SCALES, dtype=torch.float64, device=device)[:, None, None]
    radial = torch.exp(-(torch.log(radius * WAVELENGTH * FACTOR**scales) ** 2) / (2 * math.log(BANDWIDTH) ** 2))
    radial = radial * lowpass(height, width, device)
    radial[:, 0, 0] = 0
    theta = torch.atan2(-y, x)
    angles = math.pi / ORIENTATIONS * torch.arange(ORIENTATIONS, dtype=torch.float64, device=device)[:, None, None]
    difference = torch.atan2(torch.sin(theta - angles), torch.cos(theta - angles))
    angular = torch.exp(-(difference**2) / (2 * ANGULAR**2))
    return Bank(radial, angular, torch.stack([noise_of(radial * spread) for spread in angular]))


def noise_of(bank: Float[Tensor, "s h w"]) -> Float[Tensor, ""]:
    """Energy that noise reaches beyond doubt, all scales of an orientation together, if its median power is 1."""
    power = 1 / math.log(2) / (bank[0] ** 2).sum()
    # the real parts of the filters' impulse responses overlap as the even parts of the filters do
    even = (bank + bank.roll((-1, -1), (-2, -1)).flip(-2, -1)) / 2
    overlap = even.flatten(1) @ even.flatten(1).T
    tau = torch.sqrt(power * (overlap.diagonal().sum() + 2 * overlap.triu(1).sum()))
    return tau * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_SHRINK


def median(values: Float[Tensor, "b n"]) -> Scores:
    """Median of each row: of an even number, the mean of the two in the middle."""
    half = (values.shape[1] + 1) // 2
    lower = values.kthvalue(half, dim=1, keepdim=True).values
    if values.shape[1] % 2:
        return lower[:, 0]
    above = values.masked_fill(values <= lower, torch.inf).amin(1)
    repeated = (values <= lower).sum(1) > half
    return (lower[:, 0] + torch.where(repeated, lower[:, 0], above)) / 2


@torch.no_grad()
def phase_congruency(image: Float[Tensor, "b 1 h w"], memo: Memo) -> tuple[Tensor, Tensor, Tensor]:
    """Phase congruency, and maximum and minimum moment of its variation with orientation, at every pixel."""
    bank = memo(filters, *image.shape[-2:], image.device)
    spectrum = torch.view_as_real(torch.fft.fft2(image))
    energy_sum, amplitude_sum = torch.zeros_like(image), torch.zeros_like(image)
    xx, yy, xy = torch.zeros_like(image), torch.zeros_like(image), torch.zeros_like(image)
    for index, (angular, noise) in enumerate(zip(bank.angular, bank.noise, strict=True)):
        energy, amplitudes, largest = oriented_energy(spectrum, bank.radial * angular, noise)
        spread_of_scales = amplitudes / (largest + EPSILON) / SCALES
        energy *= torch.sigmoid(GAIN * (spread_of_scales - CUTOFF))
        energy_sum += energy
        amplitude_sum += amplitudes
        congruency = energy / amplitudes.clamp(min=TINY)
        angle = index * math.pi / ORIENTATIONS
        square = congruency**2
        xx.add_(square, alpha=math.cos(angle) ** 2)
        yy.add_(square, alpha=math.sin(angle) ** 2)
        xy.add_(square, alpha=math.cos(angle) * math.sin(angle))
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    difference = torch.sqrt(xy**2 + (xx - yy) ** 2) + EPSILON
    return energy_sum / (amplitude_sum + EPSILON), (xx + yy + difference) / 2, (xx + yy - difference) / 2


def oriented_energy(
    spectrum: Float[Tensor, "b 1 h w 2"], bank: Float[Tensor, "s h w"], noise: Float[Tensor, ""]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one orientation: energy beyond the noise, sum and maximum of the amplitudes of its scales.

    Energy is A (cos - |sin|) of the deviation from the mean phase, summed over the scales: the parts of the responses
    along the mean response minus those across it.
    """
    responses = []
    mean_even = mean_odd = torch.zeros(())
    for scale, kernel in enumerate(bank):
        filtered = torch.view_as_complex(spectrum * kernel[..., None])
        response = torch.view_as_real(torch.fft.ifft2(filtered))
        even, odd = response[..., 0].contiguous(), response[..., 1].contiguous()
        amplitude = torch.addcmul(even * even, odd, odd)
        if scale == 0:
            threshold = noise * torch.sqrt(median(amplitude.flatten(1)))
        responses.append((even, odd, amplitude.sqrt_()))
        mean_even, mean_odd = mean_even + even, mean_odd + odd
    length = torch.sqrt(mean_even**2 + mean_odd**2) + EPSILON
    mean_even, mean_odd = mean_even / length, mean_odd / length
    energy = -threshold[:, None, None, None].expand_as(mean_even)
    amplitudes, largest = torch.zeros_like(mean_even), torch.zeros_like(mean_even)
    for even, odd, amplitude in responses:
        along = torch.addcmul(even * mean_even, odd, mean_odd)
        across = torch.addcmul(even * mean_odd, odd, mean_even, value=-1).abs_()
        energy = energy + along.sub_(across)
        amplitudes += amplitude
        largest = torch.maximum(largest, amplitude)
    return energy.clamp(min=0), amplitudes, largest


def local_moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance under an 11x11 Gaussian, zeros outside."""
    mean = local_mean(image)
    return mean, local_mean(image * image) - mean**2


def local_mean(image: Tensor) -> Tensor:
    """Mean under an 11x11 Gaussian, zeros outside."""
    return smooth(functional.pad(image, (5, 5, 5, 5)), WINDOW)


def q_p(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_P: product of three correlations, of phase congruency and of its maximum and minimum moment, -1..1.

    Each is the local correlation of F with a source, or with the source of the largest congruency at each pixel,
    whichever is highest, over the places whose largest congruency exceeds 0.1. NaN where there are none. Higher is
    better. Not differentiable. Zhao, Laganiere, Liu 2007; phase congruency of Kovesi 1999.
    """
    memo = memo or Memo()
    result = memo(phase_congruency, memo(grey, fused), memo)
    maps = [memo(phase_congruency, memo(grey, source), memo) for source in sources]
    largest = maps[0]
    for other in maps[1:]:
        first = largest[0] > other[0]
        largest = tuple(torch.where(first, mine, its) for mine, its in zip(largest, other, strict=True))
    count = (largest[0] > FEATURE).flatten(1).sum(1)
    product = torch.ones(fused.shape[0], dtype=torch.float64, device=fused.device)
    for feature in range(3):
        mean_y, variance_y = local_moments(result[feature])
        best = torch.full_like(result[0], -torch.inf)
        for candidate in (*maps, largest):
            mask = candidate[0] > FEATURE
            x = candidate[feature] * mask
            mean_x, variance_x = local_moments(x)
            covariance = local_mean(x * result[feature]) - mean_x * mean_y
            likeness = (covariance + EPSILON) / (torch.sqrt(torch.abs(variance_x * variance_y)) + EPSILON)
            best = torch.maximum(best, likeness * mask)
        product = product * best.flatten(1).sum(1) / count
    return product
