"""Metrics of histograms: how much of the sources' grey levels the fused picture tells."""

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, combined, levels
from fuse.metrics.memo import Memo


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
    return -torch.xlogy(shares, shares).flatten(1).sum(1) / torch.log(shares.new_tensor(2.0))


def mutual_information(first: Image, second: Image, memo: Memo) -> Scores:
    """I(first; second) in bits from the joint histogram of the 8-bit levels."""
    joint = memo(joint_histogram, first, second)
    return entropy(memo(histogram, first)) + entropy(memo(histogram, second)) - entropy(joint)


def mi(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """MI: mutual information of the fused picture with each source, summed, in bits, 0..8 per source.

    Higher is better; a copy of one source has the highest. Not differentiable. Qu et al. 2002.
    """
    memo = memo or Memo()
    return combined([mutual_information(source, fused, memo) for source in sources], combine)
