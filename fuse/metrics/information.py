"""Metrics of histograms: how much of the sources' grey levels the fused picture tells."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, combined, levels, stretched
from fuse.metrics.memo import Memo

TSALLIS_ORDER = 1.85  # Cvejic et al. 2006


def histogram(image: Image) -> Float[Tensor, "b 256"]:
    """Share of each of the 256 levels."""
    batch = image.shape[0]
    index = levels(image).flatten(1) + 256 * torch.arange(batch, device=image.device)[:, None]
    counts = torch.bincount(index.flatten(), minlength=256 * batch).view(batch, 256)
    return counts.to(torch.float64) / index.shape[1]


def joint_histogram(first: Image, second: Image) -> Float[Tensor, "b 256 256"]:
    """Share of each pair of levels; rows are the levels of `first`."""
    batch = first.shape[0]
    index = (256 * levels(first) + levels(second)).flatten(1)
    index = index + 65536 * torch.arange(batch, device=first.device)[:, None]
    counts = torch.bincount(index.flatten(), minlength=65536 * batch).view(batch, 256, 256)
    return counts.to(torch.float64) / index.shape[1]


def entropy(shares: Float[Tensor, "b *levels"]) -> Scores:
    """-sum p log2 p in bits, with 0 log 0 = 0."""
    return -torch.special.xlogy(shares, shares).flatten(1).sum(1) / math.log(2)


def image_entropy(image: Image, memo: Memo) -> Scores:
    """Entropy of the histogram of an image, in bits."""
    return entropy(memo(histogram, image))


def joint_entropy(first: Image, second: Image, memo: Memo) -> Scores:
    """Entropy of the joint histogram of two images, in bits."""
    return entropy(memo(joint_histogram, first, second))


def mutual_information(first: Image, second: Image, memo: Memo) -> Scores:
    """I(first; second) = H(first) + H(second) - H(first, second) in bits."""
    alone = memo(image_entropy, first, memo) + memo(image_entropy, second, memo)
    return alone - memo(joint_entropy, first, second, memo)


def mi(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """MI: mutual information of the fused picture with each source, summed, in bits, 0..8 per source.

    Higher is better; a copy of one source has the highest. Not differentiable. Qu et al. 2002.
    """
    memo = memo or Memo()
    return combined([memo(mutual_information, source, fused, memo) for source in sources], combine)


def nmi(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """NMI or Q_MI: 2 I(S; F) / (H(S) + H(F)) summed over the sources, 0..1 per source.

    Every picture is first stretched to 0..255 by its own extremes. NaN where source and fused picture are both
    constant. Higher is better; a copy of one source does very well. Not differentiable. Hossny et al. 2008.
    """
    memo = memo or Memo()
    fused = memo(stretched, fused)
    values = []
    for source in (memo(stretched, source) for source in sources):
        alone = memo(image_entropy, source, memo) + memo(image_entropy, fused, memo)
        values.append(2 * memo(mutual_information, source, fused, memo) / alone)
    return combined(values, combine)


def ce(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """CE: sum p_S log2(p_S / p_F) over the levels that both have, averaged over the sources, in bits.

    Lower is better. Not a divergence: levels that only one of them has are left out, so it can be small, or negative,
    for histograms that hardly overlap. Not differentiable.
    """
    memo = memo or Memo()
    share = memo(histogram, fused)
    values = []
    for source in sources:
        reference = memo(histogram, source)
        ratio = torch.where((reference > 0) & (share > 0), reference / share.clamp(min=1e-300), 1.0)
        values.append(total_information(reference, ratio))
    return combined(values, combine)


def total_information(shares: Float[Tensor, "b 256"], ratio: Float[Tensor, "b 256"]) -> Scores:
    """sum p log2 ratio in bits."""
    return (shares * torch.log2(ratio)).sum(1)


def q_ncie(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_NCIE: 1 + sum (l/n) log2(l/n) / 8 over the n eigenvalues l of the matrix of nonlinear correlations.

    The matrix holds (H1 + H2 - H12) / 8 for each pair of the n pictures (sources and fused, each stretched to 0..255
    by its own extremes), ones on its diagonal. 0.802 (two independent sources) to 1. Higher is better, but also for
    sources that resemble each other, whatever the fused picture. Not differentiable. Wang, Shen, Jin 2008.
    """
    memo = memo or Memo()
    images = [memo(stretched, image) for image in (*sources, fused)]
    count = len(images)
    one = torch.ones(fused.shape[0], dtype=torch.float64, device=fused.device)
    rows = [
        [
            one if i == j else memo(mutual_information, images[min(i, j)], images[max(i, j)], memo) / 8
            for j in range(count)
        ]
        for i in range(count)
    ]
    matrix = torch.stack([torch.stack(row, -1) for row in rows], -2)
    eigenvalues = torch.linalg.eigvalsh(matrix).clamp(min=0) / count
    return 1 + torch.special.xlogy(eigenvalues, eigenvalues).sum(1) / math.log(2) / 8


def tsallis_information(first: Image, second: Image, order: float, memo: Memo) -> Scores:
    """Tsallis mutual information (1 - sum p(x,y)^q / (p(x) p(y))^(q-1)) / (1 - q) of two images."""
    joint = memo(joint_histogram, first, second)
    apart = memo(histogram, first)[:, :, None] * memo(histogram, second)[:, None, :]
    terms = torch.where(joint > 0, joint**order * torch.where(joint > 0, apart, 1.0) ** (1 - order), 0.0)
    return (1 - terms.flatten(1).sum(1)) / (1 - order)


def q_te(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """Q_TE: Tsallis mutual information of order 1.85 with each source, summed, 0 and up.

    Every picture is first stretched to 0..255 by its own extremes. Higher is better; a copy of one source does very
    well. Published tables use a formula with swapped marginals: `fuse.metrics.legacy.q_te_swapped`. Not
    differentiable. Cvejic, Canagarajah, Bull 2006.
    """
    memo = memo or Memo()
    fused = memo(stretched, fused)
    values = [
        memo(tsallis_information, source, fused, TSALLIS_ORDER, memo)
        for source in (memo(stretched, source) for source in sources)
    ]
    return combined(values, combine)
