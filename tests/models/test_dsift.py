"""Dense SIFT: descriptors by loops, votes and partners by construction."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fuse.models.dsift import (
    SMALLEST,
    Dsift,
    activity,
    histograms,
    orientations,
    over_cells,
    partner,
    spatial_frequency,
    surely,
    won,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_ramp_has_one_orientation_and_a_little_of_its_neighbours() -> None:
    ramp = torch.arange(40.0).expand(1, 1, 30, 40) / 39
    inner = orientations(ramp)[0, :, 10:20, 10:30]
    slope = inner[0].mean()
    expected = slope * torch.tensor([max(math.cos(k * math.pi / 4), 0.0) ** 9 for k in range(8)])
    torch.testing.assert_close(inner.mean((1, 2)), expected, rtol=0, atol=1e-5)
    turned = orientations(ramp.mT)[0, :, 10:30, 10:20].mean((1, 2))
    torch.testing.assert_close(turned, expected.roll(2), rtol=0, atol=1e-5)


def test_the_brightness_of_the_light_does_not_matter() -> None:
    x = noise(1, 1, 20, 20)
    torch.testing.assert_close(orientations(0.3 * x), orientations(x))


def test_histograms_are_those_of_the_descriptor() -> None:
    x = noise(1, 1, 40, 44)
    field = np.pad(orientations(x)[0].numpy(), [(0, 0), (30, 30), (30, 30)])
    cells, total = histograms(x), activity([histograms(x)])
    for row, column in ((0, 0), (20, 21), (39, 5)):
        descriptor = np.zeros((4, 4, 8))
        for i, down in enumerate((-9, -3, 3, 9)):
            for j, right in enumerate((-9, -3, 3, 9)):
                for y in range(-5, 6):
                    for z in range(-5, 6):
                        weight = (1 - abs(y) / 6) * (1 - abs(z) / 6)
                        descriptor[i, j] += weight * field[:, 30 + row + down + y, 30 + column + right + z]
        ours = cells[0, :, row : row + 19 : 6, column : column + 19 : 6].permute(1, 2, 0)
        assert np.allclose(ours, descriptor, rtol=0, atol=1e-12)
        assert math.isclose(total[0, 0, row, column], descriptor.sum(), rel_tol=1e-12)
        length = over_cells(cells**2).sum(1)[0, row, column]
        assert math.isclose(length, (descriptor**2).sum(), rel_tol=1e-12)


def test_only_what_all_blocks_agree_on_is_sure() -> None:
    scores = torch.zeros(1, 3, 40, 60)
    scores[:, 0, :, :30], scores[:, 1, :, 30:], scores[:, 2] = 2, 2, 1
    sure = surely(scores)
    columns = torch.arange(60)
    # A block of 8 that begins at 26 is shared; one that begins earlier goes to the left.
    assert torch.equal(sure[0, 0, 20], columns <= 25)
    assert torch.equal(sure[0, 1, 20], columns >= 34)
    assert not sure[0, 2].any()


def test_spatial_frequency_by_hand() -> None:
    x = torch.zeros(1, 1, 20, 20)
    x[..., 10, 10] = 2
    result = spatial_frequency(x)
    assert result[0, 0, 10, 10] == 4 * 2**2
    assert result[0, 0, 13, 13] == 4 * 2**2 - 2 * 2**2
    assert result[0, 0, 14, 14] == 0


@pytest.mark.parametrize("move", [(0, 0), (2, -1), (-3, 3)])
def test_partners_are_found_where_they_moved_to(move: tuple[int, int]) -> None:
    x = noise(1, 1, 60, 60)
    other = x.roll(move, (-2, -1))
    here, there = histograms(x), histograms(0.5 * other)
    values = torch.arange(3600.0, dtype=torch.float64).view(1, 1, 60, 60)
    lengths = over_cells((there**2).sum(1, keepdim=True)).sqrt()
    found = partner(here, there, lengths, values)
    inner = (..., slice(25, 35), slice(25, 35))
    assert torch.equal(found[inner], values.roll((-move[0], -move[1]), (-2, -1))[inner])


def test_of_equal_partners_the_nearest_is_taken_and_none_beyond_the_border() -> None:
    flat = histograms(torch.full((1, 1, 12, 12), 0.5))
    values = noise(1, 1, 12, 12)
    assert torch.equal(partner(flat, flat, torch.zeros(1, 1, 12, 12), values.float()), values.float())
    lengths = torch.full((1, 1, 12, 12), 2.0, dtype=torch.float64)
    same = torch.ones(1, 8, 30, 30, dtype=torch.float64)
    assert torch.equal(partner(same, same, lengths, values), values)


def test_the_sharper_of_two_partners_wins() -> None:
    x = noise(1, 1, 50, 50)
    soft = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    cells = [histograms(x), histograms(soft), histograms(soft)]
    points = won(cells, spatial_frequency(torch.cat([x, soft, soft], 1)))
    assert (points[0, 0, 10:40, 10:40] == 4).all()
    assert points.max() == 4
    assert points.sum(1).max() <= 6


def halves(count: int) -> tuple[Tensor, list[Tensor]]:
    """A texture, and sources that are sharp in one vertical strip each."""
    sharp = noise(1, 1, 96, 64 * count).float()
    soft = torch.nn.functional.avg_pool2d(sharp, 7, 1, 3, count_include_pad=False)
    strips = (torch.arange(64 * count) // 64).expand(1, 1, 96, -1)
    return sharp, [torch.where(strips == i, sharp, soft) for i in range(count)]


@pytest.mark.parametrize("count", [2, 3])
def test_the_sharp_strips_are_found(count: int) -> None:
    _, sources = halves(count)
    weights = Dsift()(*sources)
    truth = torch.nn.functional.one_hot(torch.arange(64 * count) // 64, count).T[:, None]
    assert (weights[0] - truth).abs().mean() < 0.05
    for number in range(count):
        assert (weights[0, number, :, 64 * number + 16 : 64 * number + 48] == 1).all()


def test_a_small_sure_region_is_dropped_and_its_pixels_are_compared_again() -> None:
    _, (near, far) = halves(2)
    core = near[..., 46:50, 30:34].clone()
    near[..., 30:66, 14:50] = near[..., 30:66, 14:50].mean()
    near[..., 46:50, 30:34] = core  # fine detail that the large window does not notice
    sure = surely(activity([histograms(near), histograms(far)]))[0, 1, :, :60]
    assert sure[46:50, 30:34].all()
    assert sure.sum() < SMALLEST * near.numel()
    weights = Dsift()(near, far)
    assert weights[0, 0, 47:49, 31:33].min() == 1
    assert weights[0, 1, 40, 24] == 1  # there the far one is sharper, though blurred
    assert weights[0, 0, :8, :40].min() == 1
