"""Files of other makers: every way to store a picture is read as other libraries read it, or refused in one message."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from fuse.errors import InputError
from fuse.photos import colour, photo

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (21, 34, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
DEEP = RANDOM.integers(0, 65536, (21, 34, 3)).astype(np.uint16)
ALPHA = RANDOM.integers(0, 65536, (21, 34)).astype(np.uint16)
FLOAT = RANDOM.normal(0, 1000, (21, 34, 3)).astype(np.float32)
PALETTE = Image.fromarray(COLOUR).quantize(16)
BITS = (GREY > 100) * np.uint8(255)


def values(path: Path) -> np.ndarray:
    """Pixels and transparency as `(h, w)` or `(h, w, c)`; the header must have promised them."""
    head, back = photo.header(path), photo.read(path)
    planes = [back.pixels] if back.alpha is None else [back.pixels, back.alpha]
    found = torch.cat(planes).permute(1, 2, 0).numpy()
    assert (head.height, head.width, head.channels + head.alpha) == found.shape
    assert head.depth == back.pixels.dtype
    assert head.bytes == found.nbytes
    return found[..., 0] if found.shape[2] == 1 else found


def is_read(path: Path, wanted: np.ndarray) -> None:
    found = values(path)
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("shape", ["grey", "colour"])
@pytest.mark.parametrize("pixels", [COLOUR, DEEP, FLOAT], ids=["8", "16", "float"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd"])
def test_tiff_compressions(tmp_path: Path, compression: str | None, pixels: np.ndarray, shape: str) -> None:
    wanted = pixels if shape == "colour" else np.ascontiguousarray(pixels[..., 0])
    kind = "rgb" if shape == "colour" else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif",
        wanted,
        photometric=kind,
        compression=compression,
        predictor=compression in ("lzw", "deflate"),
    )
    is_read(tmp_path / "a.tif", wanted)


@pytest.mark.parametrize(
    "how",
    [{"byteorder": ">"}, {"bigtiff": True}, {"tile": (16, 16)}, {"rowsperstrip": 5}],
    ids=lambda how: next(iter(how)),
)
def test_tiff_layouts(tmp_path: Path, how: dict[str, Any]) -> None:
    for pixels in (DEEP, FLOAT):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **how)
        is_read(tmp_path / "a.tif", pixels)
    apart = np.ascontiguousarray(DEEP.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "a.tif", apart, photometric="rgb", planarconfig="separate", **how)
    is_read(tmp_path / "a.tif", DEEP)


def test_tiff_where_white_is_0(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    is_read(tmp_path / "a.tif", 255 - GREY)
    tifffile.imwrite(tmp_path / "a.tif", ALPHA, photometric="miniswhite")
    is_read(tmp_path / "a.tif", 65535 - ALPHA)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_palettes_and_single_bits(tmp_path: Path, name: str) -> None:
    PALETTE.save(tmp_path / name)
    is_read(tmp_path / name, np.asarray(PALETTE.convert("RGB")))
    Image.fromarray(GREY > 100).save(tmp_path / name)
    is_read(tmp_path / name, BITS)


def test_fax_and_few_bits(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / "a.tif", compression="group4")
    is_read(tmp_path / "a.tif", BITS)
    rows = [b"\0" + bytes([0x1B, 0xE4])] * 2  # 0 1 2 3 3 2 1 0 in two bits each
    (tmp_path / "a.png").write_bytes(png_of(8, 2, 2, 0, b"".join(rows)))
    is_read(tmp_path / "a.png", np.array([[0, 85, 170, 255, 255, 170, 85, 0]] * 2, np.uint8))


def png_of(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    out = photo.png.SIGNATURE
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return out


def test_transparency_of_every_kind(tmp_path: Path) -> None:
    PALETTE.save(tmp_path / "a.png", transparency=3)
    is_read(tmp_path / "a.png", np.asarray(Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).convert("RGBA")))
    key = int(GREY[2, 3])
    Image.fromarray(GREY).save(tmp_path / "a.png", transparency=key)
    is_read(tmp_path / "a.png", np.dstack([GREY, np.where(key == GREY, 0, 255).astype(np.uint8)]))
    Image.fromarray(ALPHA).save(tmp_path / "a.png", transparency=int(ALPHA[2, 3]))
    is_read(tmp_path / "a.png", np.dstack([ALPHA, np.where(ALPHA[2, 3] == ALPHA, 0, 65535).astype(np.uint16)]))
    both = np.dstack([GREY, COLOUR[..., 1]])
    for name in ("a.png", "a.tif"):
        Image.fromarray(both, "LA").save(tmp_path / name)
        is_read(tmp_path / name, both)
    deep = np.dstack([DEEP, ALPHA])
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extrasamples=["unassalpha"])
    is_read(tmp_path / "a.tif", deep)


def test_colours_multiplied_by_transparency_are_divided(tmp_path: Path) -> None:
    stored = np.array([[[30000, 65535], [15000, 32768], [0, 0], [7, 65535]]], np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack", extrasamples=["assocalpha"], planarconfig="contig"
    )
    is_read(tmp_path / "a.tif", np.array([[[30000, 65535], [30000, 32768], [0, 0], [7, 65535]]], np.uint16))


def test_cmyk_by_rule_of_thumb_is_said(tmp_path: Path) -> None:
    inks = Image.fromarray(COLOUR).convert("CMYK")
    for name, how in (("a.jpg", {"quality": 100}), ("a.tif", {}), ("b.tif", {"compression": "tiff_lzw"})):
        inks.save(tmp_path / name, **how)
        back = photo.read(tmp_path / name)
        wanted = np.asarray(Image.open(io.BytesIO((tmp_path / name).read_bytes())).convert("RGB"))
        assert np.abs(back.pixels.permute(1, 2, 0).numpy().astype(int) - wanted).max() <= 1
        assert back.stored.said == ("CMYK without an ICC profile was converted to RGB by a rule of thumb",)


def test_cmyk_through_its_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No free CMYK profile comes with any library, so the conversion is watched instead.
    asked: list[tuple[bytes | None, bytes | None]] = []

    def converted(pixels: np.ndarray, source: bytes | None, target: bytes | None) -> np.ndarray:
        asked.append((source, target))
        return pixels[..., :3]

    monkeypatch.setattr(colour, "converted", converted)
    profile = bytes(16) + b"CMYK" + bytes(200)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=profile)
    back = photo.read(tmp_path / "a.jpg")
    assert asked == [(profile, None)]
    assert colour.space(back.stored.icc) == "RGB"
    assert back.stored.said == ("CMYK was converted to sRGB through its ICC profile",)


def test_wider_floats_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT[..., 0].astype(np.float64) / 3)
    is_read(tmp_path / "a.tif", (FLOAT[..., 0].astype(np.float64) / 3).astype(np.float32))
    assert photo.read(tmp_path / "a.tif").stored.said == ("its 64 bit values were rounded to 32 bit ones",)
    tifffile.imwrite(tmp_path / "b.tif", FLOAT[..., 0].astype(np.float16))
    is_read(tmp_path / "b.tif", FLOAT[..., 0].astype(np.float16).astype(np.float32))


def test_a_smaller_copy_beside_the_picture_is_passed_over(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(DEEP, photometric="rgb", metadata=None)
        file.write(DEEP[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    is_read(tmp_path / "a.tif", DEEP)


def test_further_pictures_of_a_camera_are_said(tmp_path: Path) -> None:
    one = Image.fromarray(COLOUR)
    one.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[one])
    assert photo.read(tmp_path / "a.jpg").stored.said == (
        "the further pictures in the file (previews, depth, gain maps) were left out",
    )


def test_content_decides_and_says_so(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", "PNG")
    is_read(tmp_path / "a.jpg", COLOUR)
    back = photo.read(tmp_path / "a.jpg")
    assert back.stored.suffix == ".png"
    assert back.stored.said == ("its name ends in .jpg, but it is a .png file and was read as one",)


def several(path: Path) -> None:
    one = Image.fromarray(COLOUR)
    one.save(path, save_all=True, append_images=[Image.fromarray(255 - COLOUR)])


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.png", several, "is animated; save its frames"),
        ("a.webp", several, "is animated; save its frames"),
        ("a.tif", several, "several pages; split it first"),
        ("b.tif", lambda path: tifffile.imwrite(path, np.stack([GREY] * 3), imagej=True), "several pages"),
        ("a.gif", several, "is a GIF file: save it as PNG"),
        ("int16.tif", lambda path: tifffile.imwrite(path, GREY.astype(np.int16)), "holds int16 values; allowed are 8"),
        ("uint32.tif", lambda path: tifffile.imwrite(path, GREY.astype(np.uint32)), "holds uint32 values"),
        ("lab.tif", lambda path: Image.fromarray(COLOUR).convert("LAB").save(path), "3 channels, CIELab; allowed"),
        ("a.avif", lambda path: Image.fromarray(COLOUR).save(path), "HEIF, AVIF or video"),
        ("a.nef", lambda path: Image.fromarray(COLOUR).save(path, "TIFF"), "raw file; develop it"),
        ("page.jpg", lambda path: path.write_text("<!doctype html>"), "was a web page saved"),
        ("none.png", lambda path: path.write_bytes(b""), "is empty"),
        ("noise.png", lambda path: path.write_bytes(b"\1\2\3" * 9), "is no picture; allowed are .png"),
        ("folder.png", lambda path: path.mkdir(), "cannot be opened: Is a directory"),
        ("gone.png", lambda path: None, "cannot be opened: No such file"),
        ("loop.png", lambda path: path.symlink_to(path), "cannot be opened: Too many levels"),
        ("pipe.png", lambda path: os.mkfifo(path), "is no file"),
        ("zero.png", lambda path: path.write_bytes(png_of(0, 5, 8, 2, b"")), "has no pixels: 0 x 5"),
        ("vast.png", lambda path: path.write_bytes(png_of(1 << 30, 1 << 30, 8, 2, b"")), "at most 2147 can be read"),
        ("bomb.png", lambda path: path.write_bytes(png_of(40000, 40000, 8, 2, b"")), "1600 megapixels in .* bytes"),
    ],
)
def test_refused(tmp_path: Path, name: str, make: Callable[[Path], Any], words: str) -> None:
    path = tmp_path / name
    make(path)
    for work in (photo.header, photo.read):
        with pytest.raises(InputError, match=rf"{name} .*{words}"):
            work(path)


@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "grey.jpg", "png", "tif", "deflate.tif", "webp", "bmp"])
def test_no_cut_file_is_ever_half_read(tmp_path: Path, kind: str) -> None:
    smooth = np.asarray(Image.fromarray(COLOUR).resize((96, 80)))
    stream, path = io.BytesIO(), tmp_path / f"a.{kind.split('.')[-1]}"
    how: dict[str, Any] = {
        "progressive.jpg": {"progressive": True},
        "deflate.tif": {"compression": "tiff_deflate"},
    }.get(kind, {})
    shown = Image.fromarray(smooth[..., 0] if kind == "grey.jpg" else smooth)
    shown.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(kind.split(".")[-1], kind.upper()), **how)
    whole = stream.getvalue()
    path.write_bytes(whole)
    photo.read(path)
    for cut in {*range(1, len(whole), len(whole) // 60), *range(len(whole) - 9, len(whole))}:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            photo.read(path)
        if kind in ("jpg", "grey.jpg") and 700 < cut < len(whole) - 40:
            path.write_bytes(whole[:cut] + b"\xff\xd9")  # an end that somebody put there
            with pytest.raises(InputError, match="ends before the picture does"):
                photo.read(path)


def test_an_unknown_profile_of_cmyk_is_refused(tmp_path: Path) -> None:
    profile = bytes(16) + b"CMYK" + bytes(200)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=profile)
    with pytest.raises(InputError, match="ICC profile of 220 bytes cannot be read"):
        photo.read(tmp_path / "a.jpg")


def test_conversion_of_profiles_is_that_of_littlecms() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert np.abs(colour.converted(COLOUR, lab.tobytes(), None).astype(int) - COLOUR).max() <= 1


def test_dicom_and_slices_of_volumes(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(
        nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), tmp_path / "brain.nii.gz"
    )
    place = tmp_path / "brain.nii.gz" / "002"
    head, back = photo.header(place), photo.read(place)
    assert (head.width, head.height, head.channels, head.depth) == (3, 4, 1, torch.uint16)
    assert back.pixels.shape == (1, 4, 3)
    assert back.stored.suffix == head.suffix == ".nii.gz"
    assert back.pixels.numpy().max() == round(57 / 59 * 65535)
    pydicom = pytest.importorskip("pydicom")
    examples = pydicom.data.get_testdata_file("CT_small.dcm")
    head, back = photo.header(Path(examples)), photo.read(Path(examples))
    assert (head.height, head.width, head.channels, head.depth) == (128, 128, 1, back.pixels.dtype)
    assert back.pixels.shape == (1, 128, 128)
    (tmp_path / "noise.dcm").write_bytes(b"noise" * 99)
    for work in (photo.header, photo.read):
        with pytest.raises(InputError, match=r"noise\.dcm"):
            work(tmp_path / "noise.dcm")
