"""What goes in comes out: every kind of picture through every format that holds it, judged by other libraries."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fuse.errors import InputError
from fuse.photos import photo
from fuse.photos.photo import Photo, Stored

DEPTHS = {"8": torch.uint8, "16": torch.uint16, "float": torch.float32}
HOLD = {  # what each format can hold: depths, and whether it knows transparency
    ".png": (("8", "16"), True),
    ".tif": (("8", "16", "float"), True),
    ".tiff": (("8", "16", "float"), True),
    ".webp": (("8",), True),
    ".bmp": (("8",), False),
    ".jpg": (("8",), False),
}
EXACT = [suffix for suffix in HOLD if suffix != ".jpg"]


def made(channels: int, depth: str, alpha: bool = False, height: int = 13, width: int = 21, seed: int = 0) -> Photo:
    random = np.random.default_rng(seed)
    shape = channels + alpha, height, width
    if depth == "float":
        planes = torch.from_numpy(random.normal(0, 900, shape).astype(np.float32))
    else:
        top = {"8": 255, "16": 65535}[depth]
        planes = torch.from_numpy(random.integers(0, top, shape, endpoint=True).astype(f"uint{depth}"))
    return Photo(planes[:channels], planes[channels:] if alpha else None, Stored(".tif"))


def same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy())


def shown(path: Path) -> Image.Image:
    """As Pillow reads it, no file left open."""
    return Image.open(io.BytesIO(path.read_bytes()))


def flat(picture: Photo) -> np.ndarray:
    planes = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    values = torch.cat(planes).permute(1, 2, 0).numpy()
    return values[..., 0] if values.shape[2] == 1 else values


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("suffix", HOLD)
def test_kept_or_refused(tmp_path: Path, suffix: str, depth: str, channels: int, alpha: bool) -> None:
    picture, path = made(channels, depth, alpha), tmp_path / f"a{suffix}"
    depths, transparent = HOLD[suffix]
    if depth not in depths or (alpha and not transparent):
        with pytest.raises(InputError, match=r"cannot hold a .* picture .*; write .*\.tif"):
            photo.write(path, picture)
        assert list(tmp_path.iterdir()) == []
        return
    photo.write(path, picture)
    assert list(tmp_path.iterdir()) == [path]
    head, back = photo.header(path), photo.read(path)
    grey_as_colour = suffix == ".webp" and channels == 1
    assert (head.width, head.height, head.channels) == (21, 13, 3 if grey_as_colour else channels)
    assert (head.depth, head.alpha) == (DEPTHS[depth], alpha)
    assert back.pixels.dtype == DEPTHS[depth]
    assert back.pixels.shape == (head.channels, 13, 21)
    if suffix != ".jpg":
        assert same(back.pixels, picture.pixels.expand(head.channels, -1, -1))
        assert same(back.alpha, picture.alpha)


@given(
    st.sampled_from(EXACT),
    st.sampled_from(list(DEPTHS)),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 99),
)
def test_what_is_held_is_the_same_after_any_number_of_rounds(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    depth: str,
    channels: int,
    alpha: bool,
    height: int,
    width: int,
    seed: int,
) -> None:
    depths, transparent = HOLD[suffix]
    if depth not in depths or (alpha and not transparent):
        return
    path = tmp_path_factory.mktemp("round") / f"a{suffix}"
    picture = made(channels, depth, alpha, height, width, seed)
    photo.write(path, picture)
    once = photo.read(path)
    photo.write(path, once)
    twice = photo.read(path)
    assert same(once.pixels, picture.pixels.expand(once.pixels.shape[0], -1, -1))
    assert same(twice.pixels, once.pixels)
    assert same(twice.alpha, once.alpha)
    assert twice.stored == once.stored


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_others_read_what_is_written(tmp_path: Path, channels: int, alpha: bool) -> None:
    for suffix in (".png", ".tif", ".webp", ".bmp"):
        if alpha and suffix == ".bmp":
            continue
        picture = made(channels, "8", alpha)
        photo.write(tmp_path / f"a{suffix}", picture)
        found = shown(tmp_path / f"a{suffix}")
        wanted = Image.fromarray(flat(picture), {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels + alpha])
        assert np.array_equal(np.asarray(found.convert("RGBA")), np.asarray(wanted.convert("RGBA"))), suffix
    for depth in ("16", "float"):
        picture = made(channels, depth, alpha)
        photo.write(tmp_path / "a.tif", picture)
        assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), flat(picture))


@pytest.mark.parametrize("order", ["interleaved", "planar"])
def test_layout_in_memory_does_not_matter(tmp_path: Path, order: str) -> None:
    picture = made(3, "16")
    moved = picture.pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1) if order == "interleaved" else picture.pixels
    photo.write(tmp_path / "a.png", picture._replace(pixels=moved))
    assert same(photo.read(tmp_path / "a.png").pixels, picture.pixels)


def test_opaque_transparency_may_go_where_there_is_none(tmp_path: Path) -> None:
    picture = made(3, "8")
    photo.write(tmp_path / "a.bmp", picture._replace(alpha=torch.full((1, 13, 21), 255, dtype=torch.uint8)))
    assert same(photo.read(tmp_path / "a.bmp").pixels, picture.pixels)
    nearly = torch.full((1, 13, 21), 255, dtype=torch.uint8)
    nearly[0, 5, 5] = 254
    with pytest.raises(InputError, match=r"with transparency; write \.png or \.tif or \.webp"):
        photo.write(tmp_path / "b.jpg", picture._replace(alpha=nearly))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    picture = made(1, "float")
    picture.pixels[0, 3, 4] = value
    with pytest.raises(InputError, match="not finite"):
        photo.write(tmp_path / "a.tif", picture)
    tifffile.imwrite(tmp_path / "b.tif", picture.pixels[0].numpy())
    with pytest.raises(InputError, match=r"b\.tif holds values that are not finite"):
        photo.read(tmp_path / "b.tif")
    assert not (tmp_path / "a.tif").exists()


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65501), (".webp", 16384)])
def test_sides_beyond_a_format(tmp_path: Path, suffix: str, side: int) -> None:
    long = Photo(torch.zeros(1, 1, side, dtype=torch.uint8), None, Stored(".png"))
    with pytest.raises(InputError, match=rf"{side} x 1; write \.png or \.tif"):
        photo.write(tmp_path / f"a{suffix}", long)
    short = long._replace(pixels=long.pixels[..., 1:])
    photo.write(tmp_path / f"a{suffix}", short)
    assert photo.header(tmp_path / f"a{suffix}").width == side - 1


@pytest.mark.parametrize("name", ["a.gif", "a", "a.dcm", "a.nii.gz"])
def test_endings_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no ending that can be written; allowed are \.png"):
        photo.write(tmp_path / name, made(1, "8"))


def test_a_full_disk_or_a_stop_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    photo.write(path, made(1, "8"))
    before = path.read_bytes()
    for problem, raised in (
        (OSError(28, "No space left on device"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def fail(place: Path, *_: object, problem: BaseException = problem) -> None:
            place.write_bytes(b"half")
            raise problem

        monkeypatch.setattr(photo.tiff, "write", fail)
        with pytest.raises(raised):
            photo.write(path, made(3, "8"))
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == before
