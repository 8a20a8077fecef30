"""Values that measure, such as thermal ones of 16 bits: how much of the range they fill, and a stretch on request."""

import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError

LEVELS = 1 << 16


def occupied(pixels: Tensor) -> float:
    """The share 0..1 of the range of its integer type that a picture `(c, h, w)` fills, from the value that 0.1 % of
    its pixels lie below to the one that 0.1 % lie above: single dead pixels count for nothing. 1 for floating point."""
    if pixels.dtype.is_floating_point:
        return 1.0
    low, high = ends(pixels, 0.1, 99.9)
    return (high - low) / torch.iinfo(pixels.dtype).max


def stretched(pixels: Tensor, low: float = 0.0, high: float = 100.0) -> Tensor:
    """A picture `(c, h, w)` with its values from the percentile `low` to `high`, over all channels, spread over the
    range of its type (0..1 for floating point), those outside clipped. A picture of one value is returned as it is.

    Raises:
        InputError: the percentiles are not in order.
    """
    if not 0 <= low < high <= 100:
        raise InputError(f"percentiles {low:g} and {high:g}: the first must be smaller, both from 0 to 100")
    first, last = ends(pixels, low, high)
    if last <= first:
        return pixels
    if pixels.dtype.is_floating_point:
        return ((pixels - first) / (last - first)).clamp(0, 1)
    top = torch.iinfo(pixels.dtype).max
    table = np.rint((np.arange(LEVELS) - first) / (last - first) * top).clip(0, top)
    return torch.from_numpy(table.astype(pixels.numpy().dtype)[pixels.numpy()])


def ends(pixels: Tensor, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of all values: the smallest value that at least that share is not above."""
    if pixels.dtype.is_floating_point:
        first, last = np.percentile(pixels.numpy(), [low, high], method="inverted_cdf")
        return float(first), float(last)
    counts = np.zeros(LEVELS, np.int64)
    for row in pixels.permute(1, 0, 2).split(max(1, (1 << 22) // max(1, pixels[:, 0].numel()))):
        counts += np.bincount(row.numpy().ravel(), minlength=LEVELS)
    shares = np.array([low, high]) / 100 * counts.sum()
    first, last = np.searchsorted(np.cumsum(counts), np.maximum(shares, 1))
    return float(first), float(last)
