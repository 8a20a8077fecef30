"""Metrics of faults that the usual scores do not see."""

import torch

from fuse.metrics.levels import Image, Images, Scores
from fuse.metrics.memo import Memo
from fuse.metrics.statistics import mean


def brightness_shift(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Mean of the fused picture minus the mean of all sources, grey levels, -255..255; closer to 0 is better.

    A selection of pixels may rightly be off 0 (the sharp halves need not have the mean of the whole), but a network
    that is off by more than 3 levels changes the exposure.
    """
    memo = memo or Memo()
    return mean(fused, memo=memo) - torch.stack([mean(source, memo=memo) for source in sources]).mean(0)
