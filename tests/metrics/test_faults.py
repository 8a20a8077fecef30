"""Metrics of faults: exposure, invented pixels, double contours."""

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from fuse import metrics


def scene(seed: int = 0, side: int = 130) -> Tensor:
    """Blobs and lines, 0..255."""
    rough = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    smooth = functional.avg_pool2d(functional.avg_pool2d(rough, 3, 1, 1), 3, 1, 1)
    return ((smooth > 0.25).double() * 120 + 60 + smooth * 30).clamp(0, 255)


def moved(picture: Tensor, pixels: int) -> Tensor:
    return torch.roll(picture, (0, pixels), (-2, -1))


def test_brightness_shift_is_the_difference_of_the_means() -> None:
    a, b = torch.full((1, 1, 4, 4), 10.0), torch.full((1, 1, 4, 4), 30.0)
    assert metrics.brightness_shift(torch.full((1, 1, 4, 4), 26.0), [a, b]).item() == 6.0


def test_averages_and_selections_invent_nothing() -> None:
    a, b = scene(1), scene(2)
    beside = torch.cat([a[..., :1], a[..., :-1]], -1)
    for fused in (a, (a + b) / 2, torch.maximum(a, b), beside):
        assert metrics.invented(fused, [a, b]).item() == 0.0


def test_invented_counts_pixels_beyond_two_levels() -> None:
    source = torch.full((1, 1, 10, 10), 100.0)
    fused = source.clone()
    fused[..., 0, 0], fused[..., 5, 5], fused[..., 9, 9] = 103.0, 97.0, 102.0
    assert metrics.invented(fused, [source, source]).item() == 0.02


def test_invented_looks_at_the_neighbours_in_the_sources() -> None:
    source = torch.full((1, 1, 9, 9), 100.0)
    source[..., 4, 4] = 200.0
    assert metrics.invented(torch.full((1, 1, 9, 9), 200.0), [source, source]).item() == pytest.approx(1 - 9 / 81)


@pytest.mark.parametrize("pixels", [2, 3, 5, 8])
def test_double_contours_are_ghosts(pixels: int) -> None:
    a = scene(3)
    b = moved(a, pixels)
    assert metrics.ghost((a + b) / 2, [a, b]).item() > 0.3
    assert metrics.ghost(a, [a, b]).item() == 0.0
    assert metrics.ghost(torch.cat([a[..., :64], b[..., 64:]], -1), [a, b]).item() < 0.05


def test_faint_second_contours_count_by_their_strength() -> None:
    a = scene(4)
    b = moved(a, 4)
    values = [metrics.ghost((1 - share) * a + share * b, [a, b]).item() for share in (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)]
    assert values == sorted(values)
    assert values[0] == 0.0
    assert values[2] == pytest.approx(0.1, abs=0.04)


def test_registered_sources_give_no_ghost() -> None:
    sharp = scene(5)
    blurred = functional.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    assert metrics.ghost((sharp + blurred) / 2, [sharp, blurred]).item() < 0.03


def test_a_pattern_that_repeats_in_a_source_is_no_ghost() -> None:
    stripes = (torch.arange(100) // 2 % 2 * 200.0).expand(1, 1, 100, 100)
    assert metrics.ghost(stripes, [stripes, stripes]).item() == 0.0
