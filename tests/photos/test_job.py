"""Whole jobs of `fuse`: what is asked for happens, what is not stays as it was."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from fuse import app
from fuse.data.optics import focus_pair
from fuse.photos import photo
from fuse.photos.photo import Photo, Stored
from fuse.photos.shelf import faded


def scene(side: int = 192, seed: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Near, far and sharp, colour, 8 bit."""
    (near, far), truth, _ = focus_pair(side, torch.Generator().manual_seed(seed))
    return near.mul(255).round().byte(), far.mul(255).round().byte(), truth.mul(255).round().byte()


def put(path: Path, pixels: Tensor, alpha: Tensor | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.write(path, Photo(pixels, alpha, Stored(path.suffix)))
    return path


def fuse(*words: object) -> None:
    app.main([str(word) for word in words])


def test_what_is_found_is_said_and_the_better_picture_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far, truth = scene()
    fuse(put(tmp_path / "a.png", near), put(tmp_path / "b.png", far), "-o", tmp_path / "out.png", "--align", "off")
    said = capsys.readouterr()
    assert "multi-focus" in said.err
    assert "method focus" in said.err
    errors = [
        float((x.float() - truth.float()).square().mean()) for x in (photo.read(tmp_path / "out.png").pixels, near, far)
    ]
    assert errors[0] < 0.5 * min(errors[1:])


def test_moved_pictures_are_moved_back_and_the_moves_can_be_used_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far, _ = scene(256)
    a, b = put(tmp_path / "a.png", near[:, 8:232, 8:232]), put(tmp_path / "b.png", far[:, 12:236, 3:227])
    fuse(a, b, "-o", tmp_path / "one.png", "--save-alignment", tmp_path / "moves.json")
    assert "b.png: moved by 6" in capsys.readouterr().err  # 4 down and 5 across
    stored = json.loads((tmp_path / "moves.json").read_text())["pictures"]
    assert [picture["name"] for picture in stored] == ["a.png", "b.png"]
    fuse(a, b, "-o", tmp_path / "two.png", "--align", tmp_path / "moves.json")
    assert torch.equal(photo.read(tmp_path / "one.png").pixels, photo.read(tmp_path / "two.png").pixels)
    fuse(a, b, "-o", tmp_path / "three.png", "--crop")
    height, width = photo.read(tmp_path / "three.png").pixels.shape[1:]
    assert 224 - 8 <= height < 224
    assert 224 - 9 <= width < 224


def test_a_rehearsal_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near, far, _ = scene(96)
    words = (put(tmp_path / "a.png", near), put(tmp_path / "b.png", far), "-o", tmp_path / "out.png", "--dry-run")
    fuse(*words, "--report", tmp_path / "r.html", "--map", tmp_path / "m.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert "would fuse" in capsys.readouterr().err


def test_a_map_says_where_each_place_comes_from(tmp_path: Path) -> None:
    frames = [torch.zeros(1, 40, 60, dtype=torch.uint8) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[:, :, 20 * number : 20 * number + 20] = 100 + 50 * number
    (tmp_path / "stack").mkdir()
    for number, frame in enumerate(frames):
        put(tmp_path / "stack" / f"{number}.png", frame)
    words = (tmp_path / "stack", "-o", tmp_path / "out.png", "--align", "off", "--method", "maximum")
    fuse(*words, "--map", tmp_path / "map.png")
    told = photo.read(tmp_path / "map.png").pixels
    assert [int(told[0, 20, x]) for x in (10, 30, 50)] == [0, 128, 255]
    assert torch.equal(photo.read(tmp_path / "out.png").pixels, torch.stack(frames).amax(0))


def test_a_report_holds_the_pictures_and_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far, _ = scene(96)
    words = ["a b.png", "b.png", "-o", "out.png", "--report", "out.html", "--task", "focus"]
    monkeypatch.chdir(tmp_path)
    put(Path("a b.png"), near)
    put(Path("b.png"), far)
    monkeypatch.setattr("sys.argv", ["fuse", *words])
    app.main(words)
    text = Path("out.html").read_text()
    assert "fuse &#39;a b.png&#39; b.png -o out.png" in text or "fuse 'a b.png' b.png -o out.png" in text
    assert text.count("data:image/") >= 3


def test_transparency_has_no_say_and_stays(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(0, 65536, (3, 30, 40), generator=generator).to(torch.uint16) for _ in range(2))
    hole, edge = (torch.full((1, 30, 40), 65535, dtype=torch.int32) for _ in range(2))
    hole[:, :, :20] = 0
    edge[:, :10] = 0
    a = put(tmp_path / "a.png", one, hole.to(torch.uint16))
    b = put(tmp_path / "b.png", other, edge.to(torch.uint16))
    fuse(a, b, "-o", tmp_path / "out.png", "--align", "off", "--method", "average")
    made = photo.read(tmp_path / "out.png")
    assert made.alpha is not None
    assert torch.equal(made.alpha.int(), torch.maximum(hole, edge))
    assert torch.equal(made.pixels[:, 10:, :20], other[:, 10:, :20])
    assert torch.equal(made.pixels[:, :10, 20:], one[:, :10, 20:])
    middle = (one[:, 10:, 20:].float() + other[:, 10:, 20:].float()) / 2
    assert (made.pixels[:, 10:, 20:].float() - middle).abs().max() <= 0.51


def test_doubled_edges_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, truth = scene(256)
    a, b = put(tmp_path / "a.png", truth[:, :, :240]), put(tmp_path / "b.png", truth[:, :, 6:246])
    fuse(a, b, "-o", tmp_path / "out.png", "--align", "off", "--method", "average")
    assert "edges are doubled, by about" in capsys.readouterr().err
    fuse(a, b, "-o", tmp_path / "out.png", "--method", "average")
    assert "doubled" not in capsys.readouterr().err


def test_thermal_values_are_stretched_on_request_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warm = (torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) * 900 + 7000).to(torch.uint16)
    a = put(tmp_path / "ir.tif", warm)
    b = put(tmp_path / "vi.tif", warm.flip(2))
    words = (a, b, "-o", tmp_path / "out.tif", "--align", "off", "--method", "maximum")
    fuse(*words)
    assert "ir.tif fills 1% of the range of 16 bits" in capsys.readouterr().err
    assert int(tifffile.imread(tmp_path / "out.tif").min()) >= 7000
    fuse(*words, "--stretch")
    assert "fills" not in capsys.readouterr().err
    assert int(tifffile.imread(tmp_path / "out.tif").max()) == 65535


def test_floats_come_out_on_their_scale_and_a_folder_gets_tiff(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(-3, 900, (2, 20, 24)).astype(np.float32)
    for role, picture in zip(("ir", "vi"), values, strict=True):
        (tmp_path / role).mkdir()
        tifffile.imwrite(tmp_path / role / "x.tif", picture)
    fuse(tmp_path / "ir", tmp_path / "vi", "-o", tmp_path / "out", "--align", "off", "--method", "maximum")
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "x.tif"), values.max(0))


def test_sizes_and_metadata_are_those_of_the_visible_picture(tmp_path: Path) -> None:
    near, _, _ = scene(192)
    colour = Image.fromarray(near.permute(1, 2, 0).numpy())
    exif = Image.Exif()
    exif[0x010E] = "a house"
    (tmp_path / "d").mkdir()
    colour.resize((384, 384)).save(tmp_path / "d" / "house_vis.jpg", exif=exif, quality=97)
    colour.convert("L").save(tmp_path / "d" / "house_ir.png")
    fuse(tmp_path / "d" / "house_ir.png", tmp_path / "d" / "house_vis.jpg", "-o", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as made:
        assert made.size == (384, 384)
        assert made.mode == "RGB"
        assert made.getexif()[0x010E] == "a house"


def test_outside_a_moved_picture_its_brightness_goes_on_and_then_the_other_picture() -> None:
    whole = torch.zeros(1, 64, 256, dtype=torch.uint8)
    whole[:, ::2] = 40  # stripes: detail that stays
    moved = whole + 100
    valid = torch.zeros(1, 64, 256, dtype=torch.bool)
    valid[..., :128] = True
    made = faded(moved, valid, whole, 64)
    assert torch.equal(made[..., :128], moved[..., :128])
    assert torch.equal(made[..., 200:], whole[..., 200:])
    step = made[0, :, 127:].float().diff(dim=1).abs().max()
    assert step <= 3
    assert (made[0, 0, 128:].int() - made[0, 1, 128:].int() - 40).abs().max() <= 1
