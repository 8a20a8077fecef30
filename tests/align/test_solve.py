"""Motions of made pictures that are known are found, what cannot be aligned is refused, nothing gets worse."""

import csv
from pathlib import Path
from statistics import median

import pytest
import torch
from moved_scenes import grey, motion, off, seen
from torch import Tensor

from fuse.align import Alignment, solve, warp
from fuse.align.transforms import Transform
from fuse.data import io
from fuse.data.color import grey_levels
from fuse.data.modalities import infrared_visible
from fuse.data.optics import defocus, focus_pair, focus_stack
from fuse.data.scenes import texture
from fuse.errors import InputError

SIZE, BORDER = 192, 24


def scene(make, seed: int = 0, **settings) -> list[Tensor]:
    whole = make(SIZE + 2 * BORDER, torch.Generator().manual_seed(seed), **settings)
    return [grey(picture) for picture in whole.sources]


def cut(picture: Tensor) -> Tensor:
    return picture[BORDER : BORDER + SIZE, BORDER : BORDER + SIZE].contiguous()


def grain(seed: int) -> Tensor:
    return grey(texture(SIZE + 2 * BORDER, torch.Generator().manual_seed(seed)))


MOTIONS = {
    "translation": motion(SIZE, 6.3, -4.6),
    "similarity": motion(SIZE, -5, 4, 1.05, -2),
    "homography": motion(SIZE, 3, 3, 0.98, 1, tilt=0.08),
}


@pytest.mark.parametrize("make", [focus_pair, infrared_visible])
@pytest.mark.parametrize("kind", MOTIONS)
def test_known_motions_of_defocused_and_of_other_sensors(make, kind: str) -> None:
    fixed, moved = seen(*scene(make, 2), MOTIONS[kind], BORDER)
    result = solve([fixed, moved])
    assert off(result.transforms[1].matrix, MOTIONS[kind], SIZE) < (1.5 if kind == "homography" else 0.6)
    assert result.refused == []
    assert result.found[1].before > 3 * result.found[1].after


@pytest.mark.parametrize("kind", MOTIONS)
def test_a_kind_that_is_asked_for(kind: str) -> None:
    fixed, moved = seen(*scene(focus_pair, 4), MOTIONS[kind], BORDER)
    result = solve([fixed, moved], kind)
    assert result.found[1].kind == kind
    assert off(result.transforms[1].matrix, MOTIONS[kind], SIZE) < (1.5 if kind == "homography" else 0.6)


def test_the_simplest_kind_is_taken() -> None:
    for kind, matrix in MOTIONS.items():
        assert solve([*seen(*scene(focus_pair, 2), matrix, BORDER)]).found[1].kind == kind


def test_strong_defocus_is_no_parallax() -> None:
    """Phase correlation of a sharp picture with one by discs of confusion finds their rims; it is not believed."""
    sharp = grain(1)
    blurred = defocus(sharp[None] / 255, 7)[0] * 255
    result = solve([*seen(sharp, blurred, MOTIONS["translation"], BORDER)])
    assert off(result.transforms[1].matrix, MOTIONS["translation"], SIZE) < 0.6
    assert not any("depth" in line for line in result.said)
    assert result.found[1].after < 1


def test_inverted_contrast_and_exposure_do_not_matter() -> None:
    first = scene(focus_pair, 4)[0]
    fixed, moved = seen(first, 255 - 0.4 * first, MOTIONS["similarity"], BORDER)
    assert off(solve([fixed, moved]).transforms[1].matrix, MOTIONS["similarity"], SIZE) < 0.3


def test_words_and_numbers_of_a_move() -> None:
    first = scene(focus_pair, 4)[0]
    result = solve([*seen(first, 0.9 * first + 10, motion(SIZE, 6, 8, 1.02), BORDER)], names=["a", "b"])
    found = result.found[1]
    assert (found.moved, found.scale, found.turn) == pytest.approx((10, 1 / 1.02, 0), abs=0.2)
    assert found.drift.gain == pytest.approx(0.9, abs=0.02)
    assert found.drift.level == pytest.approx(10, abs=2)
    assert result.said[0].startswith(
        "b: moved by 10.1 px, scaled by 0.980, turned by 0.0 degrees (similarity); residual"
    )
    assert "against a 0." in result.said[0]
    brightness = f"b: {found.drift.gain:.2f} times a's brightness {found.drift.level:+.1f} grey levels"
    assert result.said[1] == f"{brightness}; pixels are not changed"


def test_turned_by_a_right_angle() -> None:
    first = scene(focus_pair, 4)[0]
    fixed, moved = seen(first, first, motion(SIZE, degrees=90), BORDER)
    result = solve([fixed, moved])
    assert off(result.transforms[1].matrix, motion(SIZE, degrees=90), SIZE) < 0.5
    assert result.found[1].turn == pytest.approx(-90, abs=0.1)


def test_a_breathing_stack_is_chained_to_its_middle() -> None:
    """Five settings, five per cent of magnification over all; each is matched with its neighbour."""
    stack = scene(focus_stack, 3, settings=5, breathing=0.05)
    result = solve(stack, names=list("abcde"))
    assert result.reference == 2
    assert [found.to for found in result.found] == ["b", "c", "", "c", "d"]
    assert result.transforms[2].untouched
    size = stack[0].shape[0]
    for i, transform in enumerate(result.transforms):
        # Setting i is shown (1 - 0.05 i / 4) times as large, about the centre.
        known = motion(size, scale=(1 - 0.0125 * i) / (1 - 0.0125 * 2))
        assert off(transform.matrix, known, size) < 0.6
    assert max(found.after for found in result.found) < 0.5


def test_reductions_give_transforms_of_the_whole() -> None:
    first = scene(focus_pair, 4)[0]
    fixed, moved = seen(first, first, MOTIONS["similarity"], BORDER)
    small = solve([fixed, moved])
    large = solve([fixed, moved], sizes=[(SIZE * 4, SIZE * 4)] * 2)
    assert torch.allclose(large.transforms[1].matrix, small.transforms[1].scaled(*[(SIZE * 4, SIZE * 4)] * 2).matrix)
    assert large.found[1].moved == pytest.approx(4 * small.found[1].moved, rel=0.01)
    assert large.found[1].after == pytest.approx(4 * small.found[1].after)


def test_a_sensor_of_other_size_and_field_of_view() -> None:
    """One has half the resolution, a quarter more field of view and the opposite contrast; the larger one stays."""
    near, far = scene(focus_pair, 4)
    half = torch.nn.functional.avg_pool2d(255 - near[None, None], 2)[0, 0]
    result = solve([half, cut(far)])
    assert result.reference == 1
    known = torch.tensor([[0.5, 0, (BORDER - 0.5) / 2], [0, 0.5, (BORDER - 0.5) / 2], [0, 0, 1]], dtype=torch.float64)
    assert off(result.transforms[0].matrix, known.numpy(), SIZE) < 0.5


def untouched(result: Alignment) -> bool:
    return all(transform.untouched for transform in result.transforms)


@pytest.mark.parametrize("make", [focus_pair, infrared_visible])
def test_aligned_pictures_are_left_alone(make) -> None:
    for seed in range(2):
        result = solve([cut(x) for x in scene(make, seed)])
        assert untouched(result)
        assert result.refused == []
        assert "in place" in result.said[0]


def test_what_cannot_be_aligned_is_refused_and_left_alone() -> None:
    plain, first, second = torch.full((96, 96), 9.0), grain(1)[:96, :96], grain(2)[:96, :96]
    nothing = torch.full((96, 96), float("nan"))
    for pair, reason in (
        ([first, second], "no common structure"),
        ([plain, first], "too little texture"),
        ([nothing, first], "too little texture"),
        ([first[:20], second[:20]], "too small to align"),
        ([first[:1, :1], second], "too small to align"),
    ):
        result = solve(pair, names=["a", "b"])
        assert result.said == []
        assert len(result.refused) == 1
        assert "not aligned to" in result.refused[0]
        assert reason in result.refused[0]
        assert all(t.kind == "identity" for t in result.transforms)


def test_little_in_common_is_said() -> None:
    """A third of the blocks agree: enough to take it for one scene, too few for a number."""
    first, second = cut(grain(1)), cut(grain(2))
    second[:, :60] = first[:, :60]
    result = solve([first, second])
    assert untouched(result)
    assert result.said[0].endswith("36% of the blocks agree with picture 1, too few to tell how far it is off")


def test_depth_is_refused_or_warned_of() -> None:
    """A near layer over a far one, moved alone: no one transform fits both."""
    near, far = grain(1), grain(2)

    def view(moved: int, width: int) -> Tensor:
        made = far.clone()
        made[:, 30 + moved : 30 + moved + width] = near[:, 30 : 30 + width]
        return cut(made)

    broad = solve([view(0, 60), view(12, 60)])
    assert untouched(broad)
    assert "no one transform explains it: 4" in broad.refused[0]
    narrow = solve([view(0, 35), view(12, 35)])
    assert untouched(narrow)
    assert "stay 12.5 px off: depth (parallax)" in narrow.said[1]
    assert narrow.found[1].map is not None
    assert narrow.found[1].map.parallax == pytest.approx(12, abs=1)


def test_a_lost_frame_is_stepped_over() -> None:
    stack = [seen(grain(1), grain(1), motion(SIZE, 2.0 * i), BORDER)[1] for i in range(5)]
    stack[3] = torch.zeros(SIZE, SIZE)
    result = solve(stack, names=list("abcde"))
    assert len(result.refused) == 1
    assert result.refused[0].startswith("d: not aligned")
    assert result.found[4].to == "c"
    assert off(result.transforms[4].matrix, motion(SIZE, 4), SIZE) < 0.3


def test_the_reference_may_be_told_and_alignment_switched_off() -> None:
    first = scene(focus_pair, 4)[0]
    pair = [*seen(first, first, MOTIONS["translation"], BORDER)]
    told = solve(pair, reference=1)
    assert told.transforms[1].untouched
    there = told.transforms[0].inverse()
    assert off(there.matrix, MOTIONS["translation"], SIZE) < 0.2
    assert untouched(solve(pair, "off"))
    assert solve(pair, "off").said == []
    alone = solve(pair[:1])
    assert untouched(alone)
    assert alone.said == alone.refused == []


def test_what_cannot_be_asked() -> None:
    with pytest.raises(InputError, match="'elastic': choose one of auto, off"):
        solve([torch.zeros(64, 64)], "elastic")
    with pytest.raises(InputError, match="reference 2 of 2"):
        solve([torch.zeros(64, 64)] * 2, reference=2)
    with pytest.raises(InputError, match="reference None of 0"):
        solve([])


def labelled(folder: Path) -> dict[str, Tensor]:
    """Labelled points by pair: x and y in the visible, x and y in the infrared picture, counted from 0."""
    points: dict[str, list[list[float]]] = {}
    with (folder / "landmarks.csv").open() as file:
        for row in csv.DictReader(file):
            points.setdefault(row["stem"], []).append([float(row[k]) - 1 for k in ("vi_x", "vi_y", "ir_x", "ir_y")])
    return {stem: torch.tensor(rows, dtype=torch.float64) for stem, rows in points.items()}


def error(transform: Transform, points: Tensor) -> float:
    return median(torch.linalg.vector_norm(transform.at(points[:, :2]) - points[:, 2:], dim=1).tolist())


def test_labelled_points_of_unregistered_pairs(shared: Path) -> None:
    folder = shared / "datasets" / "vis_ir_unreg"
    for stem, points in labelled(folder).items():
        pair = [grey_levels(io.read(folder / role / f"{stem}.png")[None])[0, 0].float() for role in ("vi", "ir")]
        result = solve(pair, reference=0)
        assert result.refused == []
        assert error(result.transforms[1], points) < 3


def test_a_real_focus_stack(shared: Path) -> None:
    """Measured between the warped neighbours, and again from the start: less than half a pixel of the whole is left."""
    folder = shared / "datasets" / "focus_stack_pcb"
    whole = [io.read(next(place.iterdir())) for place in sorted(folder.iterdir())[2:4]]
    stack = [grey_levels(picture[None])[0, 0].float() for picture in whole]
    result = solve(stack)
    assert max(found.after for found in result.found) < 0.5
    again = solve([warp(x[None], transform)[0][0] for x, transform in zip(stack, result.transforms, strict=True)])
    assert max(found.before for found in again.found) < 0.6
    assert all("in place" in line for line in again.said)
