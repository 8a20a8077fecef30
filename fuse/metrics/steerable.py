"""VIF in the wavelet domain: a steerable pyramid, whose 3x3 neighbourhoods are a Gaussian scale mixture.

Filters of Karasaridis & Simoncelli 1996 ("sp5", five derivatives), of which VIF needs two of the six orientations.
"""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, combined, grey, total
from fuse.metrics.memo import Memo
from fuse.metrics.windows import separable

# the filters are mirror-symmetric: upper left quarters with the centre last
_LOW_FIRST = (
    (0.00341614, -0.01551246, -0.03848215),
    (-0.01551246, 0.05586982, 0.15925570),
    (-0.03848215, 0.15925570, 0.40304148),
)
_LOW = (
    (0.00170808, -0.00489834, -0.00775624, -0.01888864, -0.01924108),
    (-0.00489834, -0.01046562, -0.01322234, 0.00821200, 0.02005976),
    (-0.00775624, -0.01322234, 0.02793492, 0.06554076, 0.07962786),
    (-0.01888864, 0.00821200, 0.06554076, 0.12852666, 0.16339236),
    (-0.01924108, 0.02005976, 0.07962786, 0.16339236, 0.20193080),
)
_BAND = (  # odd from left to right, even from top to bottom
    (0.00277643, -0.00986904, -0.01021852, 0.0),
    (0.00496194, -0.00893064, -0.03075356, 0.0),
    (0.01026699, 0.01189859, -0.08226445, 0.0),
    (0.01455399, 0.02755155, -0.11732297, 0.0),
)
SCALES = 4
SIDE = 3  # of the neighbourhoods
NOISE = 0.4  # variance of the noise of the eye
TINY = 1e-15


def _mirrored(quarter: tuple[tuple[float, ...], ...], sign: int = 1) -> Tensor:
    """The whole filter from its upper left quarter; `sign` -1: odd from left to right."""
    upper = torch.tensor(quarter, dtype=torch.float64)
    half = torch.cat([upper, sign * upper[:, :-1].flip(1)], 1)
    return torch.cat([half, half[:-1].flip(0)])


def _reflected(image: Tensor, reach: int) -> Tensor:
    return functional.pad(image, (reach,) * 4, mode="reflect")


def _correlate(image: Tensor, kernel: Tensor, step: int = 1) -> Tensor:
    """Correlation with mirrored borders (the border pixel not repeated), every `step`th place from the first."""
    height, width = image.shape[-2:]
    padded = _reflected(image, kernel.shape[0] // 2)
    result = image.new_zeros(*image.shape[:-2], -(-height // step), -(-width // step))
    for row, taps in enumerate(kernel.tolist()):
        for column, tap in enumerate(taps):
            if tap:
                result.add_(padded[..., row : row + height : step, column : column + width : step], alpha=tap)
    return result


def bands(image: Float[Tensor, "b 1 h w"]) -> list[tuple[Tensor, Tensor]]:
    """The two bands at each scale, from fine to coarse."""
    low = _correlate(image, _mirrored(_LOW_FIRST))
    across = _mirrored(_BAND, -1)
    result = []
    for _ in range(SCALES):
        result.append((_correlate(low, across), _correlate(low, across.T)))
        low = _correlate(low, _mirrored(_LOW), step=2)
    return result


def _whole(band: Tensor) -> Tensor:
    height, width = (side // SIDE * SIDE for side in band.shape[-2:])
    return band[..., :height, :width]


def gain_and_noise(source: Tensor, fused: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The model F = g S + noise of a band in windows of `side`, one per 3x3 neighbourhood: g and the noise variance."""
    window, area = (1.0,) * side, side**2

    def summed(image: Tensor) -> Tensor:
        return separable(_reflected(image, side // 2), window, window)[..., SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]

    mean_x, mean_y = summed(source) / area, summed(fused) / area
    covariance = summed(source * fused) - area * mean_x * mean_y
    power_x = (summed(source**2) - area * mean_x**2).clamp(min=0)
    power_y = (summed(fused**2) - area * mean_y**2).clamp(min=0)
    gain = covariance / (power_x + TINY)
    noise = (power_y - gain * covariance) / area
    flat_x, flat_y = power_x < TINY, power_y < TINY
    noise = torch.where(flat_x, power_y, noise)
    gain = torch.where(flat_x | flat_y, 0.0, gain)
    noise = torch.where(flat_y, 0.0, noise)
    noise = torch.where(gain < 0, power_y, noise)
    return gain.clamp(min=0), noise.clamp(min=TINY)


def mixture(band: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 y x"], Float[Tensor, "b 9"]]:
    """Scale of each 3x3 neighbourhood in the Gaussian scale mixture, and eigenvalues of its covariance."""
    everywhere = functional.unfold(band, SIDE)
    centred = everywhere - everywhere.mean(-1, keepdim=True)
    covariance = centred @ centred.mT / centred.shape[-1]
    blocks = functional.unfold(band, SIDE, stride=SIDE)
    scale = (torch.linalg.solve(covariance, blocks) * blocks).sum(1) / SIDE**2
    shape = (band.shape[-2] // SIDE, band.shape[-1] // SIDE)
    return scale.view(-1, 1, *shape), torch.linalg.eigvalsh(covariance)


def vif_wavelet_of(source: Tensor, fused: Tensor) -> Scores:
    """Wavelet-domain VIF of one source."""
    kept = there = torch.zeros(source.shape[0], dtype=source.dtype, device=source.device)
    for scale, pair in enumerate(zip(bands(source), bands(fused), strict=True)):
        side = 2 ** (SCALES - scale) + 1
        margin = -(-(side // 2) // SIDE)
        for x, y in zip(*pair, strict=True):
            gain, noise = gain_and_noise(_whole(x), _whole(y), side)
            strength, eigenvalues = mixture(_whole(x))
            inner = (..., slice(margin, -margin), slice(margin, -margin))
            signal = strength[inner] * eigenvalues[:, :, None, None]
            kept = kept + total(torch.log2(1 + gain[inner] ** 2 * signal / (noise[inner] + NOISE)))
            there = there + total(torch.log2(1 + signal / NOISE))
    return kept / there


def vif_wavelet(
    fused: Image, sources: Images, *, combine: str = "sum", unit: bool = False, memo: Memo | None = None
) -> Scores:
    """VIF in the wavelet domain (the original `vifvec`), summed over the sources, 0..2 and above.

    `unit`: on levels 0..1, as hli runs it, which the fixed noise variance makes a different measure. Higher is better.
    Sheikh & Bovik 2006.
    """
    memo = memo or Memo()
    images = [memo(grey, image) / (255 if unit else 1) for image in (fused, *sources)]
    return combined([vif_wavelet_of(source, images[0]) for source in images[1:]], combine)
