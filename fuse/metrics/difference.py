"""Metrics of pixel differences to the sources, and of their correlation."""

import torch
from torch import Tensor

from fuse.errors import InputError
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


def correlation(first: Tensor, second: Tensor) -> Scores:
    """Pearson correlation of two images over their pixels, -1..1; NaN where one is constant."""
    first, second = first.flatten(1), second.flatten(1)
    first, second = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
    power = (first**2).sum(1) * (second**2).sum(1)
    return torch.where(power > 0, (first * second).sum(1) / torch.sqrt(torch.where(power > 0, power, 1.0)), torch.nan)


def cc(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """CC: Pearson correlation with a source, averaged over the sources, -1..1.

    Higher is better; the mean of the sources is close to the best. NaN for constant pictures.
    """
    memo = memo or Memo()
    return combined([correlation(memo(grey, source), memo(grey, fused)) for source in sources], combine)


def scd(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """SCD: sum over the sources of the correlation of a source with what is left of F without the other, -2..2.

    corr(F - B, A) + corr(F - A, B); with more sources the correlation of S_k is the mean over the others S_j of
    corr(F - S_j, S_k). NaN where F equals a source up to a constant. Higher is better; the plain sum of the sources
    is the best there is. Aslantas & Bendes 2015.

    Raises:
        InputError: fewer than two sources.
    """
    memo = memo or Memo()
    if len(sources) < 2:
        raise InputError(f"scd compares sources with one another and got {len(sources)}; give at least two")
    levels, result = [memo(grey, source) for source in sources], memo(grey, fused)
    values = [
        torch.stack([correlation(result - other, source) for j, other in enumerate(levels) if j != k]).mean(0)
        for k, source in enumerate(levels)
    ]
    return combined(values, combine)
