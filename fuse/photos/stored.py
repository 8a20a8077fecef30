"""What is known of a picture beside its pixels, and what travels with it from the file it was read from."""

from typing import NamedTuple

import torch


class Damage(Exception):
    """A file does not hold what it promises; the message says so after "it is damaged: "."""


class Stored(NamedTuple):
    """What a file says besides pixels, ready to be written again: the orientation has been applied."""

    suffix: str  # of the content, not of the name: .png .jpg .tif .webp .bmp .dcm .nii
    icc: bytes | None = None  # colour profile
    exif: bytes | None = None  # from its byte order mark on; orientation 1, no thumbnail
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # across, down
    quality: int | None = None  # of a JPEG file, 1..100 as libjpeg counts, estimated from its tables
    subsampling: str | None = None  # of a JPEG file's colour: 4:4:4, 4:2:2, 4:2:0 or "other"
    tables: tuple[tuple[int, ...], ...] = ()  # a JPEG file's quantisation: luma, chroma; 64 numbers row by row
    compression: str | None = None  # TIFF: none, lzw, deflate; WebP: lossless, lossy
    chunks: tuple[tuple[bytes, bytes], ...] = ()  # a PNG file's own words on colour and its texts
    said: tuple[str, ...] = ()  # what reading changed or left out, for the user


class Header(NamedTuple):
    """A picture file before its pixels are decoded."""

    width: int  # upright
    height: int
    channels: int  # of the pixels as `read` gives them: 1 or 3
    depth: torch.dtype  # uint8, uint16 or float32
    alpha: bool
    suffix: str
    stored: Stored
    turn: int = 1  # EXIF's orientation, which reading still applies

    @property
    def bytes(self) -> int:
        """Memory that the pixels take, alpha included."""
        return self.width * self.height * (self.channels + self.alpha) * self.depth.itemsize


def upright(width: int, height: int, turn: int) -> tuple[int, int]:
    """Width and height after EXIF's orientation `turn` is applied: 5 to 8 swap them."""
    return (height, width) if turn >= 5 else (width, height)
