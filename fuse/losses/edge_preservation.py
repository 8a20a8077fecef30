"""Soft Q_G: how much of the edges of the sources is in the fused picture, smooth enough to be climbed."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample
from fuse.losses.gradient import ACROSS, DOWN
from fuse.losses.terms import filtered

Picture = Float[Tensor, "b c h w"]
HARDNESS = 1e5  # of the choice between smaller over larger and its inverse


def edges(x: Picture) -> tuple[Picture, Picture]:
    """Sobel strength sqrt(gx^2 + gy^2 + 1e-12) and orientation atan(gy / gx) in -pi/2..pi/2, zeros outside."""
    across, down = filtered(x, ACROSS), filtered(x, DOWN)
    upright = (across == 0).to(x.dtype)  # keeps the derivative finite where there is no edge
    angle = torch.atan2(down * torch.sign(across) + upright, across.abs())
    return (across.square() + down.square() + 1e-12).sqrt(), angle


def soft_q_g(fused: Picture, sample: Sample) -> Tensor:
    """1 - mean_p sum_i Q_i g_i / sum_i g_i over all pixels: flat ones count as much as edges.

    Q = sigmoid(10 (s - 0.5)) sigmoid(20 (a - 0.75)); s blends g_F / g_i and its inverse, so that it is the smaller over
    the larger, by sigmoid(1e5 (g_F - g_i)); a = | |angle_i - angle_F| - pi/2 | 2/pi. The constants differ from those of
    the metric `q_g`; the least that can be reached is 0.0133. GACN 1, on [0, 1].
    """
    strength, angle = edges(fused)
    kept, total = torch.zeros_like(strength), torch.zeros_like(strength)
    for source in sample.sources:
        theirs, direction = edges(source)
        stronger = torch.sigmoid(HARDNESS * (strength - theirs))
        ratio = stronger * theirs / strength + (1 - stronger) * strength / theirs
        alike = ((direction - angle).abs() - math.pi / 2).abs() * 2 / math.pi
        kept = kept + torch.sigmoid(10 * (ratio - 0.5)) * torch.sigmoid(20 * (alike - 0.75)) * theirs
        total = total + theirs
    return 1 - (kept / total).mean()
