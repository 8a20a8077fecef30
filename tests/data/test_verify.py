"""What verifying finds in a set, and which scenes are held to be the same."""

from pathlib import Path

import pytest
import torch
from sets_on_disk import content, pair_set, put

from fuse.data import alike, io
from fuse.data.verify import verify
from fuse.errors import InputError


def test_a_whole_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch)
    put(data, files)
    report = verify(data)
    assert report.whole
    assert (report.right, report.files) == (6, 6)
    assert report.splits == {"all": (3, 3), "test": (1, 1), "val": (1, 1), "train": (1, 1)}
    assert report.missing == report.faults == report.equal == report.across == []
    assert report.manifest == data.manifest("all")


def test_every_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch, stems=("01", "02", "03", "04", "05", "06"))
    changed = dict(files)
    del changed["ir/06.png"], changed["vi/06.png"], changed["vi/05.png"]
    changed["ir/01.png"], changed["vi/01.png"] = files["vi/01.png"], files["ir/01.png"]
    changed["ir/02.png"] = b"no picture"
    changed["vi/02.png"] = files["vi/02.png"] + b"\0"
    changed["ir/03.png"] = io.encode(torch.zeros(3, 9, 9, dtype=torch.uint8), ".png")
    changed["vi/03.png"] = content(3, channels=1)
    changed["ir/99.png"] = content(99)
    put(data, changed)
    report = verify(data)
    assert not report.whole
    assert report.missing == ["06"]
    assert report.right == 3  # ir 04, vi 04, ir 05
    told = "\n".join(report.faults)
    for words in (
        "ir/01.png: has the bytes of vi/01.png",
        "vi/01.png: has the bytes of ir/01.png",
        "ir/02.png: ",
        "cannot be read as a picture",
        "vi/02.png: has other bytes",
        "ir/03.png: is 9x9, not 24x20",
        "vi/03.png: is stored as L, not RGB",
        "ir/99.png: not in the manifest",
        "05: lacks vi",
        "99: lacks vi",
    ):
        assert words in told
    assert len(report.faults) == 9


def test_equal_files_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch)
    put(data, files | {"vi/03.png": files["ir/02.png"]})
    assert verify(data).equal == [["ir/02.png", "vi/03.png"]]


def test_a_scene_in_two_parts_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch, stems=("01", "02", "03", "04"))
    dimmed = {
        f"{role}/04.png": io.encode((io.decode(files[f"{role}/01.png"]) // 2 + 40).to(torch.uint8), ".png")
        for role in ("ir", "vi")
    }
    put(data, files | dimmed)
    (line,) = verify(data).across
    assert line.startswith("01 (test) and 04 (train): ")
    put(data, {"vi/04.png": files["vi/04.png"]})  # only one source is the same
    assert verify(data).across == []
    data.splits = {"test": ["01", "04"], "train": ["02", "03"]}
    put(data, dimmed)
    assert verify(data).across == []  # both on one side


def test_without_a_manifest_files_are_read_and_sizes_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch)
    data.name = "brought"
    put(data, files)
    assert verify(data).whole
    put(data, {"ir/01.png": io.encode(torch.zeros(3, 9, 8, dtype=torch.uint8), ".png")})
    report = verify(data)
    assert report.manifest is None
    assert report.faults == ["01: its sources are of sizes [(8, 9), (24, 20)]"]


def test_a_set_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, _ = pair_set(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="fuse-data fetch toy"):
        verify(data)


def test_a_whole_role_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, files, _ = pair_set(tmp_path, monkeypatch)
    put(data, {place: found for place, found in files.items() if place.startswith("ir")})
    report = verify(data)
    assert report.faults == ["01: lacks vi", "02: lacks vi", "03: lacks vi"]
    assert report.right == 3


def noise(seed: int) -> torch.Tensor:
    return torch.randint(256, (1, 40, 52), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_thumbnails_ignore_brightness_contrast_and_size() -> None:
    picture = torch.nn.functional.interpolate(noise(0)[None].float(), scale_factor=3)[0].to(torch.uint8)
    own = alike.thumbnail(picture)
    assert own.shape == (256,)
    assert float(own @ own) == pytest.approx(1)
    assert abs(float(own.sum())) < 1e-9
    for other in ((picture // 2 + 60), noise(0)):
        assert float(own @ alike.thumbnail(other)) > 0.97
    assert abs(float(own @ alike.thumbnail(noise(1)))) < 0.5
    assert alike.thumbnail(torch.full((3, 9, 9), 7, dtype=torch.uint8)).abs().max() == 0


def test_same_scenes_need_every_source_and_come_in_order() -> None:
    a, b = (alike.thumbnail(noise(seed)) for seed in (0, 1))
    near = (a + 0.2 * b) / (a + 0.2 * b).norm()
    scenes = [[a, b], [near, b], [a, a], [a, b]]
    found = alike.same_scenes(["w", "x", "y", "z"], scenes)
    assert found[0][:2] == ("w", "z")
    assert {pair[:2] for pair in found} == {("w", "z"), ("w", "x"), ("x", "z")}
    assert found[0][2] == 1
    assert alike.same_scenes(["w"], [[a]]) == []


def test_the_sets_at_hand(shared: Path) -> None:
    """What is here of them is as their manifests say."""
    from fuse.data import registry

    for name in ("lytro", "tno", "mf_gray", "vis_ir_unreg", "lytro_triples"):
        report = verify(registry.load(name, str(shared / "datasets")))
        assert report.faults == report.across == report.equal == []
        assert report.right + 2 * len(report.missing) == report.files
