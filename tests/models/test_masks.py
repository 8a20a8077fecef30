"""Masks after the decision: against scikit-image, by hand, and what morphology promises."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure, morphology
from torch import Tensor

from fuse.errors import InputError
from fuse.models.masks import closed, dilated, eroded, large_regions, opened, small_regions_removed, winners


def blobs(seed: int, share: float = 0.5, size: tuple[int, int] = (40, 52)) -> Tensor:
    """A random mask whose regions have many sizes."""
    noise = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, 1, 1) > share


def test_winners_by_hand() -> None:
    scores = torch.tensor([[3.0, 1, 2, 5], [1.0, 4, 2, 5], [2.0, 4, 0, 5]])[None, :, None]
    third = 1 / 3
    expected = torch.tensor([[1.0, 0, 0.5, third], [0.0, 0.5, 0.5, third], [0.0, 0.5, 0, third]])
    assert torch.equal(winners(scores)[0, :, 0], expected)


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7])
def test_dilation_and_erosion_agree_with_scikit_image(radius: int) -> None:
    mask = blobs(radius)
    for ours, picture in ((dilated, morphology.dilation), (eroded, morphology.erosion)):
        for made, drawn in zip(ours(mask, radius)[:, 0], mask[:, 0].numpy(), strict=True):
            assert np.array_equal(made, picture(drawn, morphology.disk(radius)))


@given(seed=st.integers(0, 30), radius=st.integers(0, 5))
def test_opening_takes_away_closing_adds_and_twice_is_once(seed: int, radius: int) -> None:
    mask = blobs(seed, size=(20, 23))
    less, more = opened(mask, radius), closed(mask, radius)
    assert not (less & ~mask).any()
    assert not (mask & ~more).any()
    assert torch.equal(opened(less, radius), less)
    assert torch.equal(closed(more, radius), more)


def test_a_line_is_opened_away_and_a_hole_is_closed() -> None:
    mask = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    mask[..., 4:17, 4:17] = True
    square = mask.clone()
    mask[..., 10, :4] = True
    assert not opened(mask, 2)[..., :3].any()  # a disk beside the edge reaches one pixel into the line
    mask[..., 10, :4] = False
    mask[..., 9, 9] = False
    assert torch.equal(closed(mask, 2), square)


@pytest.mark.parametrize("least", [1, 5, 40, 0.01])
def test_large_regions_agree_with_scikit_image(least: float) -> None:
    mask = blobs(5, 0.52)
    threshold = least * 40 * 52 if least < 1 else least
    for made, drawn in zip(large_regions(mask, least)[:, 0], mask[:, 0].numpy(), strict=True):
        labels = measure.label(drawn, connectivity=2)
        expected = np.zeros_like(drawn)
        for region in measure.regionprops(labels):
            if region.area >= threshold:
                expected[labels == region.label] = True
        assert np.array_equal(made, expected)


def test_small_regions_of_both_kinds_by_hand() -> None:
    picture = [
        "##########",
        "##########",
        "##..######",
        "##########",
        "..........",
        "..#.......",
        "...#......",
        ".........#",
    ]
    mask = torch.tensor([[letter == "#" for letter in line] for line in picture])[None, None]
    expected = torch.zeros_like(mask)
    expected[..., :4, :] = True
    assert torch.equal(small_regions_removed(mask, 3), expected)
    assert torch.equal(small_regions_removed(mask, 3 / 80), expected)
    two = small_regions_removed(mask, 2)
    assert not two[..., 7, 9]
    assert two[..., 5, 2], "pixels that touch at a corner are one region"
    assert not two[..., 2, 2]
    assert torch.equal(small_regions_removed(mask, 0), mask)


def test_everything_or_nothing_stays_as_it_is() -> None:
    for value in (True, False):
        mask = torch.full((1, 1, 6, 6), value)
        assert torch.equal(small_regions_removed(mask, 10), mask)


def test_no_negative_regions() -> None:
    with pytest.raises(InputError, match="at least -1 pixels: give a number of pixels, or a share below 1"):
        large_regions(blobs(0), -1)
