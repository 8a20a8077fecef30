"""Metrics of pixel differences to the sources."""

import torch

from fuse.metrics.levels import Image, Images, Scores, combined, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo


def squared_error(first: Image, second: Image, memo: Memo) -> Scores:
    """Mean squared difference of two images."""
    return average((memo(grey, first) - memo(grey, second)) ** 2)


def decibel(error: Scores, peak: float | Scores = 255.0) -> Scores:
    """10 log10(peak^2 / error)."""
    return 10 * torch.log10(peak**2 / error)


def mse(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """MSE: mean squared difference to a source, averaged over the sources, squared grey levels, 0..65025.

    Lower is better, and no picture is better than the mean of the sources.
    """
    memo = memo or Memo()
    return combined([memo(squared_error, fused, source, memo) for source in sources], combine)


def rmse(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """RMSE: root of the mean squared difference to a source, averaged over the sources, grey levels, 0..255.

    Lower is better. Ma et al. 2019.
    """
    memo = memo or Memo()
    return combined([torch.sqrt(memo(squared_error, fused, source, memo)) for source in sources], combine)


def psnr(fused: Image, sources: Images, *, combine: str = "error", memo: Memo | None = None) -> Scores:
    """PSNR: 10 log10(255^2 / MSE) in dB, with the MSE averaged over the sources; infinite where it is 0.

    `combine`: `error` averages before the logarithm, `mean` averages the decibels of the sources (never lower).
    Higher is better, and no picture is better than the mean of the sources.
    """
    memo = memo or Memo()
    errors = [memo(squared_error, fused, source, memo) for source in sources]
    if combine == "error":
        return decibel(combined(errors, "mean"))
    return combined([decibel(error) for error in errors], combine)
