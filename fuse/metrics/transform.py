"""Metrics of transform coefficients: Q_M (Haar wavelet) and Q_SF (differences in four directions)."""

import math

import torch
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, grey, total
from fuse.metrics.memo import Memo


def haar(image: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """One level of the orthonormal Haar transform: mean band and three detail bands; an odd last line is dropped."""
    height, width = (side // 2 * 2 for side in image.shape[-2:])
    a, b = image[..., 0:height:2, 0:width:2], image[..., 0:height:2, 1:width:2]
    c, d = image[..., 1:height:2, 0:width:2], image[..., 1:height:2, 1:width:2]
    return (a + b + c + d) / 2, ((a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2)


def q_m(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_M: how exactly the Haar details of the sources return, weighted by their energy, two levels, 0..3.

    Per level q = sum(E_k W_k) / sum(W_k), W = H^2 + V^2 + D^2 of the source, E = sum over the bands of
    exp(-|S - F|): only details equal within a few grey levels count. q1^(2/3) q2^(1/3). Higher is better. NaN where
    the sources have no details. Wang & Liu 2008.
    """
    memo = memo or Memo()
    images, result = [memo(grey, source) for source in sources], memo(grey, fused)
    product = torch.ones(fused.shape[0], dtype=torch.float64, device=fused.device)
    for weight in (2 / 3, 1 / 3):
        result, bands_fused = memo(haar, result)
        details = [memo(haar, image) for image in images]
        kept = there = torch.zeros_like(product)
        for _, bands in details:
            energy = sum(band**2 for band in bands)
            equality = sum(torch.exp(-torch.abs(s - f)) for s, f in zip(bands, bands_fused, strict=True))
            kept, there = kept + total(equality * energy), there + total(energy)
        product = product * (kept / there) ** weight
        images = [mean for mean, _ in details]
    return product


def four_differences(image: Tensor) -> tuple[Tensor, ...]:
    """First differences across, down, and along both diagonals."""
    return (
        image[..., 1:] - image[..., :-1],
        image[..., 1:, :] - image[..., :-1, :],
        image[..., 1:, 1:] - image[..., :-1, :-1],
        image[..., 1:, :-1] - image[..., :-1, 1:],
    )


def _frequency(differences: tuple[Tensor, ...], pixels: int) -> Scores:
    across, down, *diagonals = (total(difference**2) for difference in differences)
    squares = across + down + sum(diagonals) / math.sqrt(2)
    return torch.sqrt(squares / pixels)


def q_sf(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_SF: (SF_F - SF_R) / SF_R, where SF_R takes the strongest difference of the sources at every pixel, -1 and up.

    Spatial frequency over four directions, squared diagonals weighted 1/sqrt(2). 0 is ideal, below 0 detail is lost,
    above it the picture is sharpened or noisy. Zheng et al. 2007.
    """
    memo = memo or Memo()
    pixels = fused.shape[-2] * fused.shape[-1]
    each = [memo(four_differences, memo(grey, source)) for source in sources]
    strongest = tuple(torch.stack([d.abs() for d in direction]).amax(0) for direction in zip(*each, strict=True))
    wanted = _frequency(strongest, pixels)
    return (_frequency(memo(four_differences, memo(grey, fused)), pixels) - wanted) / wanted
