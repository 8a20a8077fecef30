"""The pieces of the search, each against what can be worked out by hand or measured."""

import math

import numpy as np
import pytest
import torch
from moved_scenes import grey, motion, off, seen

from fuse.align import refine
from fuse.align.drift import drift
from fuse.align.measure import median, misalignment, together
from fuse.align.starts import features, grid
from fuse.data.scenes import texture

KINDS = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}


def grain(size: int = 160) -> torch.Tensor:
    return grey(texture(size, torch.Generator().manual_seed(3)))


def test_edge_directions_do_not_know_their_sign_nor_their_strength() -> None:
    picture = grain().numpy()
    first, second = refine.structure(picture), refine.structure(255 - 0.3 * picture)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.999
    upright = refine.structure(np.tile(np.linspace(0, 255, 32, dtype=np.float32), (32, 1)))
    assert (upright[8:-8, 8:-8, 0] > 0.9).all()  # across: angle 0
    assert np.allclose(upright[8:-8, 8:-8, 1], 0, atol=1e-3)
    assert (refine.structure(np.full((32, 32), 7, np.float32)) == 0).all()


def test_reductions_know_where_they_came_from() -> None:
    picture = np.arange(96, dtype=np.float32)[None].repeat(48, 0)
    small, back = refine.reduced(picture, 24)
    assert small.shape == (12, 24)
    for x in (0, 10, 23):
        assert small[5, x] == pytest.approx((back @ [x, 5, 1])[0])
    assert refine.reduced(picture, 96)[0] is picture


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_changed_picture(kind: str) -> None:
    """Central differences of a smooth field under `change`, parameter by parameter."""
    y, x = np.mgrid[0:40, 0:60].astype(np.float32)
    field = np.dstack([np.sin(x / 19) * np.cos(y / 17), np.cos(x / 18 + y / 21)])
    target = refine.target(field)
    u, v = ((target.places[i] - (n - 1) / 2) / 30 for i, n in ((0, 60), (1, 40)))
    slopes = refine.steepest(target.slopes, u, v, kind)
    assert len(slopes) == KINDS[kind]
    inner = np.tile((np.abs(target.places[0] - 30) < 24) & (np.abs(target.places[1] - 20) < 14), 2)
    for number, slope in enumerate(slopes):
        step = np.zeros(KINDS[kind])
        step[number] = 0.03
        there, back = (
            refine.seen(field, refine.change(sign * step, kind, (40, 60)), target.places)[0].ravel() for sign in (1, -1)
        )
        assert np.corrcoef(slope[inner], (there - back)[inner])[0, 1] > 0.99
        assert np.linalg.norm((there - back)[inner]) / 0.06 == pytest.approx(np.linalg.norm(slope[inner]), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_climb_finds_a_small_move_of_its_kind(kind: str) -> None:
    known = {
        "translation": motion(128, 2.4, -1.7),
        "similarity": motion(128, 2, 1, 1.02, 1),
        "affine": motion(128, 1, 2) @ np.array([[1.02, 0.01, 0], [0.015, 0.99, 0], [0, 0, 1]]),
        "homography": motion(128, 1, -1, tilt=0.03),
    }[kind]
    fixed, moved = (x.numpy() for x in seen(grain(), grain(), known, 16))
    target, moving = refine.target(refine.structure(fixed)), refine.structure(moved)
    found = refine.climb(target, moving, np.eye(3), kind)
    assert off(torch.from_numpy(found.matrix), known, 128) < 0.25
    assert found.score > 0.9
    assert found.score == pytest.approx(refine.score(target, moving, found.matrix))
    assert refine.score(target, moving, np.eye(3)) < found.score
    assert refine.score(target, moving, motion(128, 120)) == -1  # hardly any overlap


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_of_a_kind(kind: str) -> None:
    whole = motion(64, 3, -2, 1.1, 5)
    found = refine.nearest(whole, kind, (64, 64), 1.0)
    if kind == "translation":
        assert np.allclose(found, motion(64, 3, -2))
    else:
        assert np.allclose(found, whole)
    tilted = motion(64, 3, -2, tilt=0.05)
    assert np.allclose(refine.nearest(tilted, "homography", (64, 64), 1.0), tilted)
    assert refine.nearest(tilted, "affine", (64, 64), 1.0)[2].tolist() == [0, 0, 1]


def test_one_of_the_starts_is_near() -> None:
    known = motion(160, 20, -12, 1.18, 5)
    fixed, moved = (x.numpy() for x in seen(grain(224), 255 - grain(224), known, 32))
    assert min(off(torch.from_numpy(x), known, 160) for x in grid(fixed, moved, 6)) < 12
    fixed, moved = (x.numpy() for x in seen(grain(224), grain(224), motion(160, degrees=140), 32))
    common = features(fixed, moved)
    assert common is not None
    assert off(torch.from_numpy(common), motion(160, degrees=140), 160) < 1.5
    assert features(fixed, np.zeros_like(fixed)) is None


def test_misalignment_by_blocks() -> None:
    fixed, moved = (x.numpy() for x in seen(grain(), grain(), motion(128, 4, 3), 16))
    before = misalignment(fixed, moved, np.eye(3))
    assert before.off == pytest.approx(5, abs=0.2)
    assert before.agree == 0
    after = misalignment(fixed, moved, motion(128, 4, 3))
    assert after.off < 0.2
    assert after.agree > 0.95
    assert after.apart == after.parallax == 0
    assert np.isnan(misalignment(fixed, np.zeros_like(fixed), np.eye(3)).off)


def test_blocks_that_the_other_picture_does_not_show_say_nothing() -> None:
    fixed, moved = (x.numpy() for x in seen(grain(), grain(), motion(128, 64), 16))
    found = misalignment(fixed, moved, motion(128, 64))
    assert (found.map[:, -1, 2] == 0).all()
    assert (found.map[:, 0, 2] > 0.5).all()
    assert found.agree > 0.95


def test_weighted_median_and_blocks_that_hold_together() -> None:
    assert median(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 1.0])) == 2
    assert median(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([5.0, 1.0, 1.0])) == 3
    assert np.isnan(median(torch.zeros(0), torch.zeros(0)))
    found = torch.zeros(2, 3, 3)
    found[..., 2] = 1
    found[0, 0, 0] = 9  # alone
    found[0, 2, 0], found[1, 2, 0] = 9, 8
    assert together(found).tolist() == [[False, True, True], [True, True, True]]
    found[0, 2, 2] = 0  # not trusted, so no company
    assert not together(found)[1, 2]


def test_brightness_against_the_reference() -> None:
    first = grain().numpy()
    found = drift(first, 0.8 * first + 20, np.eye(3))
    assert (found.gain, found.level) == pytest.approx((0.8, 20), abs=0.01)
    back = drift(0.8 * first + 20, first, np.eye(3))
    assert (back.gain, back.level) == pytest.approx((1.25, -25), abs=0.05)
    moved = first.copy()
    moved[:40, :40] = 255  # a lamp that was switched on
    assert drift(first, moved, np.eye(3)).gain == pytest.approx(1, abs=0.03)
    assert math.isnan(drift(first, first[::-1].copy(), np.eye(3)).gain)
    assert math.isnan(drift(first, np.zeros_like(first), np.eye(3)).gain)
