"""Picture files in and out, as tensors; the only place that knows OpenCV."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a broken file gets one message, ours
import cv2
import numpy as np
import torch
from torch import Tensor

from fuse.data import medical
from fuse.errors import InputError

# also where another module was the first to import OpenCV; the name is that of OpenCV 4, the place that of 5
(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
LOSSLESS = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95]}
LOSSLESS[".webp"] = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 OpenCV writes WebP without loss


def pictures(folder: Path) -> dict[str, Path]:
    """Picture files of a folder by stem, in the order of their names; DICOM files and the slices of volumes too.

    Raises:
        InputError: the folder is missing, or two files share a stem.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder; name a folder of pictures ({', '.join(SUFFIXES)})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_picture(path.name):
            continue
        for stem, place in places(path, medical.stem(path)).items():
            if stem in found:
                raise InputError(f"{found[stem]} and {path.name} share a stem; keep one of them")
            found[stem] = place
    return found


def places(path: Path, stem: str) -> dict[str, Path]:
    """The pictures in a file by stem: one, or `<stem>-000` and so on for the slices of a volume.

    Raises:
        InputError: a volume that cannot be read.
    """
    return medical.slices(path, stem) if in_volume(path / "0") else {stem: path}


def is_picture(name: str) -> bool:
    """Whether a file of that name is taken for a picture: by its ending, unless it is hidden."""
    return name.lower().endswith((*SUFFIXES, *medical.SUFFIXES)) and not name.startswith(".")


def in_volume(path: Path) -> bool:
    """Whether a place is that of a slice in a volume, `brain.nii.gz/012`."""
    return medical.suffix(path.parent) in medical.VOLUMES


def file(path: Path) -> Path:
    """The file that holds the picture at a place: the place itself, or the volume that the slice is in."""
    return path.parent if in_volume(path) else path


def decode(data: bytes, name: str = "picture") -> Tensor:
    """Encoded file as `(c, h, w)`, c of 1 or 3 (RGB), uint8 or uint16 as stored, upright (EXIF orientation applied).

    Floating point values from 0 to 1 become 16 bit; CMYK becomes RGB.

    Raises:
        InputError: not a picture, other values than 8 or 16 bit integers or 0 to 1, or transparency that would be lost.
    """
    raw = np.frombuffer(data, np.uint8)
    try:
        stored = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED) if raw.size else None
        # Only this flag turns the picture upright, and it drops an alpha channel.
        pixels = None if stored is None else cv2.imdecode(raw, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as problem:  # a header that promises more pixels than OpenCV allows
        raise InputError(f"{name} cannot be read as a picture: {problem.err}") from problem
    if stored is None or pixels is None:
        raise InputError(f"{name} cannot be read as a picture; allowed are {', '.join(SUFFIXES)}")
    if pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is neither
            raise InputError(
                f"{name} holds {stored.dtype} values from {pixels.min():g} to {pixels.max():g}; allowed are 8 and "
                "16 bit integers, and floating point values from 0 to 1: divide by what is white"
            )
        pixels = np.round(pixels.astype(np.float64) * 65535).astype(np.uint16)
    elif stored.dtype.name not in ("uint8", "uint16"):
        raise InputError(f"{name} holds {stored.dtype} values; allowed are 8 and 16 bit integers")
    if transparent(stored, data):
        raise InputError(f"{name} has transparent pixels, which fusion would lose; flatten it first")
    if pixels.ndim == 2:
        return torch.from_numpy(pixels)[None]
    return torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))


def transparent(stored: np.ndarray, data: bytes) -> bool:
    """Whether a decoded file `(h, w, c)` has pixels that are not opaque."""
    if stored.ndim == 3 and stored.shape[2] == 4:
        return bool(stored[..., 3].min() < (1 if stored.dtype.kind == "f" else np.iinfo(stored.dtype).max))
    return tiff_tag(data, 338) in (1, 2) and stored.ndim == 2  # alpha beside grey, which OpenCV drops unseen


def tiff_tag(data: bytes, tag: int) -> int | None:
    """The first value of a 16 bit tag (such as 338, extra samples) of a TIFF file, or None."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return None
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    if place + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, place)
    for at in range(place + 2, min(place + 2 + 12 * count, len(data) - 11), 12):
        found, _, _, value = struct.unpack_from(f"{order}HHIH", data, at)
        if found == tag:
            return int(value)
    return None


def read(path: Path) -> Tensor:
    """Picture file as `(c, h, w)`; see `decode`, and `fuse.data.medical` for DICOM files and slices of volumes.

    Raises:
        InputError: as these, or the file cannot be opened.
    """
    if in_volume(Path(path)):
        return medical.slice_of(Path(path))
    try:
        data = Path(path).read_bytes()
    except OSError as problem:
        raise InputError(f"{path} cannot be opened: {problem.strerror}") from problem
    return medical.dicom(data, str(path)) if medical.suffix(Path(path)) == ".dcm" else decode(data, str(path))


def encode(picture: Tensor, suffix: str, quality: int = 95) -> bytes:
    """`(c, h, w)` uint8 or uint16, c of 1 or 3 (RGB), as a file of that suffix; JPEG at a quality, others lossless.

    Raises:
        InputError: the format does not hold this picture.
    """
    pixels = picture.cpu().permute(1, 2, 0).numpy()[..., ::-1]
    if suffix not in SUFFIXES:
        raise InputError(f"'{suffix}' is no picture format known here; allowed are {', '.join(SUFFIXES)}")
    if pixels.dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise InputError(f"'{suffix}' cannot hold 16 bit pictures; write .png or .tif")
    how = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else LOSSLESS.get(suffix, [])
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), how)
    if not done:
        raise InputError(f"a {tuple(picture.shape)} {picture.dtype} picture cannot be written as '{suffix}'")
    return data.tobytes()


def write(path: Path, picture: Tensor) -> None:
    """Write `(c, h, w)` under its final name in one move, so that no half-written file is ever seen.

    Raises:
        InputError: as `encode`, or the place cannot be written to.
    """
    write_bytes(path, encode(picture, path.suffix.lower()))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one move.

    Raises:
        InputError: the place cannot be written to.
    """
    with in_one_move(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def in_one_move(path: Path) -> Iterator[Path]:
    """A temporary name beside a place, which becomes that place at the end; whatever goes wrong, nothing is left.

    Raises:
        InputError: the place cannot be written to.
    """
    temporary = path.with_name(f".fuse-{os.getpid()}-{threading.get_ident()}")  # short: names may have 255 bytes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except BaseException as problem:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(problem, OSError):
            raise InputError(f"{path} cannot be written: {problem.strerror or problem}") from problem
        raise


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """`(c, h, w)` uint8 resampled by area, for thumbnails only: nothing that is measured passes through here."""
    pixels = cv2.resize(picture.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(pixels.reshape(height, width, -1).transpose(2, 0, 1).copy())
