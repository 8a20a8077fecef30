"""The feature images that FMI compares."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.statistics import central_differences

Feature = Float[Tensor, "b 1 y x"]


def raw(image: Feature) -> Feature:
    """The grey levels themselves."""
    return image


def gradient(image: Feature) -> Feature:
    """Central difference across, one-sided at the borders."""
    return central_differences(image)[0]


def _sobel_in_order(padded: Tensor, horizontal: bool) -> Tensor:
    """Sobel / 8, summed column by column from the right, each from its lower end, as Octave sums."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    result = padded.new_zeros(*padded.shape[:-2], height, width)
    for column in (2, 1, 0):
        for row in (2, 1, 0):
            along, over = (column, row) if horizontal else (row, column)
            weight = (0.125, 0.25, 0.125)[over] * (1 - along)
            if weight:
                part = padded[..., row : row + height, column : column + width]
                result = torch.add(result, part, alpha=weight)
    return result


def edges(image: Feature) -> Feature:
    """Edges as 0 and 1: Sobel / 8 strength above twice its root mean square and above both neighbours across or down.

    Border pixels repeated; outside the picture the strength counts as 0. As Octave's `edge`, down to the rounding
    that decides between equal neighbours.
    """
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    strength = torch.sqrt(_sobel_in_order(padded, True) ** 2 + _sobel_in_order(padded, False) ** 2)
    threshold = torch.sqrt(4 * (strength**2).mean((1, 2, 3), keepdim=True))
    outside = functional.pad(strength, (1, 1, 1, 1))
    left, right = outside[..., 1:-1, :-2], outside[..., 1:-1, 2:]
    above, below = outside[..., :-2, 1:-1], outside[..., 2:, 1:-1]
    ridge = ((strength > left) & (strength > right)) | ((strength > above) & (strength > below))
    return ((strength > threshold) & ridge).to(image.dtype)


def _cosines(size: int, like: Tensor) -> Tensor:
    """The orthonormal DCT-II as a matrix."""
    steps = torch.arange(size, dtype=like.dtype, device=like.device)
    matrix = torch.cos(math.pi / size * (steps + 0.5) * steps[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def dct(image: Feature) -> Feature:
    """Orthonormal two-dimensional DCT-II of the whole image."""
    return _cosines(image.shape[-2], image) @ image @ _cosines(image.shape[-1], image).mT


def _analysed(image: Tensor, taps: list[float]) -> Tensor:
    """Convolution along the last axis with half-point symmetric extension, of which every second sample is kept."""
    size, reach = image.shape[-1], len(taps) - 1
    places = torch.arange(-reach, size + reach, device=image.device).remainder(2 * size)
    extended = image[..., torch.where(places < size, places, 2 * size - 1 - places)]
    count = (size + reach) // 2
    result = image.new_zeros(*image.shape[:-1], count)
    for offset, tap in enumerate(taps):
        # product and sum rounded one by one: where the image is flat the details are rounding, and FMI looks at them
        start = reach - offset + 1
        result += tap * extended[..., start : start + 2 * count - 1 : 2]
    return result


def wavelet(image: Feature) -> Float[Tensor, "b 1 rows columns"]:
    """One level of the discrete Meyer wavelet: (mean, horizontal; vertical, diagonal) as one image, 0..1."""
    import pywt

    low, high = pywt.Wavelet("dmey").dec_lo, pywt.Wavelet("dmey").dec_hi
    rows = [_analysed(image, taps) for taps in (low, high)]
    # a horizontal detail is high down the image and low across it
    bands = [[_analysed(row.mT, taps).mT for taps in (low, high)] for row in rows]
    (mean, horizontal), (vertical, diagonal) = bands
    stacked = torch.cat([torch.cat([mean, horizontal], -1), torch.cat([vertical, diagonal], -1)], -2)
    least, most = stacked.amin((1, 2, 3), keepdim=True), stacked.amax((1, 2, 3), keepdim=True)
    return (stacked - least) / torch.where(least == most, 1.0, most - least)


FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "edge": edges,
    "raw": raw,
    "gradient": gradient,
    "dct": dct,
    "w": wavelet,
}
