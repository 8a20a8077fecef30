"""WebP files: 8 bits, colour, transparency."""

import struct
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import WebPImagePlugin

from fuse.errors import InputError
from fuse.photos import colour, exif
from fuse.photos.stored import Damage, Header, Stored, upright

LONGEST_SIDE = 16383


def opened(file: BufferedReader) -> Any:
    """The file in Pillow, no picture decoded.

    Raises:
        Damage: damage, or the file ends before what it announces.
    """
    file.seek(0)
    head = file.read(12)
    if file.seek(0, 2) < struct.unpack_from("<I", head, 4)[0] + 8:
        raise Damage("the file ends before the picture does")
    file.seek(0)
    return WebPImagePlugin.WebPImageFile(file)


def header(file: BufferedReader, name: str) -> Header:
    """See `fuse.photos.photo.header`.

    Raises:
        InputError: an animation.
        Damage: damage.
    """
    image = opened(file)
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{name} is animated; save its frames one by one (webpmux -get frame 1 {Path(name).name} ...)")
    turn, block, xmp, said = exif.taken(image.info.get("exif"), image.info.get("xmp"))
    stored = Stored(
        suffix=".webp",
        icc=image.info.get("icc_profile"),
        exif=block,
        xmp=xmp,
        compression="lossless" if lossless(file) else "lossy",
        said=said,
    )
    width, height = upright(image.width, image.height, turn)
    return Header(width, height, 3, torch.uint8, image.mode == "RGBA", ".webp", stored, turn)


def lossless(file: BufferedReader) -> bool:
    """Whether the picture's chunk is of the lossless kind."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name in (b"VP8 ", b"VP8L"):
            return bool(name == b"VP8L")
        file.seek(size + size % 2, 1)
    return False


def pixels(file: BufferedReader, head: Header) -> np.ndarray:
    """`(h, w, 3 + alpha)` as stored."""
    import imagecodecs

    file.seek(0)
    values: np.ndarray = imagecodecs.webp_decode(file.read(), hasalpha=head.alpha)
    return values


def write(path: Path, values: np.ndarray, alpha: bool, stored: Stored) -> None:
    """Write `(h, w, channels + alpha)`: without loss, or at quality 95 where the source was a lossy WebP file.

    The encoder needs some 25 bytes of memory per pixel meanwhile."""
    how: dict[str, Any] = {"quality": 95} if stored.compression == "lossy" else {"lossless": True, "quality": 75}
    for key, value in (("icc_profile", stored.icc), ("exif", stored.exif), ("xmp", stored.xmp)):
        if value:
            how[key] = value
    count = values.shape[2]
    colours = np.repeat(values[..., :1], 3, 2) if count <= 2 else values[..., :3]  # WebP knows no grey
    shown = np.concatenate([colours, values[..., -1:]], 2) if alpha else colours
    colour.to_pillow(shown).save(path, "WEBP", exact=True, **how)
