"""Pixels moved once: by hand, by whole pixels to the last bit, and the rectangle that is left."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuse.align.transforms import Transform, still
from fuse.align.warp import common_area, corners, covered, largest_rectangle, valid, warp
from fuse.errors import InputError


def shift(x: float, y: float, size: tuple[int, int] = (24, 32)) -> Transform:
    matrix = torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=torch.float64)
    return Transform(matrix, "translation", size, size)


def turned(degrees: float, size: tuple[int, int]) -> Transform:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    c, s = angle.cos().item(), angle.sin().item()
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    rows = [[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]]
    return Transform(torch.tensor(rows, dtype=torch.float64), "similarity", size, size)


def noise(dtype: torch.dtype, channels: int = 3) -> Tensor:
    made = torch.rand(channels, 24, 32, generator=torch.Generator().manual_seed(0))
    return made if dtype == torch.float32 else (made * torch.iinfo(dtype).max).to(torch.int32).to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_nothing_moved_touches_nothing(dtype: torch.dtype) -> None:
    picture = noise(dtype)
    moved, inside = warp(picture, still((24, 32), (24, 32)))
    assert moved is picture
    assert inside.all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_whole_pixels_are_moved_to_the_last_bit(dtype: torch.dtype) -> None:
    """Pixel (x, y) of the reference is (x + 3, y - 2) of the moving picture."""
    picture = noise(dtype)
    moved, inside = warp(picture, shift(3, -2))
    assert moved.dtype == dtype
    assert torch.equal(moved[:, 2:, :-3], picture[:, :-2, 3:])
    assert inside[0, 2:, :-3].all()
    assert not inside[0, :2].any()
    assert not inside[0, :, -3:].any()


def test_parts_of_a_pixel_lie_on_a_plane() -> None:
    """As they would without any curvature; Lanczos' weights come near it."""
    plane = (3 * torch.arange(32.0)[None, :] + 2 * torch.arange(24.0)[:, None])[None]
    moved, _ = warp(plane, shift(0.5, 0.25))
    assert torch.allclose(moved[0, 4:-4, 4:-4], plane[0, 4:-4, 4:-4] + 2.0, atol=0.05)


def test_interpolation_makes_up_no_light() -> None:
    """Lanczos rings beside edges; floating point pictures have no range that would clip it."""
    step = (torch.arange(32) >= 16).float().expand(1, 24, 32).contiguous() * 1000
    moved, _ = warp(step, shift(0.5, 0))
    assert (moved.min(), moved.max()) == (0, 1000)


def test_what_is_outside_repeats_the_border() -> None:
    moved, inside = warp(noise(torch.uint8), shift(0.25, 10))
    assert inside.sum() == 32 * 14
    assert torch.equal(moved[:, -1], moved[:, 15])


def test_reductions_are_smoothed_first() -> None:
    """Stripes finer than the small picture can show turn grey instead of into coarse ones."""
    stripes = (torch.arange(96) % 2 * 200.0).expand(1, 96, 96).contiguous()
    small, inside = warp(stripes, still((32, 32), (96, 96)))
    assert inside.all()
    assert small[0, 4:-4, 4:-4].std() < 5
    assert small[0, 4:-4, 4:-4].mean() == pytest.approx(100, abs=2)


def test_pictures_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="for a picture of 32x24, this is 24x24"):
        warp(torch.zeros(1, 24, 24), shift(1, 1))
    with pytest.raises(InputError, match="32766 pixels a side"):
        warp(torch.zeros(1, 1, 40000), shift(1, 0, (1, 40000)))


def test_common_area_of_shifts() -> None:
    """Three to the right and two up in one, one to the left in the other: by hand."""
    assert common_area([still((24, 32), (24, 32)), shift(3, -2), shift(-1, 0)]) == (2, 1, 24, 29)
    assert common_area([still((24, 32), (24, 32))]) == (0, 0, 24, 32)
    assert common_area([shift(0.4, 0)]) == (0, 0, 24, 32)  # half a pixel is still that pixel
    assert common_area([shift(0.6, 0)]) == (0, 0, 24, 31)


def test_nothing_in_common() -> None:
    with pytest.raises(InputError, match="no area in common"):
        common_area([shift(20, 0), shift(-20, 0)])


@given(degrees=st.floats(-20, 20), x=st.floats(-5, 5), width=st.integers(40, 500))
@settings(max_examples=20)
def test_common_area_holds_valid_pixels_only_and_cannot_grow(degrees: float, x: float, width: int) -> None:
    size = (60, width)
    both = [turned(degrees, size), shift(x, 1, size)]
    top, left, bottom, right = common_area(both)
    mask = torch.stack([valid(transform)[0] for transform in both]).all(0)
    assert mask[top:bottom, left:right].float().mean() > 0.999  # OpenCV rounds to the 32nd part of a pixel
    for grown in ((top - 1, left, bottom, right), (top, left - 1, bottom, right), (top, left, bottom + 1, right)):
        if min(grown[:2]) >= 0 and grown[2] <= 60:
            inside = covered(both, corners([*grown[:2], grown[2] - 1, grown[3] - 1]))
            assert not inside.all()


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
@settings(max_examples=60)
def test_largest_rectangle_against_all_rectangles(rows: list[list[bool]]) -> None:
    free = torch.tensor(rows)
    best = 0
    for top in range(len(rows)):
        for bottom in range(top, len(rows)):
            for left in range(5):
                for right in range(left, 5):
                    if free[top : bottom + 1, left : right + 1].all():
                        best = max(best, (bottom - top + 1) * (right - left + 1))
    top, left, bottom, right = largest_rectangle(free.numpy())
    if best:
        assert free[top : bottom + 1, left : right + 1].all()
        assert (bottom - top + 1) * (right - left + 1) == best
