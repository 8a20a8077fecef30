"""Soft Q_G and smoothness against NumPy, and what they are for."""

import numpy as np
import pytest
import torch
from made import ACROSS, agrees_with_differences, each, falls, pictures, sample_of, survives_flat_pictures

from fuse.losses.edge_preservation import soft_q_g
from fuse.losses.smoothness import total_variation

LEAST = 1 - (1 / (1 + np.exp(-5))) ** 2  # sigmoid(10 (1 - 0.5)) sigmoid(20 (1 - 0.75))


def test_soft_q_g_against_numpy() -> None:
    fused, ir, vi = pictures(3)
    edges = []
    for x in (fused, ir, vi):
        across, down = each(x, ACROSS), each(x, ACROSS.T)
        edges.append((np.sqrt(across**2 + down**2), np.arctan(down / across)))
    (strength, angle), *others = edges
    kept = total = 0
    for theirs, direction in others:
        ratio = np.minimum(strength, theirs) / np.maximum(strength, theirs)
        alike = np.abs(np.abs(direction - angle) - np.pi / 2) * 2 / np.pi
        quality = 1 / (1 + np.exp(-10 * (ratio - 0.5))) / (1 + np.exp(-20 * (alike - 0.75)))
        kept, total = kept + quality * theirs, total + theirs
    assert soft_q_g(fused, sample_of(ir, vi)).item() == pytest.approx(1 - np.mean(kept / total), rel=1e-6)


def test_a_copy_reaches_the_least_and_the_contrast_does_not_matter() -> None:
    fused, ir = pictures(2)
    assert soft_q_g(ir, sample_of(ir)).item() == pytest.approx(LEAST, abs=1e-9)
    assert soft_q_g(ir, sample_of(ir, ir)).item() == pytest.approx(LEAST, abs=1e-9)
    one, many = soft_q_g(fused, sample_of(ir)), soft_q_g(255 * fused, sample_of(255 * ir))
    assert many.item() == pytest.approx(one.item(), rel=1e-6)
    assert soft_q_g(fused, sample_of(ir)).item() > 10 * LEAST


def test_an_edge_of_the_wrong_direction_is_no_edge_kept() -> None:
    across = torch.arange(20, dtype=torch.float64).expand(1, 1, 20, 20) / 20
    assert soft_q_g(across.mT, sample_of(across)).item() > 0.9
    assert soft_q_g(across.flip(-1), sample_of(across)).item() < 0.2  # the same line, dark on the other side


def test_soft_q_g_can_be_climbed() -> None:
    fused, ir, vi = (x[:, :, :7, :6] for x in pictures(3))
    assert agrees_with_differences(soft_q_g, fused, sample_of(ir, vi))
    assert falls(soft_q_g, fused, sample_of(ir, vi), 1e-4)
    assert survives_flat_pictures(soft_q_g)


def test_total_variation_by_hand() -> None:
    picture = torch.tensor([[0.0, 1.0, 3.0], [0.0, 1.0, 7.0]], dtype=torch.float64)[None, None]
    assert total_variation(picture, sample_of()).item() == pytest.approx((1 + 2 + 1 + 6) / 4 + 4 / 3)
    assert total_variation(picture.mT, sample_of()).item() == pytest.approx((1 + 2 + 1 + 6) / 4 + 4 / 3)
    fused = pictures(1)[0]
    assert agrees_with_differences(total_variation, fused, sample_of())
    assert falls(total_variation, fused, sample_of())
    assert survives_flat_pictures(total_variation)
