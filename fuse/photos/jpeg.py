"""JPEG files: pixels, quality and all that cameras write beside them."""

import re
import threading
import warnings
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ImageChops, JpegImagePlugin

from fuse.errors import InputError
from fuse.photos import colour, exif
from fuse.photos.stored import Damage, Header, Stored, upright

QUIET = threading.Lock()  # filters of warnings are the whole process's
MORE = bytes(89 * index % 251 for index in range(1, 1 << 10))  # none of them begins a marker
LONGEST_SIDE = 65500  # of libjpeg
SEGMENT = 65533 - 29  # bytes of EXIF or XMP that one segment holds beside its name
SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
# Annex K of the standard (ITU-T T.81), which libjpeg scales by quality.
LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def opened(file: BufferedReader) -> Any:
    """The file in Pillow, nothing decoded.

    Raises:
        Damage: damage.
    """
    file.seek(0)
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken EXIF, in which Pillow looks for the resolution
        return JpegImagePlugin.JpegImageFile(file)


def header(file: BufferedReader, name: str) -> Header:
    """See `fuse.photos.photo.header`.

    Raises:
        InputError: more than 8 bits.
        Damage: damage.
    """
    image = opened(file)
    if image.mode not in ("L", "RGB", "CMYK"):
        raise InputError(f"{name} is a JPEG file of the kind {image.mode}; allowed are grey, RGB and CMYK of 8 bits")
    turn, block, xmp, said = exif.taken(image.info.get("exif"), image.info.get("xmp"))
    if image.info.get("mp") or b"MPF\0" in [data[:4] for key, data in image.applist if key == "APP2"]:
        said += ("the further pictures in the file (previews, depth, gain maps) were left out",)
    icc = image.info.get("icc_profile")
    if image.mode == "CMYK":
        icc, words = colour.after_cmyk(icc)
        said += (words,)
    tables = tuple(tuple(image.quantization[key]) for key in sorted(image.quantization))
    grey = image.mode == "L"
    stored = Stored(
        suffix=".jpg",
        icc=icc,
        exif=block,
        xmp=xmp,
        dpi=resolution(image.info.get("dpi"), turn),
        quality=quality(tables[0]) if tables else None,
        subsampling="4:4:4" if grey else SUBSAMPLING.get(JpegImagePlugin.get_sampling(image), "other"),
        tables=tables[:1] if grey else tables,
        said=said,
    )
    width, height = upright(image.width, image.height, turn)
    return Header(width, height, 1 if grey else 3, torch.uint8, False, ".jpg", stored, turn)


def resolution(dpi: Any, turn: int) -> tuple[float, float] | None:
    """Dots per inch across and down the upright picture, or None where they are not given."""
    if not dpi or not all(number > 0 for number in dpi):
        return None
    across, down = float(dpi[0]), float(dpi[1])
    return (down, across) if turn >= 5 else (across, down)


def quality(table: tuple[int, ...]) -> int:
    """The quality 1..100 at which libjpeg's luma table is nearest to this one, the better of two equals."""
    given = np.array(table).reshape(8, 8)
    distance = {number: int(np.abs(scaled(number) - given).sum()) for number in range(100, 0, -1)}
    return min(distance, key=lambda number: distance[number])


def scaled(number: int) -> np.ndarray:
    """libjpeg's luma table `(8, 8)` at a quality 1..100."""
    percent = 5000 // number if number < 50 else 200 - 2 * number
    return np.clip((LUMA * percent + 50) // 100, 1, 255)


def pixels(file: BufferedReader, head: Header) -> np.ndarray:
    """`(h, w, channels)` as stored.

    Raises:
        Damage: the file ends before its picture does, or is damaged.
    """
    end = end_of(file)
    if end is None or short_of_data(file, end):
        raise Damage("the file ends before the picture does")
    image = opened(file)
    image.load()
    values = colour.from_pillow(image)
    return colour.from_cmyk(values, image.info.get("icc_profile")) if image.mode == "CMYK" else values


def end_of(file: BufferedReader) -> int | None:
    """Where the end-of-image marker stands; None: nowhere."""
    file.seek(2)
    while True:
        head = file.read(2)
        while head == b"\xff\xff":
            head = b"\xff" + file.read(1)
        if len(head) < 2 or head[0] != 255:
            return None
        if head[1] == 0xD9:
            return file.tell() - 2
        size = file.read(2)
        if len(size) < 2:
            return None
        file.seek(int.from_bytes(size, "big") - 2, 1)
        if head[1] == 0xDA and not past_scan(file):
            return None


def short_of_data(file: BufferedReader, end: int) -> bool:
    """Whether the data before the end-of-image marker are too few. libjpeg fills up with what came last and says
    nothing; but then arbitrary bytes before the marker change the picture, which they do not if it is whole. An eighth
    of the size shows it, all but details of the very last block."""
    file.seek(0)
    data = file.read(end).rstrip(b"\xff")  # with what follows these would be markers
    shown = []
    for more in (b"", MORE):
        image = opened(BufferedReader(BytesIO(data + more + b"\xff\xd9")))
        image.draft(image.mode, (1, 1))
        image.load()
        shown.append(image)
    return bool(ImageChops.difference(*shown).getbbox())


def past_scan(file: BufferedReader, block: int = 1 << 20) -> bool:
    """Go to the next marker after a scan's data; False at the end of the file."""
    while True:
        start = file.tell()
        data = file.read(block)
        found = re.search(rb"\xff[^\x00\xff\xd0-\xd7]", data)
        if found:
            file.seek(start + found.start())
            return True
        if len(data) < block:
            return False
        file.seek(start + len(data) - 1)  # a marker may lie across two blocks


def write(path: Path, values: np.ndarray, alpha: bool, stored: Stored) -> None:
    """Write `(h, w, 1 or 3)` with the source's quantisation, or at quality 95 where it has none; colour subsampled as
    in the source if it was a JPEG file, else not at all."""
    luma, *chroma = stored.tables or [()]
    how: dict[str, Any] = {"quality": 95}
    if luma:
        finest = [min(numbers) for numbers in zip(*chroma, strict=True)] if chroma else list(luma)
        tables = [list(luma)] if values.shape[2] == 1 else [list(luma), finest]
        how = {"qtables": [[min(255, number) for number in table] for table in tables]}
    if values.shape[2] == 3:
        how["subsampling"] = stored.subsampling if stored.subsampling in SUBSAMPLING.values() else "4:4:4"
    if stored.exif and len(stored.exif) <= SEGMENT:
        how["exif"] = b"Exif\0\0" + stored.exif
    if stored.xmp and len(stored.xmp) <= SEGMENT:
        how["xmp"] = stored.xmp
    if stored.dpi:
        how["dpi"] = tuple(min(65535, round(number)) for number in stored.dpi)
    if stored.icc:
        how["icc_profile"] = stored.icc
    colour.save(colour.to_pillow(values), path, "JPEG", **how)
