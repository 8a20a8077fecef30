"""Bringing one's own copy: known by content or by name, from folders and archives, and nothing dangerous."""

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from sets_on_disk import content, pair_set, put

from fuse.data import bring
from fuse.data.bring import Outcome
from fuse.data.sets import Folders
from fuse.errors import InputError


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def run(data: Folders, place: Path) -> Outcome:
    with bring.opened(place) as source:
        return bring.bring(data, source)


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_shuffled_and_renamed_files_are_known_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path / "root", monkeypatch)
    names = {f"junk/{number}/IMG_{number * 7 % 6}.png": place for number, place in enumerate(reversed(files))}
    zipped = archive(tmp_path / "mine.zip", {name: files[place] for name, place in names.items()})
    outcome = run(data, zipped)
    assert sorted(outcome.exact) == sorted(files)
    assert outcome.similar == outcome.unchecked == outcome.failures == []
    assert on_disk(data.folder) == files
    assert run(data, zipped) == outcome  # a second time changes nothing
    assert on_disk(data.folder) == files


def test_files_saved_anew_are_known_by_name_and_size_and_said_to_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files, _ = pair_set(tmp_path / "root", monkeypatch)
    mine = tmp_path / "mine"
    anew = {
        f"{'Thermal' if place[:2] == 'ir' else 'visible'}/{place[3:]}": found + b"\0" for place, found in files.items()
    }
    for name, found in anew.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(found)
    before = on_disk(mine)
    outcome = run(data, mine)
    assert sorted(outcome.similar) == sorted(files)
    assert outcome.exact == []
    assert on_disk(mine) == before
    assert bring.standing(data)["all"] == (3, 3)


def test_what_is_missing_is_told_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path / "root", monkeypatch)
    del files["vi/02.png"], files["ir/03.png"], files["vi/03.png"]
    run(data, archive(tmp_path / "mine.zip", files))
    assert bring.standing(data) == {"all": (1, 3), "test": (1, 1), "val": (0, 1), "train": (0, 1)}
    assert bring.lacking(data) == ["vi/02", "03"]


def test_a_picture_of_the_right_name_and_another_size_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _, entries = pair_set(tmp_path / "root", monkeypatch)
    monkeypatch.setattr(bring.manifest, "load", lambda name: tuple(e._replace(width=99) for e in entries))
    with pytest.raises(InputError, match=r"none of the 1 pictures in .* belongs to toy.*roles ir, vi"):
        run(data, archive(tmp_path / "mine.zip", {"ir/01.png": content(500)}))
    assert not data.folder.exists()


def test_two_files_for_one_place_are_both_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, _ = pair_set(tmp_path / "root", monkeypatch)
    outcome = run(data, archive(tmp_path / "mine.zip", {"x/ir/01.png": content(500), "y/ir/01.png": content(501)}))
    (failure,) = outcome.failures
    assert failure == "ir/01.png: x/ir/01.png and y/ir/01.png both could be it; none was taken"


def test_what_is_there_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path / "root", monkeypatch)
    put(data, {"ir/01.png": b"mine", "vi/01.bmp": b"mine too"})
    outcome = run(data, archive(tmp_path / "mine.zip", files))
    assert len(outcome.failures) == 2
    assert "ir/01.png is there already with other bytes" in outcome.failures[0]
    assert "vi/01.bmp is in its place" in outcome.failures[1]
    assert (data.folder / "ir/01.png").read_bytes() == b"mine"
    assert len(outcome.exact) == 4


def test_a_set_without_manifest_is_sorted_by_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, _ = pair_set(tmp_path / "root", monkeypatch)
    data.name, data.folder = "brought", tmp_path / "root" / "brought"
    members = {f"Set/{role}/{stem}.png": content(1) for role in ("Ir", "Vis") for stem in ("a", "b")}
    outcome = run(data, archive(tmp_path / "mine.zip", members | {"Set/Ir/alone.png": content(2)}))
    assert sorted(outcome.unchecked) == ["ir/a.png", "ir/b.png", "vi/a.png", "vi/b.png"]
    assert bring.standing(data)["all"] == (2, 0)
    assert bring.lacking(data) == []


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png"])
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(InputError, match="leaves the archive; nothing was taken"),
        bring.opened(archive(tmp_path / "evil.zip", {"ir/01.png": b"x", name: b"x"})),
    ):
        pass


def test_archives_that_unpack_to_far_more_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(tmp_path / "bomb.zip", {"ir/01.png": bytes(4_000_000)})
    with pytest.raises(InputError, match="unpacks to 4000000 bytes from"), bring.opened(bomb):
        pass
    many = archive(tmp_path / "many.zip", {f"ir/{n}.png": os.urandom(1000) for n in range(5)})
    monkeypatch.setattr(bring, "TOTAL", 4000)
    with pytest.raises(InputError, match="unpacks to more than"), bring.opened(many):
        pass


def test_links_passwords_and_other_files_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("ir/01.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"'ir/01\.png' is a link"), bring.opened(tmp_path / "link.zip"):
        pass

    locked = zipfile.ZipInfo("a.png")
    locked.flag_bits = 1
    with pytest.raises(InputError, match="locked by a password"):
        bring.check(locked, tmp_path)

    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match="neither a folder nor a zip archive"), bring.opened(tmp_path / "text.zip"):
        pass

    outside, folder = tmp_path / "outside.png", tmp_path / "folder"
    outside.write_bytes(content(1))
    folder.mkdir()
    (folder / "a.png").symlink_to(outside)
    with pytest.raises(InputError, match="is a link or lies behind one"), bring.opened(folder):
        pass


def test_a_damaged_member_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path / "root", monkeypatch)
    zipped = archive(tmp_path / "mine.zip", files, zipfile.ZIP_STORED)
    whole = zipped.read_bytes()
    at = whole.index(files["ir/02.png"]) + 60
    zipped.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    outcome = run(data, zipped)
    assert len(outcome.exact) == 5
    assert len(outcome.failures) == 1
    assert outcome.failures[0].startswith("ir/02.png: it is damaged in")


def test_hidden_and_foreign_files_are_not_looked_at(tmp_path: Path) -> None:
    members = {"ir/01.png": b"x", "__MACOSX/ir/01.png": b"x", "ir/._02.png": b"x", "readme.txt": b"x"}
    with bring.opened(archive(tmp_path / "mine.zip", members)) as source:
        assert source.files == [PurePosixPath("ir/01.png")]
