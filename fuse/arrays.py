"""Pictures as people hold them in Python: arrays, tensors, PIL images and paths, in and out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha


class Given(NamedTuple):
    """A picture as it will be fused: `pixels` `(b, c, h, w)` with c of 1 or 3, `alpha` `(b, 1, h, w)` or None.

    `layout` says where the channels were: `none`, `last`, `first`, or `batch` for `(b, c, h, w)`.
    """

    pixels: Tensor
    alpha: Tensor | None
    layout: str


def kind_of(picture: Any) -> str:
    """`array`, `tensor`, `path` or `PIL image`.

    Raises:
        InputError: anything else.
    """
    if isinstance(picture, np.ndarray):
        return "array"
    if isinstance(picture, Tensor):
        return "tensor"
    if isinstance(picture, str | Path):
        return "path"
    if type(picture).__module__.startswith("PIL."):
        return "PIL image"
    raise InputError(
        f"a {type(picture).__name__} is no picture; give arrays, tensors, PIL images or paths, each picture by itself: "
        "fuse(*pictures)"
    )


def read(picture: Any) -> Given:
    """A picture of any kind.

    Raises:
        InputError: it cannot be read, or its shape or depth is not that of a picture.
    """
    kind = kind_of(picture)
    if kind == "path":
        from fuse.photos import photo

        found = photo.read(Path(picture).expanduser())
        layout = "last" if len(found.pixels) == 3 or found.alpha is not None else "none"
        return Given(found.pixels[None], None if found.alpha is None else found.alpha[None], layout)
    if kind == "tensor":
        return arranged(picture.detach().cpu(), layout_of(picture))
    array = of_pil(picture) if kind == "PIL image" else picture
    if (
        not np.issubdtype(array.dtype, np.number)
        or array.ndim not in (2, 3)
        or array.shape[2:] not in ((), (1,), (3,), (4,))
    ):
        raise InputError(
            f"an array of {array.dtype} and shape {array.shape} is no picture; give (h, w), (h, w, 3) or (h, w, 4) of "
            "8 or 16 bit integers or floats"
        )
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    native = native if native.flags.writeable else native.copy()  # torch warns of what it must not write to
    return arranged(torch.from_numpy(native), "none" if array.ndim == 2 else "last")


def layout_of(picture: Tensor) -> str:
    """Where the channels of a tensor are.

    Raises:
        InputError: nowhere, or it could be first or last.
    """
    shape = tuple(picture.shape)
    if len(shape) == 2:
        return "none"
    if len(shape) == 4 and shape[1] in CHANNELS:
        return "batch"
    places = [name for name, axis in (("first", 0), ("last", 2)) if len(shape) == 3 and shape[axis] in CHANNELS]
    if len(places) == 2:
        raise InputError(f"a tensor of shape {shape} can be (c, h, w) or (h, w, c); give (1, c, h, w), which is clear")
    if not places:
        raise InputError(
            f"a tensor of shape {shape} is no picture; give (h, w), (h, w, c), (c, h, w) or (b, c, h, w) with c of 1, "
            "3 or 4"
        )
    return places[0]


def arranged(pixels: Tensor, layout: str) -> Given:
    """Pixels in their layout as `(b, c, h, w)`, alpha apart.

    Raises:
        InputError: a depth that is not that of pictures.
    """
    if pixels.dtype not in (torch.uint8, torch.uint16, torch.float32, torch.float64):
        raise InputError(
            f"pictures of {str(pixels.dtype).removeprefix('torch.')} are not known here; give uint8, uint16, float32 "
            "or float64"
        )
    if layout == "none":
        pixels = pixels[None, None]
    elif layout != "batch":
        pixels = (pixels.permute(2, 0, 1) if layout == "last" else pixels)[None]
    if pixels.shape[1] == 4:
        return Given(pixels[:, :3], pixels[:, 3:], layout)
    return Given(pixels, None, layout)


def of_pil(image: Any) -> np.ndarray:
    """`(h, w)`, `(h, w, 3)` or `(h, w, 4)` of a PIL image, upright; palettes are looked up."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image = image.convert("RGB")
    array = np.asarray(image)
    return array.astype(np.uint16) if image.mode.startswith("I;16") else array


def same_layout(given: Sequence[Given]) -> None:
    """
    Raises:
        InputError: channels in different places, or batches of unequal length.
    """
    layouts = {x.layout for x in given}
    if len(layouts - {"none"}) > 1 or ("none" in layouts and layouts & {"first", "batch"}):
        raise InputError(
            f"tensors with channels {', '.join(sorted(layouts))} cannot be mixed; bring them to one layout"
        )
    if len({len(x.pixels) for x in given}) > 1:
        raise InputError(f"batches of {[len(x.pixels) for x in given]} pictures cannot be fused; give equal ones")


def like(fused: Tensor, given: Sequence[Given], first: Any) -> Any:
    """Fused `(b, c, h, w)` in the kind and layout of the sources."""
    layout = next((x.layout for x in given if x.layout != "none"), "none")
    if layout == "batch":
        return fused.to(first.device)
    fused = fused[0]
    if layout != "first":
        flat = len(fused) == 1 and (layout == "none" or any(x.pixels.shape[1] == 3 for x in given))
        fused = fused[0] if flat else fused.permute(1, 2, 0)
    if isinstance(first, Tensor):
        return fused.to(first.device)
    array = fused.contiguous().numpy()
    if kind_of(first) != "PIL image":
        return array
    from PIL import Image

    return Image.fromarray(array)


def like_map(chosen: Tensor, given: Sequence[Given], first: Any) -> Any:
    """The map `(h, w)` or `(b, h, w)` as a tensor where the sources are tensors, else as an array."""
    found = chosen if given[0].layout == "batch" else chosen[0]
    return found.to(first.device) if isinstance(first, Tensor) else found.numpy()
