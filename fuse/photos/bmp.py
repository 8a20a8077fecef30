"""BMP files: 8 bits, no metadata but the resolution."""

from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import BmpImagePlugin

from fuse.errors import InputError
from fuse.photos import colour
from fuse.photos.stored import Header, Stored

MODES = {"1": "L", "L": None, "RGB": None, "RGBA": None}


def opened(file: BufferedReader) -> Any:
    """The file in Pillow, nothing decoded."""
    file.seek(0)
    return BmpImagePlugin.BmpImageFile(file)


def header(file: BufferedReader, name: str) -> Header:
    """See `fuse.photos.photo.header`.

    Raises:
        InputError: a kind that is not known here.
    """
    image = opened(file)
    if image.mode not in (*MODES, "P"):
        raise InputError(f"{name} is a BMP file of the kind {image.mode}; allowed are grey, palette and RGB of 8 bits")
    dpi = image.info.get("dpi")
    stored = Stored(suffix=".bmp", dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None)
    channels = 1 if image.mode in ("1", "L") else 3
    return Header(image.width, image.height, channels, torch.uint8, image.mode == "RGBA", ".bmp", stored)


def pixels(file: BufferedReader, head: Header) -> np.ndarray:
    """`(h, w, channels + alpha)`, palettes looked up."""
    image = opened(file)
    image.load()
    return colour.from_pillow(image, "RGB" if image.mode == "P" else MODES[image.mode])


def write(path: Path, values: np.ndarray, alpha: bool, stored: Stored) -> None:
    """Write `(h, w, 1 or 3)`."""
    colour.save(colour.to_pillow(values), path, "BMP", **({"dpi": stored.dpi} if stored.dpi else {}))
