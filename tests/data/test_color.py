"""Two luma conversions by hand and against others' code, and the rule that joins chroma."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2gray, rgb2ycbcr

from fuse.data import color

BOTH = get_args(color.Luma)


def pixel(*levels: float) -> torch.Tensor:
    """One pixel on 0..255 as a picture in [0, 1]."""
    return torch.tensor(levels, dtype=torch.float64).view(1, -1, 1, 1) / 255


def levels(*parts: torch.Tensor) -> list[float]:
    return (torch.cat(parts, 1) * 255).flatten().tolist()


@pytest.mark.parametrize(
    ("luma", "rgb", "wanted"),
    [
        ("full", (255, 0, 0), (76.245, 128 - 0.564 * 76.245, 128 + 0.713 * (255 - 76.245))),
        ("full", (0, 0, 255), (29.07, 128 + 0.564 * (255 - 29.07), 128 - 0.713 * 29.07)),
        ("full", (10, 200, 30), (123.81, 128 + 0.564 * (30 - 123.81), 128 + 0.713 * (10 - 123.81))),
        ("limited", (255, 0, 0), (16 + 65.535, 128 - 37.74, 128 + 111.945)),
        ("limited", (10, 200, 30), (16 + 2.57 + 100.8 + 2.94, 128 - 1.48 - 58.2 + 13.17, 128 + 4.39 - 73.6 - 2.13)),
        ("limited", (255, 255, 255), (235.045, 128, 128)),
        ("limited", (0, 0, 0), (16, 128, 128)),
    ],
)
def test_split_by_hand(luma: color.Luma, rgb: tuple[int, ...], wanted: tuple[float, ...]) -> None:
    assert levels(*color.split(pixel(*rgb), luma)) == pytest.approx(wanted, abs=1e-9)


def test_limited_range_is_that_of_matlab() -> None:
    rgb = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    theirs = rgb2ycbcr(rgb[0].permute(1, 2, 0).numpy()) / 255
    ours = torch.cat(color.split(rgb, "limited"), 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() * 255 < 0.2  # three digits instead of six


@pytest.mark.parametrize("luma", BOTH)
@given(rgb=st.tuples(*[st.integers(0, 255)] * 3))
def test_join_inverts_split_to_within_half_a_level(luma: color.Luma, rgb: tuple[int, int, int]) -> None:
    back = color.join(*color.split(pixel(*rgb), luma), luma)
    assert levels(back) == pytest.approx(rgb, abs=0.5)


@pytest.mark.parametrize("luma", BOTH)
@given(level=st.integers(0, 255))
def test_grey_stays_grey(luma: color.Luma, level: int) -> None:
    y, chroma = color.split(pixel(level), luma)
    assert torch.equal(y, color.split(pixel(level, level, level), luma)[0])
    assert levels(chroma) == pytest.approx([128, 128], abs=1e-9)
    assert levels(color.grey_from_luma(y, luma)) == pytest.approx([level], abs=0.05)
    assert levels(color.join(y, chroma, luma)) == pytest.approx([level] * 3, abs=0.05)


def test_full_range_luma_of_grey_is_the_level_itself() -> None:
    assert levels(color.split(pixel(77), "full")[0]) == pytest.approx([77], abs=1e-9)
    assert levels(color.split(pixel(77), "limited")[0]) == pytest.approx([16 + 0.859 * 77], abs=1e-9)


def test_distance_from_grey_by_hand() -> None:
    # Cb: (138 * 10 + 98 * 30) / 40 = 108; Cr: grey counts nothing beside 200.
    fused = color.distance_from_grey([pixel(138, 128), pixel(98, 200)])
    assert levels(fused) == pytest.approx([108, 200], abs=1e-9)
    three = color.distance_from_grey([pixel(138, 128), pixel(98, 128), pixel(148, 128)])
    assert levels(three) == pytest.approx([(1380 + 2940 + 2960) / 60, 128], abs=1e-9)


def test_colourless_sources_stay_colourless_and_finite() -> None:
    grey = torch.full((1, 2, 3, 3), color.GREY)
    assert torch.equal(color.distance_from_grey([grey, grey]), grey)


@given(first=st.integers(0, 255), second=st.integers(0, 255))
def test_fused_chroma_lies_between_its_sources(first: int, second: int) -> None:
    fused = levels(color.distance_from_grey([pixel(first, first), pixel(second, second)]))[0]
    low, high = min(first, second, 128), max(first, second, 128)
    assert low - 1e-9 <= fused <= high + 1e-9


def test_grey_levels_by_hand() -> None:
    picture = torch.tensor([[255, 10, 1], [0, 200, 1], [0, 30, 2]], dtype=torch.uint8).view(1, 3, 1, 3)
    # 76.23 -> 76; 2.98936 + 117.4086 + 3.42063 = 123.82 -> 124; 1.114021 -> 1
    assert color.grey_levels(picture).flatten().tolist() == [76, 124, 1]
    assert color.grey_levels(picture).dtype == torch.float64
    assert color.grey_levels(picture[:, :1]).flatten().tolist() == [255, 10, 1]


def test_grey_levels_round_half_up() -> None:
    # 0.298936 * 250 + 0.587043 * 0 + 0.114021 * 0 = 74.734; a grey pixel keeps its level at every one of 256.
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(color.grey_levels(every), every[:, :1].double())


def test_grey_levels_are_near_those_of_others() -> None:
    picture = torch.randint(256, (1, 3, 40, 40), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    theirs = rgb2gray(picture[0].permute(1, 2, 0).numpy()) * 255  # other weights: 0.2125, 0.7154, 0.0721
    ours = color.grey_levels(picture)[0, 0].numpy()
    exact = (picture[0].permute(1, 2, 0).double().numpy() * [0.299, 0.587, 0.114]).sum(2)
    assert np.abs(ours - exact).max() <= 0.5 + 0.02
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95


def test_sixteen_bits_are_rounded_to_eight_first() -> None:
    stored = torch.tensor([0, 128, 129, 257 * 77, 257 * 77 + 128, 257 * 77 + 129, 65535], dtype=torch.uint16)
    assert color.grey_levels(stored.view(1, 1, 1, -1)).flatten().tolist() == [0, 0, 1, 77, 77, 78, 255]
