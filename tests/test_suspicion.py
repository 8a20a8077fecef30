"""Signs that a fused picture is not what its name says."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fuse.data.color import grey_levels
from fuse.data.optics import focus_pair
from fuse.suspicion import gridded, repeated, signs


@pytest.fixture
def scene() -> tuple[Tensor, list[Tensor]]:
    """Truth and sources of a made scene, 48x48, in levels 30 to 220."""
    sources, truth, _ = focus_pair(48, torch.Generator().manual_seed(3))
    made = (*sources, truth)
    near, far, truth = (grey_levels((x * 190 + 30).round().to(torch.uint8)[None]) for x in made)
    return truth, [near, far]


def test_an_honest_result_raises_no_suspicion(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    assert signs(truth, sources) == []
    assert signs(torch.stack(sources).mean(0).round(), sources) == []


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda x: x.flip(-1), "mirrored"),
        (lambda x: x.flip(-2), "upside down"),
        (lambda x: x.flip(-1, -2), "180"),
        (lambda x: x.transpose(-1, -2), "transposed"),
        (lambda x: ((x - x.min()) / (x.max() - x.min()) * 255).round(), "stretched"),
        (lambda x: torch.where(x > x.median(), 255.0, x), "50% of its pixels at 0 or 255"),
    ],
)
def test_each_fault_is_named(scene: tuple[Tensor, list[Tensor]], spoil: Callable[[Tensor], Tensor], word: str) -> None:
    truth, sources = scene
    found = signs(spoil(truth), sources)
    assert len(found) == 1
    assert word in found[0]


def test_a_copy_is_named_but_not_where_the_sources_agree(scene: tuple[Tensor, list[Tensor]]) -> None:
    _, sources = scene
    assert signs(sources[1], sources) == ["is source 2 alone"]
    assert signs(sources[0], [sources[0], sources[0]]) == []


def test_constant_pictures_raise_none() -> None:
    flat = torch.full((1, 1, 9, 9), 100.0)
    assert signs(flat, [flat, flat]) == []


def grid(size: int, period: int, both: bool) -> Tensor:
    """Waves of amplitude 1 along one axis, or one along each multiplied."""
    wave = torch.cos(2 * math.pi * torch.arange(size) / period)
    return wave[:, None] * (wave if both else torch.ones(size))


@pytest.fixture
def views() -> tuple[Tensor, list[Tensor]]:
    """Truth and sources of a made scene, 160x160, in levels 90 to 150."""
    sources, truth, _ = focus_pair(160, torch.Generator().manual_seed(3))
    near, far, truth = (grey_levels((x * 60 + 90).round().to(torch.uint8)[None]) for x in (*sources, truth))
    return truth, [near, far]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_grid_is_named_unless_a_source_has_it(views: tuple[Tensor, list[Tensor]], period: int, both: bool) -> None:
    truth, (near, far) = views
    faint = 3 * grid(160, period, both)
    found = gridded((truth + faint).round(), [near, far])
    assert len(found) == 1
    assert f"levels every {period} pixels" in found[0]
    assert gridded((truth + faint).round(), [near, far + faint]) == []  # a fence
    assert gridded(truth, [near + faint, far]) == []
    assert gridded(truth, [near, far]) == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_grid_however_small_the_picture(seed: int) -> None:
    noise = 128 + 20 * torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(seed))
    flat = torch.full((1, 1, 40, 40), 128.0)
    assert repeated(noise, 8)[0] > 0.26
    assert gridded(noise, [flat, flat]) == []


def test_other_periods_do_not_count(views: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = views
    assert gridded(truth + 3 * grid(160, 7, False), sources) == []


def test_what_repeats_by_hand() -> None:
    x = torch.full((1, 1, 64, 64), 100.0)
    assert repeated(x, 2) == (0, 0)
    y = x + 2 * grid(64, 2, True)
    own, chance = repeated(y[..., :64, :64], 2)
    # a checkerboard of +-2 is +-2 (1 - 1 / 81) beside the mean of 9x9, somewhat less at the border
    assert own == pytest.approx(2 * (1 - 1 / 81), rel=2e-3)
    assert chance == pytest.approx(own * 2 / 64, rel=1e-2)
    assert repeated(y[..., :7], 2) == (0, 0)  # less than four periods
