"""Own pairs, stacks and single pictures as data, and what is said when they are not found."""

from pathlib import Path

import pytest
import torch

from fuse.data import io
from fuse.data.own import by_order, own
from fuse.errors import InputError


def write(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        io.write(folder / name, torch.full((3, 6, 8), number, dtype=torch.uint8))
    return folder


def test_pairs_are_told_from_folder_names(tmp_path: Path) -> None:
    write(tmp_path, *(f"{role}/{n}.png" for role in ("Thermal", "visible") for n in (1, 2, 3)))
    data = own(str(tmp_path), ["ir", "vi"], task="infrared")
    assert (data.name, data.task, data.roles, data.reference) == ("folder", "infrared", ("ir", "vi"), None)
    assert data.stems("all") == ["1", "2", "3"]
    first = next(data.samples("all"))
    assert first.roles == ("ir", "vi")
    assert [int(x.max()) for x in first.sources] == [0, 3]
    assert data.identity("all") != data.identity("test")
    assert data.manifest("all") is None


def test_pairs_with_truth_are_told_from_file_names(tmp_path: Path) -> None:
    write(tmp_path, "x_A.png", "x_B.png", "x_gt.png", "y_A.jpg", "y_B.png", "y_gt.tif", "z_A.png")
    data = own(str(tmp_path), ["near", "far"], reference="gt")
    assert data.stems("all") == ["x", "y"]
    assert next(data.samples("all")).reference is not None
    assert "1 scenes lack a role: z" in data.get


def test_patterns_say_where_a_role_lies(tmp_path: Path) -> None:
    write(tmp_path, "t/a1.png", "t/a2.png", "c/a1_rgb.png", "c/a2_rgb.png", "c/a1_mask.png")
    data = own(str(tmp_path), ["ir", "vi"], {"ir": "t/*.png", "vi": "c/*_rgb.png"})
    assert data.stems("all") == ["a1", "a2"]
    assert [int(x.max()) for x in next(data.samples("all")).sources] == [0, 2]
    write(tmp_path / "n", "1/near.png", "2/near.png", "1/far.png", "2/far.png")
    nested = own(str(tmp_path), ["near", "far"], {"near": "n/*/near.png", "far": "n/*/far.png"})
    assert nested.stems("all") == ["1", "2"]


@pytest.mark.parametrize("pattern", ["t/a.png", "*/*.png", "/etc/*", "../*.png"])
def test_patterns_that_cannot_be_used(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=r"data\.patterns\.ir=.*one \* for the name"):
        own(str(tmp_path), ["ir"], {"ir": pattern})
    with pytest.raises(InputError, match=r"data\.patterns\.vi=missing"):
        own(str(tmp_path), ["ir", "vi"], {"ir": "ir/*.png"})


def test_every_folder_of_a_stack_is_a_scene(tmp_path: Path) -> None:
    write(tmp_path, *(f"{scene}/IMG_{n}.png" for scene in ("bee", "fly") for n in (17, 18, 20)))
    data = own(str(tmp_path), "stack")
    assert data.roles == ("01", "02", "03")
    assert data.stems("all") == ["bee", "fly"]
    assert [int(x.max()) for x in list(data.samples("all"))[1].sources] == [3, 4, 5]
    alone = own(str(tmp_path / "bee"), "stack")
    assert alone.stems("test") == ["bee"]
    with pytest.raises(InputError, match="found a 1"):
        own(str(write(tmp_path.with_name("short"), "a/1.png", "b/1.png")), "stack")
    write(tmp_path, "wasp/1.png", "wasp/2.png")
    with pytest.raises(InputError, match="one length of two or more pictures are needed; found bee 3, fly 3, wasp 2"):
        own(str(tmp_path), "stack")


def test_single_pictures(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    data = own(str(tmp_path), "single")
    assert data.roles == ("picture",)
    assert [s.names[0] for s in data.samples("all")] == ["a", "b"]


def test_what_was_found_and_what_was_not_is_said(tmp_path: Path) -> None:
    write(tmp_path, "ir/1.png", "ir/2.png", "colour/1.png")
    with pytest.raises(InputError) as caught:
        own(str(tmp_path), ["ir", "vi"])
    message = str(caught.value)
    for words in (
        str(tmp_path),
        "no scene is complete",
        "ir: 2 pictures, such as",
        "vi: 0 pictures",
        "colour/ 1",
        "data.patterns=",
    ):
        assert words in message


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path=nowhere is not a folder"):
        own("nowhere")
    with pytest.raises(InputError, match=r"data\.roles=pairs: give a list"):
        own(str(tmp_path), "pairs")
    write(tmp_path, "ir/1.png", "ir/old/1.png", "vi/1.png")
    with pytest.raises(InputError, match=r"both mean ir of 1; say which with data\.patterns"):
        own(str(tmp_path), ["ir", "vi"])


def test_neighbours_stay_on_one_side() -> None:
    stems = [f"{n:02d}" for n in range(40)]
    assert by_order(stems) == {"test": stems[36:], "val": stems[32:36], "train": "rest"}
    assert by_order(stems[:3]) == {"test": ["02"], "val": ["01"], "train": "rest"}
    assert by_order(stems[:2]) == {"test": ["00", "01"]}
    assert by_order(["a[1]", "b", "c"])["test"] == ["c"]


def test_names_with_brackets_are_stems_and_no_patterns(tmp_path: Path) -> None:
    write(tmp_path, *(f"{role}/{stem}.png" for role in ("near", "far") for stem in ("a1", "b[1]", "c[2]")))
    data = own(str(tmp_path))
    assert [data.stems(split) for split in ("train", "val", "test")] == [["a1"], ["b[1]"], ["c[2]"]]
