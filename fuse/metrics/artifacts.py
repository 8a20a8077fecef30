"""What Petrovic's edge model says was kept, lost and added: Q + L + N = 1."""

import math

import torch
from torch import Tensor

from fuse.metrics.gradient import root, sobel
from fuse.metrics.levels import Image, Images, Scores, grey, total
from fuse.metrics.memo import Memo

EDGE = 2.0  # Sobel / 8 strength in grey levels from which an edge counts
FAINT = 0.001  # weight of weaker ones
NOTHING = 1e-100  # strength below which there is none, but for the guard in its root


def _edges(image: Tensor, memo: Memo) -> tuple[Tensor, Tensor, Tensor]:
    """Strength (Sobel / 8, mirrored border), orientation atan(across / down), and weight strength^1.5."""
    across, down = memo(sobel, image, "reflect")
    across, down = across / 8, down / 8
    strength = root(across**2 + down**2)
    level = down == 0
    angle = torch.atan(across / torch.where(level, 1.0, down))
    angle = torch.where(level, torch.sign(across) * math.pi / 2, angle)
    return strength, angle, torch.where(strength >= EDGE, strength**1.5, FAINT)


def _preservation(source: Tensor, fused: Tensor, memo: Memo) -> Tensor:
    """Geometric mean of the sigmoids of relative strength and alignment, at every pixel."""
    strength, angle, _ = memo(_edges, source, memo)
    strength_fused, angle_fused, _ = memo(_edges, fused, memo)
    low, high = torch.minimum(strength, strength_fused), torch.maximum(strength, strength_fused)
    relative = torch.where(low > NOTHING, low / high, 0.0)
    alignment = torch.abs(torch.abs(angle - angle_fused) - math.pi / 2) * 2 / math.pi
    return torch.sqrt(0.9999 * torch.sigmoid(19 * (relative - 0.5)) * 0.9995 * torch.sigmoid(22 * (alignment - 0.5)))


def parts(fused: Image, sources: Images, memo: Memo) -> tuple[Tensor, Tensor, Tensor, Scores]:
    """Preservation and weights of the sources (n, b, 1, h, w), where F is stronger than all, and the total weight."""
    result, images = memo(grey, fused), [memo(grey, source) for source in sources]
    preserved = torch.stack([memo(_preservation, image, result, memo) for image in images])
    weights = torch.stack([memo(_edges, image, memo)[2] for image in images])
    strengths = torch.stack([memo(_edges, image, memo)[0] for image in images])
    added = (memo(_edges, result, memo)[0] > strengths).all(0)
    return preserved, weights, added, total(weights.sum(0))


def q_g_petrovic(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Q_G of Petrovic & Xydeas 2004 in Kumar's form: sum(Q_k w_k) / sum(w_k), 0..1. Higher is better."""
    preserved, weights, _, weight = parts(fused, sources, memo or Memo())
    return total((preserved * weights).sum(0)) / weight


def l_abf(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """L_ABF: edge information of the sources that was lost, 0..1.

    sum((1 - Q_k) w_k) / sum(w_k) over the pixels where F is no stronger than some source. Lower is better, and noise
    or sharpening lowers it. Petrovic & Xydeas 2004.
    """
    preserved, weights, added, weight = parts(fused, sources, memo or Memo())
    return total(torch.where(added, 0.0, ((1 - preserved) * weights).sum(0))) / weight


def n_abf(fused: Image, sources: Images, *, petrovic: bool = False, memo: Memo | None = None) -> Scores:
    """N_ABF: edge information that no source has, 0..1.

    sum((1 - Q_k) w_k) / sum(w_k) over the pixels where F is stronger than every source (Kumar 2013), so that
    Q + L + N = 1. `petrovic`: sum(2 - Q_A - Q_B)(w_A + w_B) instead, about six times as large. On 0..255: the
    weights depend on the scale. Lower is better; zero for a blurred picture.
    """
    preserved, weights, added, weight = parts(fused, sources, memo or Memo())
    lost = (1 - preserved).sum(0) * weights.sum(0) if petrovic else ((1 - preserved) * weights).sum(0)
    return total(torch.where(added, lost, 0.0)) / weight
