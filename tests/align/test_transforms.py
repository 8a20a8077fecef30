"""Transforms composed, scaled and stored, by hand."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fuse.align import transforms
from fuse.align.transforms import Transform
from fuse.errors import InputError


def matrix(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


SHIFT = Transform(matrix((1, 0, 3), (0, 1, -2), (0, 0, 1)), "translation", (40, 60), (40, 60))
TILT = Transform(matrix((1, 0, 0), (0, 1, 0), (0.01, 0, 1)), "homography", (40, 60), (40, 60))


def places(*points: tuple[float, float]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


def test_places() -> None:
    assert SHIFT.at(places((0, 0), (5, 7))).tolist() == [[3, -2], [8, 5]]
    assert TILT.at(places((100, 50))).tolist() == [[50, 25]]
    assert TILT.at(places((-200, 50))).isinf().all()  # behind the camera


def test_composition_goes_over_the_middle_picture() -> None:
    both = SHIFT.then(TILT)
    assert both.at(places((97, 52))).tolist()[0] == pytest.approx((50, 25))
    assert both.kind == "homography"
    assert TILT.then(SHIFT).at(places((100, 50))).tolist()[0] == pytest.approx((53, 23))
    with pytest.raises(InputError, match="do not meet: to 60x40, from 30x20"):
        SHIFT.then(transforms.still((20, 30), (20, 30)))


def test_inverse() -> None:
    assert torch.allclose(TILT.inverse().at(TILT.at(places((10, 30)))), places((10, 30)))


def test_another_size_keeps_the_places() -> None:
    """Pixels are squares: the centre of the first of a picture twice as large is at -0.25 of the small one."""
    large = SHIFT.scaled((80, 120), (80, 120))
    assert torch.allclose(large.matrix, matrix((1, 0, 6), (0, 1, -4), (0, 0, 1)))
    mixed = SHIFT.scaled((40, 60), (80, 120))
    assert torch.allclose(mixed.at(places((0, 0))), places((6.5, -3.5)))
    assert torch.allclose(TILT.scaled((80, 120), (80, 120)).scaled((40, 60), (40, 60)).matrix, TILT.matrix)


def test_nothing_moved_stays_exactly_nothing() -> None:
    nothing = transforms.still((40, 60), (40, 60))
    assert nothing.untouched
    assert nothing.scaled((333, 501), (333, 501)).untouched
    assert not SHIFT.untouched
    assert not transforms.still((40, 60), (80, 120)).untouched


def test_unequal_sizes_lie_centre_on_centre_and_are_not_stretched() -> None:
    sized = transforms.still((40, 60), (80, 120))
    assert torch.allclose(sized.at(places((29.5, 19.5), (0, 0))), places((59.5, 39.5), (0.5, 0.5)))
    wide = transforms.still((40, 90), (40, 40))
    assert wide.matrix[0, 0] == wide.matrix[1, 1] == pytest.approx(2 / 3)
    assert wide.motion() == pytest.approx((0, 1, 0))


def test_motion_in_numbers() -> None:
    assert SHIFT.motion() == pytest.approx((math.hypot(3, 2), 1, 0))
    angle = math.radians(30)
    c, s = 1.1 * math.cos(angle), 1.1 * math.sin(angle)
    turned = Transform(matrix((c, -s, 0), (s, c, 0), (0, 0, 1)), "similarity", (1, 1), (1, 1))
    assert turned.motion() == pytest.approx((0, 1.1, 30))


def test_stored_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    transforms.save(path, [SHIFT, TILT], ["a.png", "ä.png"])
    names, loaded = transforms.load(path)
    assert names == ["a.png", "ä.png"]
    for old, new in zip([SHIFT, TILT], loaded, strict=True):
        assert torch.equal(old.matrix, new.matrix)
        assert old[1:] == new[1:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.update(format="other"),
        lambda told: told.pop("reference"),
        lambda told: told["pictures"][0].pop("matrix"),
        lambda told: told["pictures"][0].update(matrix=[[1, 0], [0, 1]]),
        lambda told: told["pictures"][0].update(matrix=[[0, 0, 0]] * 3),
        lambda told: told["pictures"][0].update(matrix=[[math.nan] * 3] * 3),
        lambda told: told["pictures"][0].update(matrix="none"),
        lambda told: told["pictures"][0].update(kind="spline"),
        lambda told: told["pictures"][0].update(size=[0, 5]),
        lambda told: told.update(pictures=7),
        lambda told: told.update(pictures=[]),
    ],
)
def test_files_that_hold_no_transforms(tmp_path: Path, damage) -> None:
    path = tmp_path / "stack.json"
    transforms.save(path, [SHIFT], ["a"])
    told = json.loads(path.read_text())
    damage(told)
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match="holds no transforms"):
        transforms.load(path)


def test_files_that_are_no_json_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    for name in ("a.json", "b.json"):
        with pytest.raises(InputError, match="holds no transforms"):
            transforms.load(tmp_path / name)
    with pytest.raises(InputError, match="cannot be opened"):
        transforms.load(tmp_path / "c.json")
    with pytest.raises(InputError, match="cannot be written"):
        transforms.save(tmp_path / "a.json" / "d.json", [SHIFT], ["a"])


def test_another_stack_of_another_size() -> None:
    large = transforms.reused([transforms.still((40, 60), (40, 60)), SHIFT], [(400, 600), (400, 600)])
    assert large[0].untouched
    assert torch.allclose(large[1].matrix, matrix((1, 0, 30), (0, 1, -20), (0, 0, 1)))
    with pytest.raises(InputError, match="for 2 pictures, these are 1"):
        transforms.reused([SHIFT, SHIFT], [(40, 60)])
    with pytest.raises(InputError, match="60x40, a picture is 60x60"):
        transforms.reused([SHIFT], [(60, 60)])


def test_a_stored_reference_of_another_size_than_its_pictures() -> None:
    """Infrared aligned to a larger visible picture: both grow by the same factor."""
    infrared = transforms.still((80, 120), (40, 60))
    visible = transforms.still((80, 120), (80, 120))
    again = transforms.reused([infrared, visible], [(20, 30), (40, 60)])
    assert [t.reference for t in again] == [(40, 60), (40, 60)]
    assert again[1].untouched
