"""Data sets on disk: who is in which split, and what is said when something is missing."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fuse.data import io, manifest
from fuse.data.manifest import Entry
from fuse.data.sets import Folders, data_root
from fuse.errors import InputError

STEMS = ["1", "11", "2", "a_1", "a_2", "b_1"]


def made(root: Path, roles: tuple[str, ...] = ("near", "far"), stems: list[str] = STEMS) -> Path:
    for channel, role in enumerate(roles):
        for number, stem in enumerate(stems):
            picture = torch.full((3, 4, 5), 10 * number, dtype=torch.uint8)
            picture[min(channel, 2)] += 5
            io.write(root / "toy" / role / f"{stem}.png", picture)
    return root


def toy(root: Path, **settings: Any) -> Folders:
    usual = {
        "name": "toy",
        "task": "focus",
        "roles": ["near", "far"],
        "splits": {"test": ["1", "a_*"], "few": ["a_1"], "val": ["2"], "train": "rest"},
        "get": "Ask its authors.",
        "root": str(root),
    }
    return Folders(**usual | settings)


def test_splits(tmp_path: Path) -> None:
    data = toy(made(tmp_path))
    assert data.stems("all") == STEMS
    assert data.stems("test") == ["1", "a_1", "a_2"]
    assert data.stems("few") == ["a_1"]
    assert data.stems("val") == ["2"]
    assert data.stems("train") == ["11", "b_1"]  # what no other split names


def test_patterns_match_whole_stems(tmp_path: Path) -> None:
    root = made(tmp_path, stems=["2001", "20010", "x2001", "28001"])
    assert toy(root, splits={"test": ["200?"]}).stems("test") == ["2001"]
    assert toy(root, splits={"test": ["200??"]}).stems("test") == ["20010"]


def test_numbers_in_a_split_mean_stems(tmp_path: Path) -> None:
    assert toy(made(tmp_path), splits={"test": [1, 2]}).stems("test") == ["1", "2"]


def test_unknown_split_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="toy has no split 'tset'; it has all, test, few, val, train"):
        toy(made(tmp_path)).stems("tset")


def test_a_split_of_which_nothing_is_here(tmp_path: Path) -> None:
    data = toy(made(tmp_path, stems=["1"]))
    with pytest.raises(InputError, match=r"split 'val' of toy: none of its pictures is in .*toy\. .*Ask its authors"):
        data.stems("val")


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        toy(tmp_path / "nowhere").stems("all")
    message = str(caught.value)
    for words in (str(tmp_path / "nowhere" / "toy"), "data.root=PATH", "FUSE_DATA", "toy/near/", "Ask its authors."):
        assert words in message
    assert "fuse-data import toy FOLDER_OR_ZIP" in message
    with pytest.raises(InputError, match="fuse-data fetch lytro"):
        toy(tmp_path, name="lytro").stems("all")


def test_a_missing_role_is_said(tmp_path: Path) -> None:
    made(tmp_path, roles=("near",))
    with pytest.raises(InputError, match=r"toy/far is not a folder.*fuse-data import toy"):
        toy(tmp_path).stems("all")


def test_samples_are_pictures_as_stored_in_the_order_of_the_roles(tmp_path: Path) -> None:
    data = toy(made(tmp_path, roles=("near", "far", "gt")), reference="gt", roles=["far", "near"])
    first, *_, last = data.samples("all")
    assert first.roles == ("far", "near")
    assert (first.names, last.names) == (("1",), ("b_1",))
    assert first.sources[0].shape == (1, 3, 4, 5)
    assert first.sources[0].dtype == torch.uint8
    assert first.sources[0][0, :, 0, 0].tolist() == [0, 5, 0]
    assert first.role("near")[0, :, 0, 0].tolist() == [5, 0, 0]
    assert first.reference is not None
    assert first.reference[0, :, 0, 0].tolist() == [0, 0, 5]
    assert first.role("reference") is first.reference
    with pytest.raises(InputError, match="role 'ir' is not in this data, which has far, near, reference"):
        first.role("ir")


def test_no_reference_unless_named(tmp_path: Path) -> None:
    sample = next(toy(made(tmp_path, roles=("near", "far", "gt"))).samples("all"))
    assert sample.reference is None
    with pytest.raises(InputError, match="role 'reference' is not in this data, which has near, far"):
        sample.role("reference")


def test_stems_that_lack_a_role_are_left_out_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = made(tmp_path)
    (root / "toy" / "far" / "2.png").unlink()
    (root / "toy" / "near" / "a_2.png").unlink()
    data = toy(root)
    with caplog.at_level(logging.WARNING):
        assert data.stems("all") == ["1", "11", "a_1", "b_1"]
        data.stems("test")
    assert [record.getMessage() for record in caplog.records] == ["toy: 2 stems lack a role and are left out: 2, a_2"]


def test_roles_may_differ_in_format(tmp_path: Path) -> None:
    root = made(tmp_path)
    io.write(root / "toy" / "far" / "1.tif", torch.zeros(1, 4, 5, dtype=torch.uint8))
    (root / "toy" / "far" / "1.png").unlink()
    sample = next(toy(root).samples("test"))
    assert [x.shape[1] for x in sample.sources] == [3, 1]


def test_identity_follows_every_byte_and_name(tmp_path: Path) -> None:
    root = made(tmp_path)
    before = toy(root).identity("test")
    assert before == toy(root).identity("test")
    assert before != toy(root).identity("all")
    assert len(before) == 12

    copy = tmp_path / "copy"
    shutil.copytree(root / "toy", copy / "toy")
    assert toy(copy).identity("test") == before  # the place does not matter

    picture = root / "toy" / "far" / "a_1.png"
    picture.write_bytes(picture.read_bytes() + b"\0")  # the same pixels, another file
    assert toy(root).identity("test") != before

    (copy / "toy" / "near" / "a_2.png").rename(copy / "toy" / "near" / "a_3.png")
    (copy / "toy" / "far" / "a_2.png").rename(copy / "toy" / "far" / "a_3.png")
    assert toy(copy).identity("test") != before


def test_a_manifest_is_stated_and_whether_the_files_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy(made(tmp_path))
    assert data.manifest("test") is None
    entries = tuple(
        Entry(role, stem, "a/b", "c", f"{role}/{stem}.png", path.stat().st_size, digest(path), 5, 4, "RGB")
        for role in data.roles
        for stem, path in io.pictures(data.folder / role).items()
    )
    monkeypatch.setattr(manifest, "exists", lambda name: True)
    monkeypatch.setattr(manifest, "load", lambda name: entries)
    assert data.manifest("test") == manifest.identity(entries)
    (tmp_path / "toy" / "far" / "a_1.png").write_bytes((tmp_path / "toy" / "far" / "1.png").read_bytes())
    assert data.manifest("test") == f"{manifest.identity(entries)}, but 1 of 6 files are others"
    assert data.manifest("val") == manifest.identity(entries)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_unregistered_sets_warn_and_only_when_they_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        list(toy(made(tmp_path)).samples("val"))
        data = toy(tmp_path, registered=False)
        data.stems("val")
        assert caplog.records == []
        next(data.samples("val"))
    assert [r.getMessage() for r in caplog.records] == [
        "toy: the sources of a scene are not registered; align them before you fuse"
    ]


def test_capitals_tell_stems_apart_on_every_system(tmp_path: Path) -> None:
    assert toy(made(tmp_path, stems=["Door", "door"]), splits={"test": ["d*"]}).stems("test") == ["door"]


def test_members_of_a_split_need_no_files(tmp_path: Path) -> None:
    data = toy(tmp_path / "nowhere")
    assert data.members("test", ["a_7", "1", "2"]) == ["a_7", "1"]
    assert data.members("train", ["a_7", "1", "2", "9"]) == ["9"]
    assert data.members("all", ["9", "1"]) == ["9", "1"]


def test_where_the_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(None) == tmp_path / "cache" / "fuse"
    monkeypatch.setenv("FUSE_DATA", str(tmp_path / "mine"))
    assert data_root(None) == tmp_path / "mine"
    assert data_root(str(tmp_path / "given")) == tmp_path / "given"
    assert data_root("~/x") == Path.home() / "x"
    monkeypatch.delenv("FUSE_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root(None) == Path.home() / ".cache" / "fuse"


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    root = made(tmp_path)
    (root / "toy" / "near" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"near/2\.png cannot be read"):
        list(toy(root).samples("val"))
