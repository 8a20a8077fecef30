"""Picture files in and out, as tensors; the only place that knows OpenCV."""

import os
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a broken file gets one message, ours
import cv2
import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
LOSSLESS = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95]}
LOSSLESS[".webp"] = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 OpenCV writes WebP without loss


def pictures(folder: Path) -> dict[str, Path]:
    """Picture files of a folder by stem, in the order of their names.

    Raises:
        InputError: the folder is missing, or two files share a stem.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name a folder of pictures ({', '.join(SUFFIXES)})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{found[path.stem]} and {path.name} share a stem; keep one of them")
            found[path.stem] = path
    return found


def decode(data: bytes, name: str = "picture") -> Tensor:
    """Encoded file as `(c, h, w)`, c of 1 or 3 (RGB), uint8 or uint16 as stored, upright (EXIF orientation applied).

    Raises:
        InputError: not a picture, a depth other than 8 or 16 bit, or transparency that would be lost.
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
    full = {"uint8": 255, "uint16": 65535}.get(stored.dtype.name)
    if full is None:
        raise InputError(f"{name} holds {stored.dtype} values; allowed are 8 and 16 bit integers")
    if stored.ndim == 3 and stored.shape[2] == 4 and stored[..., 3].min() < full:
        raise InputError(f"{name} has transparent pixels, which fusion would lose; flatten it first")
    if pixels.ndim == 2:
        return torch.from_numpy(pixels)[None]
    return torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))


def read(path: Path) -> Tensor:
    """Picture file as `(c, h, w)`; see `decode`.

    Raises:
        InputError: as `decode`, or the file cannot be opened.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as problem:
        raise InputError(f"{path} cannot be opened: {problem.strerror}") from problem
    return decode(data, str(path))


def encode(picture: Tensor, suffix: str) -> bytes:
    """`(c, h, w)` uint8 or uint16, c of 1 or 3 (RGB), as a file of that suffix; JPEG at quality 95, others lossless.

    Raises:
        InputError: the format does not hold this picture.
    """
    pixels = picture.cpu().permute(1, 2, 0).numpy()[..., ::-1]
    if suffix not in SUFFIXES:
        raise InputError(f"'{suffix}' is no picture format known here; allowed are {', '.join(SUFFIXES)}")
    if pixels.dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise InputError(f"'{suffix}' cannot hold 16 bit pictures; write .png or .tif")
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), LOSSLESS.get(suffix, []))
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
    """Write a file under a temporary name beside its place, then rename it.

    Raises:
        InputError: the place cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f"{path} cannot be written: {problem.strerror}") from problem


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """`(c, h, w)` uint8 resampled by area, for thumbnails only: nothing that is measured passes through here."""
    pixels = cv2.resize(picture.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(pixels.reshape(height, width, -1).transpose(2, 0, 1).copy())
