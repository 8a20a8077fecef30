"""TIFF files: 8 and 16 bits and floating point, every compression, with what cameras write into them."""

import logging
import math
import struct
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuse.errors import InputError
from fuse.photos import colour, exif, png
from fuse.photos.stored import Damage, Header, Stored, upright

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretations
NAMES = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
JPEG = (6, 7)  # compressions that bring YCbCr as RGB
DEPTHS = {"uint8": torch.uint8, "uint16": torch.uint16, "float16": torch.float32}
DEPTHS |= {"float32": torch.float32, "float64": torch.float32}
FEW = {1: 255, 2: 85, 4: 17}  # what spreads values of few bits over 0..255
LARGEST = 4 * 10**9  # bytes; positions in a TIFF file have 32 bits
COMPRESSIONS = {1: "none", 5: "lzw"}


def opened(file: BufferedReader) -> Any:
    """The file in tifffile, nothing decoded."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a broken file gets one message, ours
    file.seek(0)
    return tifffile.TiffFile(file)


def header(file: BufferedReader, name: str) -> Header:
    """See `fuse.photos.photo.header`.

    Raises:
        InputError: several pages, a camera's raw file, or a kind of values or colour that is not known here.
        Damage: damage.
    """
    tiff = opened(file)
    page = tiff.pages.first
    single(tiff, name)
    kind, count = int(page.photometric), page.samplesperpixel
    if page.sampleformat == 2 or str(page.dtype) not in (*DEPTHS, "bool"):
        raise InputError(
            f"{name} holds {page.dtype or page.bitspersample} values; allowed are 8 and 16 bit and float32"
        )
    colours = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4}.get(kind, 0)
    colours = 3 if kind == YCBCR and page.compression in JPEG else colours
    if (
        colours == 0
        or count not in (colours, colours + 1)
        or page.ndim > 3
        or page.imagedepth > 1
        or int(page.planarconfig) not in (1, 2)
    ):
        raise InputError(
            f"{name} is a TIFF file of {count} channels, {NAMES.get(kind, 'unknown colours')}; allowed are grey, "
            "palette, RGB and CMYK, all but CMYK also with transparency"
        )
    bits = page.bitspersample
    if bits not in (8, 16, 32, 64) and (bits not in FEW or kind not in (WHITE_IS_0, BLACK_IS_0, PALETTE)):
        raise InputError(f"{name} holds {bits} bit values; allowed are 8 and 16 bit and float32")
    if kind == CMYK and (bits != 8 or count > 4):
        raise InputError(
            f"{name} is CMYK of {bits} bits and {count} channels; allowed are 8 bits and 4: convert it to RGB"
        )
    if kind == WHITE_IS_0 and page.dtype.kind == "f":
        raise InputError(f"{name} holds float values of which 0 is white; invert it first")
    depth = torch.uint8 if bits in FEW or kind == PALETTE else DEPTHS[str(page.dtype)]
    stored, turn = told(file, tiff, page)
    icc, said = stored.icc, list(stored.said)
    if kind == CMYK:
        icc, words = colour.after_cmyk(icc)
        said.append(words)
    if str(page.dtype) == "float64":
        said.append("its 64 bit values were rounded to 32 bit ones")
    width, height = upright(page.imagewidth, page.imagelength, turn)
    return Header(
        width,
        height,
        1 if colours == 1 and kind != PALETTE else 3,
        depth,
        count > colours,
        ".tif",
        stored._replace(icc=icc, said=tuple(said)),
        turn,
    )


def single(tiff: Any, name: str) -> None:
    """Refuse what is no single finished picture; smaller copies beside the picture are allowed.

    Raises:
        InputError: it is not.
    """
    page = tiff.pages.first
    if 50706 in page.tags or int(page.photometric) in (32803, 34892):
        raise InputError(f"{name} is a camera's raw file; develop it into 16 bit TIFF first")
    split = f"{name} has several pages; split it first (tiffsplit {Path(name).name}, or magick with frame%03d.tif)"
    if int((tiff.imagej_metadata or {}).get("images", 1)) > 1:
        raise InputError(split)
    for index in range(1, len(tiff.pages)):
        if not tiff.pages[index].is_reduced:
            raise InputError(split)


def told(file: BufferedReader, tiff: Any, page: Any) -> tuple[Stored, int]:
    """What a page says beside its pixels, and its orientation."""
    value = {tag.code: tag.value for tag in page.tags}
    turn = int(value.get(exif.ORIENTATION, 1))
    turn = turn if 1 <= turn <= 8 else 1
    block, said = None, []
    if tiff.is_bigtiff:
        if value.keys() & {271, 272, *exif.INNER}:
            said.append("its EXIF was left out, since it is a BigTIFF file")
    else:
        file.seek(0)
        mark = file.read(8)
        order = exif.ORDERS.get(mark[:4])
        if order is not None:
            fields, _ = exif.directory(file, struct.unpack_from(f"{order}I", mark, 4)[0], order, depth=2)
            block = exif.from_tiff(fields, order)
    xmp = value.get(700)
    xmp = bytes(xmp) if isinstance(xmp, bytes | tuple) else None
    if exif.ORIENTATION in value and xmp:
        xmp = exif.upright_xmp(xmp)
    compression = COMPRESSIONS.get(int(page.compression), "deflate")
    dpi = resolution(value, turn)
    return Stored(".tif", profile(page), block, xmp, dpi, compression=compression, said=tuple(said)), turn


def profile(page: Any) -> bytes | None:
    """The ICC profile of a page."""
    icc = page.tags.valueof(34675)
    return bytes(icc) if isinstance(icc, bytes | tuple) else None


def resolution(value: dict[int, Any], turn: int) -> tuple[float, float] | None:
    """Dots per inch across and down the upright picture, or None where they are not given."""
    unit = {2: 1.0, 3: 2.54}.get(int(value.get(296, 2)))
    pairs = [value.get(tag) for tag in (282, 283)]
    if unit is None or not all(isinstance(pair, tuple) and len(pair) == 2 and min(pair) > 0 for pair in pairs):
        return None
    across, down = (pair[0] / pair[1] * unit for pair in pairs if pair is not None)
    return (down, across) if turn >= 5 else (across, down)


def pixels(file: BufferedReader, head: Header) -> np.ndarray:
    """`(h, w, channels + alpha)` as stored, palettes looked up, fewer than 8 bits spread over 0..255, colour that was
    multiplied by its transparency divided by it.

    Raises:
        Damage: parts of the picture are missing.
    """
    tiff = opened(file)
    page = tiff.pages.first
    end = file.seek(0, 2)
    places, counts = page.dataoffsets, page.databytecounts
    whole = len(places) == len(counts) >= math.prod(page.chunked)
    if not whole or any(count == 0 or at + count > end for at, count in zip(places, counts, strict=True)):
        raise Damage("the file ends before the picture does")
    values = page.asarray()
    values = values[..., None] if values.ndim == 2 else values
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = values.transpose(1, 2, 0)
    kind = int(page.photometric)
    if page.bitspersample in FEW and kind != PALETTE:
        values = values.astype(np.uint8) * np.uint8(FEW[page.bitspersample])
    if kind == WHITE_IS_0:
        values[..., :1] = np.iinfo(values.dtype).max - values[..., :1]
    if kind == PALETTE:
        looked_up = (np.asarray(page.colormap).T >> 8).astype(np.uint8)[values[..., 0]]
        values = np.concatenate([looked_up, values[..., 1:].astype(np.uint8)], 2) if head.alpha else looked_up
    if kind == CMYK:
        values = colour.from_cmyk(values, profile(page))
    if head.alpha and tuple(page.extrasamples) == (1,):
        unmultiplied(values)
    return values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values


def unmultiplied(values: np.ndarray) -> None:
    """Divide colour `(h, w, c + 1)` by its transparency, the last channel, in place, where that is not 0."""
    white = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    for rows in colour.bands(*values.shape[:2]):
        part, alpha = values[rows, :, :-1], values[rows, :, -1:]
        clear = (alpha == 0) | (alpha == white)
        divided = part * (white / np.where(clear, white, alpha))
        if values.dtype.kind != "f":
            divided = np.minimum(np.rint(divided), white)
        values[rows, :, :-1] = np.where(clear, part, divided.astype(values.dtype))


def write(path: Path, values: np.ndarray, alpha: bool, stored: Stored) -> None:
    """Write `(h, w, channels + alpha)`, compressed as the source was or by deflate, with the predictor of its depth.

    Raises:
        InputError: more than TIFF can address.
    """
    import tifffile

    if values.nbytes > LARGEST:
        raise InputError(
            f"{path} would take {values.nbytes / 1e9:.1f} GB; TIFF files hold 4 GB: fuse a part of the picture"
        )
    fields: exif.Directory = {}
    order: exif.Order = "<"
    if stored.exif:
        fields, order = exif.into_tiff(stored.exif)
    if stored.xmp:
        fields[700] = exif.Field(1, len(stored.xmp), stored.xmp)
    how: dict[str, Any] = {}
    if stored.compression == "lzw":
        how = {"compression": "lzw", "predictor": True}
    elif stored.compression != "none":
        how = {"compression": "deflate", "compressionargs": {"level": png.LEVEL}, "predictor": True}
    if stored.dpi:
        how |= {"resolution": stored.dpi, "resolutionunit": 2}
    flat = values[..., 0] if values.shape[2] == 1 else values
    tifffile.imwrite(
        path,
        np.ascontiguousarray(flat),
        byteorder=order,
        photometric="rgb" if values.shape[2] >= 3 else "minisblack",
        planarconfig="contig" if values.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if alpha else None,
        iccprofile=stored.icc,
        metadata=None,
        software=False,
        rowsperstrip=max(1, (1 << 20) // max(1, values[0].nbytes)),
        **how,
    )
    if fields:
        described(path, fields, order)


def described(path: Path, fields: exif.Directory, order: exif.Order) -> None:
    """Add fields to a TIFF file: its directory is written anew at its end."""
    with path.open("r+b") as file:
        file.seek(4)
        structure, _ = exif.directory(file, struct.unpack(f"{order}I", file.read(4))[0], order)
        end = file.seek(0, 2)
        end += end % 2
        file.seek(end)
        file.write(exif.laid_out(fields | structure, order, end))
        file.seek(4)
        file.write(struct.pack(f"{order}I", end))
