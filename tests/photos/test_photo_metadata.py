"""Profiles, EXIF, XMP and resolution arrive as they were, and orientation is applied exactly once."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms

from fuse.errors import InputError
from fuse.photos import exif, jpeg, photo
from fuse.photos.photo import Photo, Stored

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6">words</rdf></x:xmpmeta>'
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
THUMBNAIL = b"\xff\xd8" + b"a thumbnail that shows the source" + b"\xff\xd9"


def block(order: str = "<", turn: int = 6, width: int = 30, height: int = 20, thumbnail: bool = True) -> bytes:
    """EXIF by hand: maker, orientation, picture size, a maker's note, a place, a thumbnail."""

    def entry(tag: int, kind: int, count: int, value: int | bytes) -> bytes:
        stored = (
            value
            if isinstance(value, bytes)
            else struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
        )
        return struct.pack(f"{order}HHI", tag, kind, count) + stored.ljust(4, b"\0")

    first = 8 + 2 + 4 * 12 + 4
    inner = first + 6
    place = inner + 2 + 3 * 12 + 4 + 12
    last = place + 2 + 12 + 4
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    out += struct.pack(f"{order}H", 4) + entry(0x10F, 2, 6, first) + entry(0x112, 3, 1, turn)
    out += entry(0x8769, 4, 1, inner) + entry(0x8825, 4, 1, place) + struct.pack(f"{order}I", last if thumbnail else 0)
    out += b"Maker\0"
    out += struct.pack(f"{order}H", 3) + entry(0x927C, 7, 12, inner + 42) + entry(0xA002, 4, 1, width)
    out += entry(0xA003, 3, 1, height) + bytes(4) + b"note\x00\x01\x02\x03\xff\xfe<>"
    out += struct.pack(f"{order}H", 1) + entry(1, 2, 2, b"N\0") + bytes(4)
    if thumbnail:
        data = last + 2 + 24 + 4
        out += struct.pack(f"{order}H", 2) + entry(0x201, 4, 1, data) + entry(0x202, 4, 1, len(THUMBNAIL)) + bytes(4)
        out += THUMBNAIL
    return out


def image(height: int = 20, width: int = 30) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([7 * x % 256, 9 * y % 256, 255 - 3 * x - 2 * y], 2).clip(0, 255).astype(np.uint8)


def shown(path: Path) -> Image.Image:
    """As Pillow reads it, no file left open."""
    return Image.open(io.BytesIO(path.read_bytes()))


def saved(path: Path, **said: Any) -> None:
    settings: dict[str, Any] = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}.get(
        path.suffix, {}
    )
    if path.suffix == ".jpg" and "exif" in said:
        said["exif"] = b"Exif\0\0" + said["exif"]
    Image.fromarray(image()).save(path, **settings, **said)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_orientation_is_applied_once(tmp_path: Path, suffix: str, turn: int, order: str) -> None:
    saved(tmp_path / f"a{suffix}", exif=block(order, turn))
    wanted = UPRIGHT[turn](image())
    back = photo.read(tmp_path / f"a{suffix}")
    for _ in range(2):
        values = back.pixels.permute(1, 2, 0).numpy()
        assert values.shape == wanted.shape
        assert np.abs(values.astype(int) - wanted).max() <= (12 if suffix == ".jpg" else 0)
        photo.write(tmp_path / f"b{suffix}", back)
        written = shown(tmp_path / f"b{suffix}")
        assert written.getexif()[0x112] == 1
        inner = written.getexif().get_ifd(ExifTags.IFD.Exif)
        assert (inner[0xA002], inner[0xA003]) == written.size == wanted.shape[1::-1]
        back = photo.read(tmp_path / f"b{suffix}")
    head = photo.header(tmp_path / f"a{suffix}")
    assert (head.height, head.width) == wanted.shape[:2]


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_of_tiff(tmp_path: Path, turn: int) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", image().astype(np.uint16), photometric="rgb", extratags=[(274, 3, 1, turn, True)]
    )
    back = photo.read(tmp_path / "a.tif")
    wanted = UPRIGHT[turn](image())
    assert np.array_equal(back.pixels.permute(1, 2, 0).numpy(), wanted)
    photo.write(tmp_path / "b.tif", back)
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), wanted)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.pages.first.tags.valueof(274) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_but_orientation_and_thumbnail_is_kept_to_the_byte(tmp_path: Path, order: str) -> None:
    before = block(order, thumbnail=True)
    wanted = bytearray(block(order, turn=1, thumbnail=True)[: -len(THUMBNAIL)])
    wanted[58:62] = bytes(4)  # no second directory
    for suffix in (".jpg", ".png", ".webp"):
        saved(tmp_path / f"a{suffix}", exif=before)
        turned = photo.read(tmp_path / f"a{suffix}")
        photo.write(tmp_path / f"b{suffix}", turned)
        raw = (tmp_path / f"b{suffix}").read_bytes()
        upright = exif.sized(bytes(wanted), 20, 30)
        assert upright in raw
        assert b"thumbnail" not in raw
        assert photo.read(tmp_path / f"b{suffix}").stored.exif == upright


def test_a_thumbnail_before_other_data_is_blanked() -> None:
    before = block() + b"more"
    turn, after = exif.upright(before)
    assert turn == 6
    assert len(after) == len(before)
    assert after.endswith(bytes(len(THUMBNAIL)) + b"more")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16, torch.float32])
def test_exif_into_and_out_of_tiff(tmp_path: Path, order: str, depth: torch.dtype) -> None:
    _, upright = exif.upright(block(order))
    stored = Stored(".jpg", icc=ICC, exif=upright, xmp=XMP, dpi=(300.0, 200.0))
    pixels = torch.from_numpy(image()).permute(2, 0, 1).to(depth)
    photo.write(tmp_path / "a.tif", Photo(pixels, None, stored))
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        page = written.pages.first
        assert np.array_equal(page.asarray(), pixels.permute(1, 2, 0).numpy())
        assert page.tags.valueof(271) == "Maker"
        assert bytes(page.tags.valueof(34675)) == ICC
        assert bytes(page.tags.valueof(700)) == XMP
        assert page.tags.valueof(34665)["MakerNote"] == b"note\x00\x01\x02\x03\xff\xfe<>"
        assert page.tags.valueof(34665)["PixelXDimension"] == 30
        assert page.tags.valueof(34853)["GPSLatitudeRef"] == "N"
    back = photo.read(tmp_path / "a.tif")
    assert torch.equal(back.pixels.float(), pixels.float())
    assert (back.stored.icc, back.stored.xmp, back.stored.dpi) == (ICC, XMP.replace(b'"6"', b'"1"'), (300.0, 200.0))
    if depth == torch.uint8:
        photo.write(tmp_path / "b.jpg", back)
        found = shown(tmp_path / "b.jpg").getexif()
        assert found[0x10F] == "Maker"
        assert found.get_ifd(ExifTags.IFD.Exif)[0x927C] == b"note\x00\x01\x02\x03\xff\xfe<>"
        assert found.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_goes_from_any_format_to_any_other(tmp_path: Path, source: str, target: str) -> None:
    _, upright = exif.upright(block(turn=1))
    pixels = torch.from_numpy(image()).permute(2, 0, 1)
    photo.write(tmp_path / f"a{source}", Photo(pixels, None, Stored(".png", ICC, upright, XMP, (300.0, 300.0))))
    photo.write(tmp_path / f"b{target}", photo.read(tmp_path / f"a{source}"))
    stored = photo.read(tmp_path / f"b{target}").stored
    assert stored.icc == ICC
    assert stored.xmp == XMP.replace(b'"6"', b'"1"')
    found = Image.Exif()
    found.load(b"Exif\0\0" + (stored.exif or b""))
    assert (found[0x10F], found[0x112]) == ("Maker", 1)
    assert found.get_ifd(ExifTags.IFD.Exif)[0x927C] == b"note\x00\x01\x02\x03\xff\xfe<>"
    if ".webp" not in (source, target):  # which knows no resolution but EXIF's
        assert stored.dpi == pytest.approx((300, 300), abs=0.01)


def test_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    Image.fromarray(image()).save(tmp_path / "a.png", dpi=(300, 150), exif=block(turn=6))
    assert photo.read(tmp_path / "a.png").stored.dpi == pytest.approx((150, 300), abs=0.02)


@pytest.mark.parametrize("quality", [3, 30, 49, 50, 75, 90, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_quality_is_estimated_and_kept(tmp_path: Path, quality: int, subsampling: str) -> None:
    Image.fromarray(image()).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
    first = photo.read(tmp_path / "a.jpg")
    assert (first.stored.quality, first.stored.subsampling) == (quality, subsampling)
    photo.write(tmp_path / "b.jpg", first)
    before, after = shown(tmp_path / "a.jpg"), shown(tmp_path / "b.jpg")
    assert after.quantization == before.quantization
    assert after.layer == before.layer


def test_other_sources_become_fine_jpeg(tmp_path: Path) -> None:
    photo.write(tmp_path / "a.jpg", Photo(torch.from_numpy(image()).permute(2, 0, 1), None, Stored(".png")))
    stored = photo.read(tmp_path / "a.jpg").stored
    assert (stored.quality, stored.subsampling) == (95, "4:4:4")


def test_grey_and_colour_share_tables(tmp_path: Path) -> None:
    Image.fromarray(image()[..., 0]).save(tmp_path / "a.jpg", quality=80)
    stored = photo.read(tmp_path / "a.jpg").stored
    photo.write(tmp_path / "b.jpg", Photo(torch.from_numpy(image()).permute(2, 0, 1), None, stored))
    tables = shown(tmp_path / "b.jpg").quantization
    assert [tuple(table) for table in tables.values()] == [stored.tables[0]] * len(tables)
    assert photo.read(tmp_path / "b.jpg").stored.quality == 80


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    stored = Stored(".png", icc=ICC, exif=block() + bytes(70000), xmp=XMP)
    assert photo.lost(stored, 3, ".png") == photo.lost(stored, 3, ".TIFF") == []
    assert [words.split(":")[0] for words in photo.lost(stored, 3, ".bmp")] == ["BMP files hold no metadata"] * 3
    (words,) = photo.lost(stored, 3, ".jpeg")
    assert "EXIF is left out: its 70" in words
    assert photo.lost(Stored(".png"), 1, ".webp") == ["WebP files hold no grey: it is written as colour"]
    photo.write(tmp_path / "a.jpg", Photo(torch.from_numpy(image()).permute(2, 0, 1), None, stored))
    back = photo.read(tmp_path / "a.jpg").stored
    assert (back.exif, back.xmp, back.icc) == (None, XMP, ICC)


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
def test_tiff_compression_is_kept(tmp_path: Path, compression: str) -> None:
    how: dict[str, Any] = {} if compression == "none" else {"compression": compression, "predictor": True}
    tifffile.imwrite(tmp_path / "a.tif", image(), photometric="rgb", **how)
    photo.write(tmp_path / "b.tif", photo.read(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        first, second = a.pages.first, b.pages.first
        assert second.compression == first.compression
        assert second.predictor == first.predictor
        assert second.description == ""  # tifffile's note on the shape would mislead


@pytest.mark.parametrize("compression", [None, "lossy", "lossless", "deflate"])
def test_other_pictures_are_deflated_in_tiff(tmp_path: Path, compression: str | None) -> None:
    pixels = torch.from_numpy(image()).permute(2, 0, 1)
    photo.write(tmp_path / "a.tif", Photo(pixels, None, Stored(".webp", compression=compression)))
    assert photo.header(tmp_path / "a.tif").stored.compression == "deflate"


def test_webp_stays_lossy_or_lossless(tmp_path: Path) -> None:
    for name, settings in (("lossless", {"lossless": True}), ("lossy", {"quality": 70})):
        Image.fromarray(image()).save(tmp_path / "a.webp", **settings)
        first = photo.read(tmp_path / "a.webp")
        photo.write(tmp_path / "b.webp", first)
        assert first.stored.compression == photo.header(tmp_path / "b.webp").stored.compression == name


def test_png_keeps_its_words_on_colour_and_its_texts(tmp_path: Path) -> None:
    from PIL import PngImagePlugin

    words = PngImagePlugin.PngInfo()
    words.add(b"gAMA", struct.pack(">I", 100000))
    words.add_text("Title", "two lenses")
    words.add_itxt("Author", "Ä", zip=True)
    Image.fromarray(image()).save(tmp_path / "a.png", pnginfo=words)
    photo.write(tmp_path / "b.png", photo.read(tmp_path / "a.png"))
    back = shown(tmp_path / "b.png")
    back.load()
    assert back.info["gamma"] == 1.0
    assert (back.text["Title"], back.text["Author"]) == ("two lenses", "Ä")


def test_damaged_exif_is_left_out_and_said(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", exif=b"II*\0\xff\xff\xff\x7f" + bytes(20))
    back = photo.read(tmp_path / "a.png")
    assert back.stored.exif is None
    assert back.stored.said == ("its EXIF is damaged and was left out",)


def test_scaled_tables_are_those_of_libjpeg() -> None:
    for quality in (1, 10, 50, 77, 100):
        stream = io.BytesIO()
        Image.fromarray(image()).save(stream, "JPEG", quality=quality)
        assert jpeg.scaled(quality).ravel().tolist() == Image.open(stream).quantization[0]


def test_writing_with_broken_exif_fails_cleanly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="damaged"):
        photo.write(
            tmp_path / "a.png", Photo(torch.zeros(1, 4, 4, dtype=torch.uint8), None, Stored(".png", exif=b"II*\0"))
        )
    assert list(tmp_path.iterdir()) == []
