"""Role and stem of a file from the layouts that people have."""

from pathlib import PurePosixPath

import pytest

from fuse.data import names

FOCUS, HEAT, STACK = ("near", "far"), ("ir", "vi"), tuple(f"{n:02d}" for n in range(1, 13))


@pytest.mark.parametrize(
    ("path", "roles", "wanted"),
    [
        ("ir/01.png", HEAT, ("ir", "01")),
        ("TNO/Thermal/01.bmp", HEAT, ("ir", "01")),
        ("cropinfrared/FLIR_00006.jpg", HEAT, ("ir", "FLIR_00006")),
        ("crop_LR_visible/FLIR_00006.jpg", HEAT, ("vi", "FLIR_00006")),
        ("MSRS/test/vi/00537D.png", HEAT, ("vi", "00537D")),
        ("visible/test/190001.jpg", HEAT, ("vi", "190001")),
        ("A/c01.png", FOCUS, ("near", "c01")),
        ("source_2/17.jpg", FOCUS, ("far", "17")),
        ("MFI-WHU/full_clear/17.jpg", (*FOCUS, "gt"), ("gt", "17")),
        ("lytro-01-B.jpg", FOCUS, ("far", "lytro-01")),
        ("sourceimages/grayscale/g_01_1.tif", FOCUS, ("near", "g_01")),
        ("Triple Series/lytro-01-C.jpg", ("near", "mid", "far"), ("far", "lytro-01")),
        ("VIS_IR/VI_1_a.png", ("vi", "ir"), ("vi", "VI_1")),
        ("door/door5.jpg", STACK[:5], ("05", "door")),
        ("IR_07.png", HEAT, ("ir", "07")),
        ("VIS12.bmp", HEAT, ("vi", "12")),
        ("night_07_vis.png", HEAT, ("vi", "night_07")),
        ("Set_UE.tif", ("under", "over"), ("under", "Set")),
        ("brain_MR.nii.gz", ("ct", "mri"), ("mri", "brain")),
    ],
)
def test_the_likeliest_meaning(path: str, roles: tuple[str, ...], wanted: tuple[str, str]) -> None:
    assert names.meanings(PurePosixPath(path), roles)[0] == wanted


@pytest.mark.parametrize("path", ["01.png", "holiday.jpg", "x/13.png", "c.png"])
def test_no_meaning_where_there_is_none(path: str) -> None:
    assert names.meanings(PurePosixPath(path), STACK) == []


def test_the_reference_has_no_letter() -> None:
    assert names.role_of("c", ("near", "far", "gt")) is None
    assert names.role_of("2", ("near", "gt", "far")) == "far"
    assert names.role_of("0", FOCUS) is None


def test_one_way_is_chosen_for_all_files() -> None:
    """Names that end in numbers are stems where folders tell the roles, and roles where they do not."""
    folders = [PurePosixPath(f"{role}/scene_{n}.png") for role in ("near", "far") for n in (1, 2)]
    assert names.complete(names.sort(folders, FOCUS)) == ["scene_1", "scene_2"]
    flat = [PurePosixPath(f"scene_{n}.png") for n in (1, 2)]
    assert names.complete(names.sort(flat, FOCUS)) == ["scene"]
    both = [PurePosixPath(f"{role}/{stem}_{role}.png") for role in HEAT for stem in ("a", "b")]
    assert names.complete(names.sort(both, HEAT)) == ["a", "b"]


def test_several_files_for_one_place_stay_side_by_side() -> None:
    paths = [PurePosixPath("ir/1.png"), PurePosixPath("old/ir/1.png"), PurePosixPath("vi/1.png")]
    assert names.sort(paths, HEAT)["ir"]["1"] == paths[:2]


def test_nothing_is_complete_without_roles_or_files() -> None:
    assert names.complete({}) == []
    assert names.complete(names.sort([], HEAT)) == []
