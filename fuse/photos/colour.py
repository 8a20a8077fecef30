"""From one colour space to another through ICC profiles, in bands, so that a large picture is not copied whole."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from fuse.errors import InputError

BAND = 1 << 20  # pixels converted at a time


def profile(icc: bytes | None) -> ImageCms.ImageCmsProfile:
    """A profile for LittleCMS; none means sRGB.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc) if icc else ImageCms.createProfile("sRGB"))
    except (OSError, ImageCms.PyCMSError) as problem:
        raise InputError(f"the ICC profile of {len(icc or b'')} bytes cannot be read: {problem}") from problem


def srgb() -> bytes:
    """An sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def space(icc: bytes | None) -> str:
    """What a profile describes: RGB, GRAY, CMYK, Lab ...; none means RGB."""
    return icc[16:20].decode("latin-1").strip() if icc and len(icc) >= 128 else "RGB"


def converted(values: np.ndarray, source: bytes | None, target: bytes | None) -> np.ndarray:
    """`(h, w, 3)` RGB or `(h, w, 4)` CMYK of 8 bits as `(h, w, 3)` RGB of another profile: relative colorimetric with
    black point compensation.

    Raises:
        InputError: a profile that cannot be read or is of another colour space.
    """
    mode = "CMYK" if values.shape[2] == 4 else "RGB"
    try:
        transform = ImageCms.buildTransform(
            profile(source),
            profile(target),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError as problem:
        raise InputError(
            f"{mode} cannot be converted through an ICC profile of {space(source)}: {problem}"
        ) from problem
    out = np.empty((*values.shape[:2], 3), np.uint8)
    for rows in bands(*values.shape[:2]):
        band = Image.fromarray(np.ascontiguousarray(values[rows]), mode)
        done = ImageCms.applyTransform(band, transform)
        out[rows] = np.asarray(done)
    return out


def from_cmyk(values: np.ndarray, icc: bytes | None) -> np.ndarray:
    """`(h, w, 4)` CMYK of 8 bits (0: no ink) as RGB `(h, w, 3)`: sRGB through its profile, else every ink dims.

    Raises:
        InputError: the profile cannot be read.
    """
    if space(icc) == "CMYK":
        return converted(values, icc, None)
    out = np.empty((*values.shape[:2], 3), np.uint8)
    for rows in bands(*values.shape[:2]):
        paper = 255 - values[rows].astype(np.uint16)
        out[rows] = (paper[..., :3] * paper[..., 3:] + 127) // 255
    return out


def after_cmyk(icc: bytes | None) -> tuple[bytes | None, str]:
    """The profile of what `from_cmyk` returns, and what it does in words."""
    if space(icc) == "CMYK":
        return srgb(), "CMYK was converted to sRGB through its ICC profile"
    return None, "CMYK without an ICC profile was converted to RGB by a rule of thumb"


def bands(height: int, width: int) -> list[slice]:
    """Rows in groups of some million pixels."""
    step = max(1, BAND // max(1, width))
    return [slice(top, min(height, top + step)) for top in range(0, height, step)]


def from_pillow(image: Any, mode: str | None = None) -> np.ndarray:
    """A Pillow image as `(h, w, c)`, in bands: whole, Pillow would make two more copies."""
    width, height = image.size
    out: np.ndarray | None = None
    for rows in bands(height, width):
        band = image.crop((0, rows.start, width, rows.stop))
        part = np.asarray(band if mode is None else band.convert(mode))
        part = part if part.ndim == 3 else part[..., None]
        if out is None:
            out = np.empty((height, width, part.shape[2]), part.dtype)
        out[rows] = part
    if out is None:
        raise ValueError("no rows")
    return out


def to_pillow(values: np.ndarray) -> Any:
    """`(h, w, c)` of 8 bits, c 1 (grey) to 4 (RGB with alpha), as a Pillow image."""
    height, width, count = values.shape
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[count]
    image = Image.new(mode, (width, height))
    for rows in bands(height, width):
        part = np.ascontiguousarray(values[rows, :, 0] if count == 1 else values[rows])
        image.paste(Image.fromarray(part, mode), (0, rows.start))
    return image


def save(image: Image.Image, path: Path, kind: str, **how: Any) -> None:
    """Encode into a file. To one that has a number Pillow writes past Python and takes a short write for a whole one,
    as on a full disk; so it is given one without."""
    with open(path, "wb") as file:
        image.save(SimpleNamespace(write=file.write, flush=file.flush), kind, **how)
