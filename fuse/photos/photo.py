"""Pictures of people in and out: what goes in comes out, with its depth, colours, transparency and metadata."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuse.data import io, medical
from fuse.errors import InputError
from fuse.photos import bmp, exif, jpeg, png, tiff, webp
from fuse.photos.stored import Damage, Header, Stored

__all__ = ["FORMATS", "Header", "Photo", "Stored", "header", "lost", "read", "write"]

FORMATS = {".png": png, ".jpg": jpeg, ".jpeg": jpeg, ".tif": tiff, ".tiff": tiff, ".webp": webp, ".bmp": bmp}
DEPTHS = {
    ".png": (torch.uint8, torch.uint16),
    ".tif": (torch.uint8, torch.uint16, torch.float32),
    ".jpg": (torch.uint8,),
    ".webp": (torch.uint8,),
    ".bmp": (torch.uint8,),
}
TRANSPARENT = (".png", ".tif", ".webp")
SIDES = {".jpg": jpeg.LONGEST_SIDE, ".webp": webp.LONGEST_SIDE}  # longest sides, in pixels
PIXELS = 1 << 31  # more is refused
# A small file that promises many pixels is damaged or an attack: even one plain colour takes a byte for 1100 pixels in
# a PNG file. Below 67 megapixels any promise is believed.
BELIEVED, PER_BYTE = 1 << 26, 1 << 11
OTHERS = {
    b"GIF8": "a GIF file: save it as PNG",
    b"%PDF": "a PDF file: export its pictures",
    b"8BPS": "a Photoshop file: export it as TIFF",
    b"\0\0\0\x0cjP": "a JPEG 2000 file: convert it to TIFF or PNG",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file: convert it to TIFF or PNG",
    b"\xff\x0a": "a JPEG XL file: convert it to TIFF or PNG",
    b"\0\0\0\x0cJXL": "a JPEG XL file: convert it to TIFF or PNG",
    b"v/1\x01": "an OpenEXR file: convert it to float TIFF",
    b"II\xbc\1": "a JPEG XR file: convert it to TIFF or PNG",
    b"IIU\0": "a camera's raw file: develop it into 16 bit TIFF first",
    b"IIRO": "a camera's raw file: develop it into 16 bit TIFF first",
    b"FUJIFILM": "a camera's raw file: develop it into 16 bit TIFF first",
    b"\x1f\x8b": "a compressed archive: unpack it",
    b"PK\3\4": "a ZIP archive: unpack it",
    b"<svg": "a drawing: export it as PNG",
    b"<": "a text: was a web page saved in place of the picture?",
}
RAW = (".nef", ".cr2", ".arw", ".dng", ".pef", ".srw", ".3fr", ".iiq")  # TIFF inside; what reads first is a thumbnail


class Photo(NamedTuple):
    """A picture upright and as stored. The planes may lie interleaved in memory: `(c, h, w)` in strides."""

    pixels: Tensor  # (c, h, w) uint8, uint16 or float32; c 1 or 3 (RGB)
    alpha: Tensor | None  # (1, h, w) of the same type; 0: transparent
    stored: Stored


def header(path: Path) -> Header:
    """What a picture file promises, without decoding its pixels (a NIfTI volume is read whole, once).

    Raises:
        InputError: not a picture, one of a kind that is not known here, several in one file, damage that shows, more
            than 2^31 pixels, or more than the file can hold.
    """
    path = Path(path)
    if io.in_volume(path) or medical.suffix(path) == ".dcm":
        return medical_header(path)
    with opened(path) as file:
        return header_of(file, path)


def read(path: Path) -> Photo:
    """A picture file as it is stored, turned upright; DICOM files and slices of volumes as `fuse.data.medical` has it.

    Depth and values are kept; palettes are looked up, fewer than 8 bits spread over 0..255, CMYK becomes RGB.

    Raises:
        InputError: as `header`, or the file is damaged or cut short, or holds values that are not finite.
    """
    path = Path(path)
    if io.in_volume(path) or medical.suffix(path) == ".dcm":
        return Photo(io.read(path), None, Stored(medical.suffix(path) or medical.suffix(path.parent)))
    with opened(path) as file:
        head = header_of(file, path)
        values = decoded(path, lambda: FORMATS[head.suffix].pixels(file, head))
    if values.dtype.kind == "f" and not finite(values):
        raise InputError(f"{path} holds values that are not finite numbers; replace them first")
    planes = torch.from_numpy(turned(values, head.turn)).permute(2, 0, 1)
    return Photo(planes[: head.channels], planes[head.channels :] if head.alpha else None, head.stored)


def write(path: Path, photo: Photo) -> None:
    """Write a picture as its stored words say, in the format of the path's ending, under its final name in one move.

    JPEG is written with the tables and the subsampling of a JPEG source, else at quality 95 without subsampling; WebP
    without loss unless the source was lossy. Transparency that hides nothing is dropped where the format has none.

    Raises:
        InputError: the format cannot hold the picture, values are not finite, or the place cannot be written to.
    """
    path = Path(path)
    suffix = suitable(path, photo)
    alpha = photo.alpha if suffix in TRANSPARENT else None
    planes = photo.pixels if alpha is None else torch.cat([photo.pixels, alpha])
    values = planes.detach().cpu().permute(1, 2, 0).numpy()
    if min(values.shape[:2]) == 1:
        values = np.array(values, order="C")  # steps of sides of one pixel mean nothing, and encoders stumble over them
    if values.dtype.kind == "f" and not finite(values):
        raise InputError(f"{path} would hold values that are not finite numbers")
    stored = photo.stored
    if stored.exif:
        height, width = values.shape[:2]
        stored = stored._replace(exif=decoded(path, lambda: exif.sized(photo.stored.exif or b"", width, height)))
    with io.in_one_move(path) as temporary:
        FORMATS[suffix].write(temporary, values, alpha is not None, stored)


def lost(stored: Stored, channels: int, suffix: str) -> list[str]:
    """What a format leaves out of what is stored beside the pixels, in words."""
    suffix = canonical(suffix)
    if suffix == ".bmp":
        named = {"the colour profile": stored.icc, "EXIF": stored.exif, "XMP": stored.xmp}
        return [f"BMP files hold no metadata: {name} is left out" for name, value in named.items() if value]
    if suffix == ".jpg":
        named = {"EXIF": stored.exif, "XMP": stored.xmp}
        return [
            f"{name} is left out: its {len(value)} bytes are more than JPEG files hold"
            for name, value in named.items()
            if value and len(value) > jpeg.SEGMENT
        ]
    return ["WebP files hold no grey: it is written as colour"] if suffix == ".webp" and channels == 1 else []


def suitable(path: Path, photo: Photo) -> str:
    """The canonical ending of a path whose format holds the picture.

    Raises:
        InputError: no picture format, or one that cannot hold the picture; names those that can.
    """
    suffix = canonical(path.suffix)
    if suffix not in DEPTHS:
        raise InputError(f"{path} has no ending that can be written; allowed are {', '.join(FORMATS)}")
    depth, (count, height, width) = photo.pixels.dtype, photo.pixels.shape
    if depth not in DEPTHS[".tif"] or count not in (1, 3) or min(height, width) == 0:
        raise InputError(f"a picture of {count} channels {height} by {width} of {depth} cannot be written")
    through = photo.alpha is not None and not bool((photo.alpha == white(depth)).all())
    able = [
        ending
        for ending, depths in DEPTHS.items()
        if depth in depths
        and (ending in TRANSPARENT or not through)
        and max(height, width) <= SIDES.get(ending, PIXELS)
    ]
    if suffix not in able:
        name = {torch.uint8: "8 bit", torch.uint16: "16 bit", torch.float32: "floating point"}[depth]
        raise InputError(
            f"{path}: {suffix} files cannot hold a {name} picture of {width} x {height}"
            f"{' with transparency' if through else ''}; write {' or '.join(able)}"
        )
    return suffix


def canonical(suffix: str) -> str:
    """One ending for each format."""
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix.lower(), suffix.lower())


def white(depth: torch.dtype) -> float:
    """The value of white, and of what is opaque: 1 for floating point, the largest integer else."""
    return 1 if depth.is_floating_point else torch.iinfo(depth).max


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, not empty.

    Raises:
        InputError: it is none, or cannot be opened.
    """
    try:
        with open(path, "rb", opener=at_once) as file:
            kind = os.fstat(file.fileno())
            if not stat.S_ISREG(kind.st_mode):
                raise InputError(f"{path} is no file")
            if kind.st_size == 0:
                raise InputError(f"{path} is empty; it has no bytes")
            yield file
    except OSError as problem:
        raise InputError(f"{path} cannot be opened: {problem.strerror or problem}") from problem


def at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def content(file: BufferedReader, path: Path) -> str:
    """The ending that belongs to what a file begins with.

    Raises:
        InputError: no picture format that is known here.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] in exif.ORDERS or start[:4] in (b"II+\0", b"MM\0+"):
        if path.suffix.lower() in RAW:
            raise InputError(f"{path} is a camera's raw file; develop it into 16 bit TIFF first")
        return ".tif"
    if start.startswith(png.SIGNATURE):
        return ".png"
    if start.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return ".webp"
    if start.startswith(b"BM"):
        return ".bmp"
    if start[4:8] == b"ftyp":
        other = "a HEIF, AVIF or video file: save it as JPEG, PNG or TIFF"
    else:
        other = next((words for mark, words in OTHERS.items() if start.lstrip().startswith(mark)), "")
    allowed = f"allowed are {', '.join(FORMATS)}, .dcm and .nii"
    raise InputError(f"{path} is {other}; {allowed}" if other else f"{path} is no picture; {allowed}")


def header_of(file: BufferedReader, path: Path) -> Header:
    """The header of an open file, its promises checked.

    Raises:
        InputError: as `header`.
    """
    suffix = content(file, path)
    head: Header = decoded(path, lambda: FORMATS[suffix].header(file, str(path)))
    count, size = head.width * head.height, file.seek(0, 2)
    if count == 0:
        raise InputError(f"{path} has no pixels: {head.width} x {head.height}")
    if count > PIXELS:
        raise InputError(f"{path} has {count / 1e6:.0f} megapixels; at most {PIXELS / 1e6:.0f} can be read")
    if count > BELIEVED and count > PER_BYTE * size:
        raise InputError(
            f"{path} promises {count / 1e6:.0f} megapixels in {size} bytes; it is damaged, or meant to harm"
        )
    if path.suffix and canonical(path.suffix) != suffix:
        words = f"its name ends in {path.suffix}, but it is a {suffix} file and was read as one"
        head = head._replace(stored=head.stored._replace(said=(*head.stored.said, words)))
    return head


def decoded(path: Path, work: Callable[[], Any]) -> Any:
    """What a decoder returns. Decoders meet damage with whatever exception comes about, so all of them are caught.

    Raises:
        InputError: it met damage, or the memory did not suffice.
    """
    try:
        return work()
    except (InputError, KeyboardInterrupt):
        raise
    except MemoryError as problem:
        raise InputError(f"{path} is larger than the memory that is free") from problem
    except Damage as problem:
        raise InputError(f"{path} is damaged: {problem}") from problem
    except Exception as problem:
        raise InputError(f"{path} is damaged, or of a kind that cannot be read") from problem


def finite(values: np.ndarray) -> bool:
    """Whether all values are finite numbers: a sum says so without a copy."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def turned(values: np.ndarray, turn: int) -> np.ndarray:
    """`(h, w, c)` as EXIF's orientation wants it shown (CIPA DC-008, table 6); a copy unless it stands already."""
    if turn >= 5:
        values = values.transpose(1, 0, 2)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(turn, (1, 1))
    return np.require(np.ascontiguousarray(values[::rows, ::columns]), requirements=["W"])


def medical_header(path: Path) -> Header:
    """The header of a DICOM file or of a slice of a volume.

    Raises:
        InputError: it cannot be read.
    """
    if io.in_volume(path):
        across, up, _ = medical.volume(path.parent).shape
        suffix = medical.suffix(path.parent)
        return Header(across, up, 1, torch.uint16, False, suffix, Stored(suffix))
    pydicom = medical.library("pydicom", path)
    with opened(path) as file:
        data = decoded(path, lambda: pydicom.dcmread(file, stop_before_pixels=True))
        height, width, count = (
            int(data.get(key, default)) for key, default in (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1))
        )
    if height * width == 0:
        raise InputError(f"{path} is a DICOM file without a picture")
    return Header(width, height, count, torch.uint8 if count == 3 else torch.uint16, False, ".dcm", Stored(".dcm"))
