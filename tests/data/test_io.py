"""Pictures come out of files as they were put in, upright, or not at all."""

import io as streams
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fuse.data import io
from fuse.errors import InputError

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".webp")
# How a viewer turns the stored rows and columns (h, w, c) for each value of EXIF's orientation.
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}


def picture(channels: int, dtype: torch.dtype = torch.uint8, height: int = 13, width: int = 20) -> Tensor:
    levels = torch.iinfo(dtype).max + 1
    made = torch.randint(levels, (channels, height, width), generator=torch.Generator().manual_seed(channels))
    return made.to(dtype)


def file(image: Image.Image, kind: str, **settings: Any) -> bytes:
    stream = streams.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def pixels(tensor: Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour_survives_unchanged_and_in_the_order_of_channels(tmp_path: Path, suffix: str) -> None:
    made = picture(3)
    io.write(tmp_path / f"a{suffix}", made)
    assert torch.equal(io.read(tmp_path / f"a{suffix}"), made)
    assert np.array_equal(np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB")), pixels(made))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
def test_grey_stays_one_channel(tmp_path: Path, suffix: str) -> None:
    io.write(tmp_path / f"a{suffix}", picture(1))
    assert torch.equal(io.read(tmp_path / f"a{suffix}"), picture(1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_survive(tmp_path: Path, suffix: str, channels: int) -> None:
    made = picture(channels, torch.uint16)
    io.write(tmp_path / f"a{suffix}", made)
    back = io.read(tmp_path / f"a{suffix}")
    assert back.dtype == torch.uint16
    assert torch.equal(back.int(), made.int())


def test_jpeg_is_near_and_grey_jpeg_is_grey(tmp_path: Path) -> None:
    smooth = torch.linspace(20, 230, 64).round().to(torch.uint8).expand(1, 48, 64)
    io.write(tmp_path / "a.jpg", smooth)
    back = io.read(tmp_path / "a.jpg")
    assert back.shape == smooth.shape
    assert (back.int() - smooth.int()).abs().max() <= 2


@pytest.mark.parametrize("orientation", list(UPRIGHT))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "opaque PNG"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    tag = Image.Exif()
    tag[0x112] = orientation
    y, x = np.mgrid[:48, :80]
    stored = np.stack([3 * x, 5 * y, 255 - 2 * x - y], 2).clip(0, 255).astype(np.uint8)
    alpha = np.full((48, 80, 1), 255, np.uint8)
    shown = Image.fromarray(np.concatenate([stored, alpha], 2) if kind == "opaque PNG" else stored)
    settings = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    back = pixels(io.decode(file(shown, kind.split()[-1], exif=tag, **settings)))
    wanted = UPRIGHT[orientation](stored)
    assert back.shape == wanted.shape
    assert np.abs(back.astype(int) - wanted).max() <= (8 if kind == "JPEG" else 0)
    # What is written bears no tag, so a second reading does not turn it again.
    again = io.decode(io.encode(torch.from_numpy(back.transpose(2, 0, 1).copy()), ".png"))
    assert np.array_equal(pixels(again), back)


def test_palette_is_looked_up() -> None:
    image = Image.fromarray(pixels(picture(3))).quantize(16)
    back = io.decode(file(image, "PNG"))
    assert np.array_equal(pixels(back), np.asarray(image.convert("RGB")))


def test_opaque_alpha_is_dropped() -> None:
    colour = pixels(picture(3))
    opaque = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    assert np.array_equal(pixels(io.decode(file(Image.fromarray(opaque), "PNG"))), colour)


def test_one_transparent_pixel_is_refused() -> None:
    alpha = np.full((13, 20), 255, np.uint8)
    alpha[3, 4] = 254
    image = Image.fromarray(np.dstack([pixels(picture(3)), alpha]))
    with pytest.raises(InputError, match=r"leaf\.png has transparent pixels.*flatten"):
        io.decode(file(image, "PNG"), "leaf.png")
    grey = Image.fromarray(np.dstack([pixels(picture(1))[..., 0], alpha]), "LA")
    with pytest.raises(InputError, match="transparent"):
        io.decode(file(grey, "PNG"))
    with pytest.raises(InputError, match="transparent"):
        io.decode(file(Image.fromarray(pixels(picture(3))).quantize(16), "PNG", transparency=0))


def test_floating_point_from_0_to_1_becomes_16_bit() -> None:
    values = np.array([[0, 0.25, 1], [1 / 65535, 1e-6, 0.5]], np.float32)
    back = io.decode(file(Image.fromarray(values), "TIFF"))
    assert back.dtype == torch.uint16
    assert back.tolist() == [[[0, 16384, 65535], [1, 0, 32768]]]


@pytest.mark.parametrize("value", [-0.01, 1.01, 255, float("nan")])
def test_other_floating_point_values_are_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0, value]], np.float32))
    with pytest.raises(InputError, match=r"float32 values from .*allowed are 8 and 16 bit integers.*divide by"):
        io.decode(file(image, "TIFF"))


def test_other_depths_are_refused() -> None:
    image = Image.fromarray(pixels(picture(1))[..., 0].astype(np.int32))
    with pytest.raises(InputError, match="int32 values; allowed are 8 and 16 bit"):
        io.decode(file(image, "TIFF"))


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_four_inks_become_colour(kind: str) -> None:
    inks = np.zeros((16, 24, 4), np.uint8)  # cyan, magenta, yellow, black
    inks[:, :8], inks[:, 8:16], inks[:, 16:] = (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 128)
    back = io.decode(file(Image.fromarray(inks, "CMYK"), kind)).int()
    assert back.shape == (3, 16, 24)
    for column, wanted in ((2, (0, 255, 255)), (12, (255, 0, 0)), (22, (127, 127, 127))):
        assert back[:, 8, column].tolist() == pytest.approx(wanted, abs=6 if kind == "JPEG" else 1)


def test_alpha_beside_grey_in_tiff_is_refused_since_it_cannot_be_seen() -> None:
    grey = Image.fromarray(np.full((9, 9, 2), 200, np.uint8), "LA")
    with pytest.raises(InputError, match="transparent"):
        io.decode(file(grey, "TIFF"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_tiff_in_both_byte_orders(order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 262, 3, 1, 5, 0) + struct.pack(f"{order}HHIHH", 338, 3, 1, 2, 0)
    data = mark + struct.pack(f"{order}IH", 8, 2) + entries
    assert [io.tiff_tag(data, tag) for tag in (262, 338, 256)] == [5, 2, None]
    assert io.tiff_tag(data[:20], 338) is None
    assert io.tiff_tag(b"\x89PNG" + data[4:], 262) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_truncated_files_are_refused(kind: str, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    whole = file(Image.fromarray(pixels(picture(3, height=70, width=90))), kind)
    with pytest.raises(InputError, match=r"cut\.img cannot be read as a picture; allowed are \.png"):
        io.decode(whole[: int(len(whole) * share)], "cut.img")
    assert "OpenCV" not in capfd.readouterr().err


def test_text_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture\n" * 50)
    with pytest.raises(InputError, match=r"a\.png cannot be read as a picture"):
        io.read(tmp_path / "a.png")


def test_missing_file_and_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.png cannot be opened: No such file"):
        io.read(tmp_path / "b.png")
    with pytest.raises(InputError, match="cannot be opened"):
        io.read(tmp_path)


def test_a_header_that_promises_too_much_is_refused() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match="cannot be read"):
        io.decode(b"\x89PNG\r\n\x1a\n" + body, "bomb.png")


WHOLE = {kind: file(Image.fromarray(pixels(picture(3))), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")}


@given(
    kind=st.sampled_from(list(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_files_are_read_or_refused_but_never_crash(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        read = io.decode(bytes(data))
    except InputError:
        return
    assert read.dtype in (torch.uint8, torch.uint16)
    assert read.dim() == 3
    assert read.shape[0] in (1, 3)


@pytest.mark.parametrize(
    ("suffix", "made", "words"),
    [
        (".gif", picture(3), "'.gif' is no picture format known here"),
        (".jpg", picture(3, torch.uint16), "cannot hold 16 bit"),
        (".bmp", picture(1, torch.uint16), "cannot hold 16 bit"),
        (".webp", torch.zeros(3, 1, 17_000, dtype=torch.uint8), "cannot be written as '.webp'"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, suffix: str, made: Tensor, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        io.write(tmp_path / f"a{suffix}", made)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.png"
    io.write(target, picture(3))
    before = target.read_bytes()

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as half:
            half.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"a\.png cannot be written: No space left"):
        io.write(target, picture(1))
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_while_writing_leaves_no_picture_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        io.write(tmp_path / "a.png", picture(3))
    assert io.pictures(tmp_path) == {}  # what is left begins with a dot


def test_write_makes_its_folder(tmp_path: Path) -> None:
    io.write(tmp_path / "x" / "y" / "a.png", picture(3))
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["a.png"]


def test_write_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        io.write(tmp_path / "x" / "a.png", picture(3))


def test_pictures_of_a_folder_by_stem(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "c.d.tif"):
        (tmp_path / name).touch()
    assert list(io.pictures(tmp_path)) == ["a", "b", "c.d"]
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"a\.jpg and a\.png share a stem"):
        io.pictures(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        io.pictures(tmp_path / "nowhere")


def test_thumbnails_average_areas() -> None:
    made = torch.tensor([[[0, 100, 10, 10], [100, 200, 30, 30]]], dtype=torch.uint8)
    assert io.resize(made, 1, 2).tolist() == [[[100, 20]]]
    assert io.resize(picture(3), 6, 10).shape == (3, 6, 10)
