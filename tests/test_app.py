"""The command `fuse`: own pictures in, one picture out, nothing lost."""

from pathlib import Path

import pytest
import torch

from fuse import app
from fuse.data import io
from fuse.data.optics import focus_pair


def pictures(folder: Path, count: int = 2, depth: torch.dtype = torch.uint8, suffix: str = ".png") -> list[Path]:
    """Made pictures of one scene, written to files."""
    full = torch.iinfo(depth).max
    sources, truth, _ = focus_pair(48, torch.Generator().manual_seed(1))
    made = (*sources, truth)[:count]
    paths = [folder / f"{name}{suffix}" for name in ("a", "b", "c")[:count]]
    for path, picture in zip(paths, made, strict=True):
        io.write(path, (picture[:, :40] * full).round().to(depth))
    return paths


def code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        app.main(words)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_size_depth_and_colour_stay(tmp_path: Path, depth: torch.dtype, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pictures(tmp_path, depth=depth)
    app.main([str(a), str(b), "-o", str(tmp_path / "out.png")])
    fused = io.read(tmp_path / "out.png")
    assert fused.shape == io.read(a).shape == (3, 40, 48)
    assert fused.dtype == depth
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(tmp_path / "out.png")


def test_maximum_takes_whole_pixels(tmp_path: Path) -> None:
    a, b = pictures(tmp_path)
    app.main([str(a), str(b), "-o", str(tmp_path / "out.png"), "--method", "maximum"])
    fused, near, far = (io.read(path) for path in (tmp_path / "out.png", a, b))
    assert ((fused == near).all(0) | (fused == far).all(0)).all()


def test_a_folder_of_three_is_a_stack(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    pictures(tmp_path / "stack", 3)
    app.main([str(tmp_path / "stack"), "-o", str(tmp_path / "out.tif"), "--method", "average"])
    want = torch.stack([io.read(path).float() for path in sorted((tmp_path / "stack").iterdir())]).mean(0)
    assert (io.read(tmp_path / "out.tif").float() - want).abs().max() <= 0.5 + 1e-3


def test_folders_are_matched_and_bad_pictures_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for role in ("ir", "vi"):
        (tmp_path / role).mkdir()
        for path in pictures(tmp_path / role):
            path.rename(tmp_path / role / f"{path.stem}-scene.png")
    (tmp_path / "ir" / "alone.png").write_bytes((tmp_path / "ir" / "a-scene.png").read_bytes())
    (tmp_path / "vi" / "b-scene.png").write_bytes(b"no picture")
    assert code([str(tmp_path / "ir"), str(tmp_path / "vi"), "-o", str(tmp_path / "out")]) == app.SOME_FAILED
    said = capsys.readouterr()
    assert "1 without a partner: alone" in said.err
    assert "b-scene" in said.err.split("failed:")[1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-scene.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "-o", "x.png"], "two or more"),
        (["a.png", "b.png", "-o", "x.xyz"], "names no picture format"),
        (["a.png", "b.png", "-o", "a.png"], "would be lost"),
        (["a.png", "missing.png", "-o", "x.png"], "cannot be found"),
        (["a.png", "small.png", "-o", "x.png"], "cannot be aligned and have different sizes"),
        (["a.png", ".", "-o", "x.png"], "cannot be mixed"),
        (["a.png", "b.png", "-o", "x.png", "--method", "laplacan"], "did you mean laplacian?"),
        (["a.png", "b.png", "-o", "x.png", "--device", "tpu"], "cannot be used here"),
    ],
)
def test_mistakes_end_in_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path)
    io.write(Path("small.png"), torch.zeros(1, 8, 8, dtype=torch.uint8))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert code(words) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
