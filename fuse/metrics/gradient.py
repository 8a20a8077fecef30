"""Metrics of edges: how well the fused picture keeps the gradients of the sources."""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, grey, total
from fuse.metrics.memo import Memo
from fuse.metrics.windows import separable

SMOOTHING, DIFFERENCE = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)


def sobel(image: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Sobel responses across (right minus left) and down (lower minus upper), not normalised, zeros outside."""
    padded = functional.pad(image, (1, 1, 1, 1))
    return separable(padded, SMOOTHING, DIFFERENCE), separable(padded, DIFFERENCE, SMOOTHING)


def strength_and_angle(image: Float[Tensor, "b 1 h w"]) -> tuple[Tensor, Tensor]:
    """Sobel magnitude and orientation atan(Y / X) in -pi/2..pi/2, where X looks left; +pi/2 where X is 0."""
    across, down = sobel(image)
    across = -across
    flat = across == 0
    slope = down / torch.where(flat, 1.0, across)
    angle = torch.where(flat, math.pi / 2, torch.atan(slope))
    square = across**2 + down**2
    # the root has no derivative at 0, and 0 is what flat areas are
    strength = torch.where(square > 0, torch.sqrt(torch.where(square > 0, square, 1.0)), 0.0)
    return strength, angle


def edge_preservation(source: Tensor, fused: Tensor, memo: Memo) -> Tensor:
    """Q of Xydeas & Petrovic at every pixel: how much of the source's edge strength and direction `fused` has, 0..1.

    Where both strengths are equal the relative strength is the strength itself, as in the code that everybody uses.
    """
    strength, angle = memo(strength_and_angle, source)
    strength_fused, angle_fused = memo(strength_and_angle, fused)
    low, high = torch.minimum(strength, strength_fused), torch.maximum(strength, strength_fused)
    equal = low == high
    relative = torch.where(equal, strength_fused, low / torch.where(equal, 1.0, high))
    alignment = 1 - torch.abs(angle - angle_fused) / (math.pi / 2)
    return 0.9994 * torch.sigmoid(15 * (relative - 0.5)) * 0.9879 * torch.sigmoid(22 * (alignment - 0.8))


def q_g(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_G or Qabf: edge preservation Q of each source, weighted by the source's Sobel strength, over all pixels, 0..1.

    sum(Q_k g_k) / sum(g_k) over pixels and sources, zero padding, on grey levels 0..255. NaN where no source has an
    edge. Higher is better; it does not see where a weak edge was taken from the wrong source. Round to 8 bits
    first: unrounded levels move it by .001 to .003. Xydeas & Petrovic 2000.
    """
    memo = memo or Memo()
    preserved, strengths = [], []
    for source in sources:
        strength, _ = memo(strength_and_angle, memo(grey, source))
        preserved.append(total(memo(edge_preservation, memo(grey, source), memo(grey, fused), memo) * strength))
        strengths.append(total(strength))
    return torch.stack(preserved).sum(0) / torch.stack(strengths).sum(0)
