"""Stored pictures of one scene, in memory or in a spool file, and windows of all of them."""

import math
import tempfile
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError

DEPTHS = {torch.uint8: np.uint8, torch.uint16: np.uint16, torch.float32: np.float32}
Held = Tensor | int  # the pixels, or where in the spool file they begin


class Window(NamedTuple):
    """The same part of every picture: `pixels` `(1, c, h, w)`, `valid` `(1, 1, h, w)` or None where all is valid."""

    pixels: list[Tensor]
    valid: list[Tensor | None]


class Frames:
    """Pictures `(c, h, w)`, c of 1 or 3, uint8, uint16 or float32, all of one size and depth, as they are stored.

    `spooled`: not in memory but in a file without a name in the folder for temporary files (see `tempfile`; the
    environment variable TMPDIR sets it), which the system removes when the program ends, however it ends. `close`,
    or the end of a `with` block, removes it at once.
    """

    def __init__(self, spooled: bool = False) -> None:
        self.spooled = spooled
        self.channels: list[int] = []
        self.size = (0, 0)
        self.depth = torch.uint8
        self.largest = 0.0  # magnitude of any pixel, of floats
        self.pictures: list[Held] = []
        self.masks: list[Held | None] = []
        self.file: BinaryIO | None = None

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None):
        self.close()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def coloured(self) -> bool:
        """Whether any picture is."""
        return 3 in self.channels

    @property
    def masked(self) -> bool:
        """Whether any picture has places without pixels."""
        return any(mask is not None for mask in self.masks)

    @property
    def white(self) -> float:
        """The level that fusers see as 1: the largest of the integers; of floats 1, or if any pixel is beyond, the
        least power of two that none is beyond (2^127 at most), by which they are divided without rounding."""
        if not self.depth.is_floating_point:
            return float(torch.iinfo(self.depth).max)
        return 2.0 ** min(127, math.ceil(math.log2(self.largest))) if self.largest > 1 else 1.0

    def add(self, pixels: Tensor, valid: Tensor | None = None) -> None:
        """One more picture `(c, h, w)`; `valid` `(1, h, w)` is False where it has no pixels, such as after alignment.

        Raises:
            InputError: another size or depth than those before, no depth that is known here, pixels that are no
                numbers, or no room for the spool file.
        """
        size, depth = (int(pixels.shape[-2]), int(pixels.shape[-1])), pixels.dtype
        if depth not in DEPTHS or pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
            raise InputError(
                f"a picture of {depth} and shape {tuple(pixels.shape)} cannot be fused; give (1 or 3, height, width) "
                "of 8 or 16 bit integers or 32 bit floats"
            )
        if self.pictures and (size, depth) != (self.size, self.depth):
            raise InputError(
                f"picture {len(self) + 1} is {described(size, depth)}, those before it "
                f"{described(self.size, self.depth)}; bring them to one size and depth first"
            )
        if depth.is_floating_point:
            low, high = (float(x) for x in pixels.aminmax())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise InputError(
                    f"picture {len(self) + 1} has pixels that are not numbers; find out where they come from first"
                )
            self.largest = max(self.largest, -low, high)
        self.size, self.depth = size, depth
        masked = valid is not None and not bool(valid.all())
        self.masks.append(self.held(valid.to(torch.uint8)) if masked and valid is not None else None)
        self.pictures.append(self.held(pixels))
        self.channels.append(int(pixels.shape[0]))

    def held(self, pixels: Tensor) -> Held:
        """Where they are from now on."""
        if not self.spooled:
            pixels = pixels.cpu()
            alone = pixels.untyped_storage().nbytes() == pixels.numel() * pixels.element_size()
            return pixels if alone else pixels.clone()  # a view would keep what it is a part of
        self.file = self.file or spool()
        place = self.file.seek(0, 2)
        try:
            self.file.write(np.ascontiguousarray(pixels.cpu().numpy()).data)
            self.file.flush()
        except OSError as problem:
            raise InputError(
                f"{tempfile.gettempdir()} cannot hold the pictures meanwhile: {problem.strerror}; set TMPDIR to a "
                "folder with more room, or allow more memory"
            ) from problem
        return place

    def window(self, top: int, bottom: int, left: int, right: int) -> Window:
        """Rows `top` to `bottom` and columns `left` to `right` (these excluded) of every picture."""
        part = (slice(None), slice(top, bottom), slice(left, right))
        pixels = [self.cut(x, c, self.depth, part) for x, c in zip(self.pictures, self.channels, strict=True)]
        valid = [None if x is None else self.cut(x, 1, torch.uint8, part).bool() for x in self.masks]
        return Window(pixels, valid)

    def picture(self, number: int) -> Tensor:
        """One whole picture `(c, h, w)`; without a copy where it is in memory."""
        whole = (slice(None), slice(0, self.size[0]), slice(0, self.size[1]))
        return self.cut(self.pictures[number], self.channels[number], self.depth, whole)[0]

    def cut(self, held: Held, channels: int, depth: torch.dtype, part: tuple[slice, slice, slice]) -> Tensor:
        """A part of one picture. The file is mapped only as long as it is copied from, so that it is not counted."""
        if isinstance(held, Tensor):
            return held[part][None].contiguous()  # planes, also of pixels that lie colour by colour
        if self.file is None:
            raise ValueError("the frames are closed")
        mapped = np.memmap(self.file, DEPTHS[depth], "r", held, (channels, *self.size))
        return torch.from_numpy(np.array(mapped[part]))[None]

    def close(self) -> None:
        """Forget the pictures; the spool file is removed."""
        self.pictures, self.masks, self.channels = [], [], []
        if self.file is not None:
            self.file.close()
            self.file = None


def spool() -> BinaryIO:
    """A new file that no folder lists.

    Raises:
        InputError: there is no folder to put it in.
    """
    try:
        return tempfile.TemporaryFile(prefix="fuse-")
    except OSError as problem:
        raise InputError(
            f"no file can be made to hold the pictures meanwhile: {problem.strerror}; set TMPDIR to a folder with room"
        ) from problem


def described(size: tuple[int, int], depth: torch.dtype) -> str:
    """Size and depth in words."""
    return f"{size[1]}x{size[0]} of {str(depth).removeprefix('torch.')}"
