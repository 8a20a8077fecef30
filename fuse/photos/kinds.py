"""Pictures of different kinds brought to one: depth, channels, colour profile, transparency."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError
from fuse.photos import colour, jpeg
from fuse.photos.photo import Photo, white
from fuse.photos.stored import Header, Stored

DEPTHS = (torch.uint8, torch.uint16, torch.float32)  # from shallow to deep
BITS = {torch.uint8: "8 bit", torch.uint16: "16 bit", torch.float32: "floating point"}
SAME = 1  # levels of 255 by which the many copies of one profile differ, by rounding


class Kind(NamedTuple):
    """What the result of several pictures is."""

    channels: int
    depth: torch.dtype
    stored: Stored


def same_kind(pictures: Sequence[Header | Photo], names: Sequence[str], reference: int = 0) -> tuple[Kind, list[str]]:
    """The deepest depth, colour if any picture has it, metadata of the reference, the best quality of the JPEG files;
    and what the user should know of the differences. `alike` brings a picture to that kind.

    Raises:
        InputError: a profile that cannot be read.
    """
    depths = [depth_of(picture) for picture in pictures]
    channels = [channels_of(picture) for picture in pictures]
    depth, count = max(depths, key=DEPTHS.index), max(channels)
    stored, said = pictures[reference].stored, []
    if len(set(depths)) > 1:
        kinds = " and ".join(BITS[kind] for kind in DEPTHS if kind in depths)
        said.append(f"the pictures are {kinds}; the result is {BITS[depth]}")
    if count == 3 and channels[reference] == 1:  # a profile of grey does not describe colours
        stored = stored._replace(icc=pictures[channels.index(3)].stored.icc)
    for picture, name in zip(pictures, names, strict=True):
        if channels_of(picture) == 3 and not same_colours(picture.stored.icc, stored.icc):
            if depth_of(picture) == torch.uint8:
                said.append(f"{name} has another colour profile than {names[reference]} and is converted to that one")
            else:
                said.append(
                    f"{name} has another colour profile than {names[reference]}; {BITS[depth_of(picture)]} pictures "
                    "are not converted, so colours may be off: give all of them one profile first"
                )
    return Kind(count, depth, finest(stored, [picture.stored for picture in pictures])), said


def depth_of(picture: Header | Photo) -> torch.dtype:
    """The type of its values."""
    return picture.pixels.dtype if isinstance(picture, Photo) else picture.depth


def channels_of(picture: Header | Photo) -> int:
    """1 or 3."""
    return picture.pixels.shape[0] if isinstance(picture, Photo) else picture.channels


def finest(stored: Stored, others: Sequence[Stored]) -> Stored:
    """What is stored of the reference, with the finest quantisation and colour that any of the JPEG files has."""
    given = [other for other in others if other.tables]
    if not given:
        return stored
    luma = tuple(min(numbers) for numbers in zip(*(other.tables[0] for other in given), strict=True))
    chroma = [table for other in given for table in other.tables[1:]]
    finer = tuple(min(numbers) for numbers in zip(*chroma, strict=True))
    order = ("4:4:4", "4:2:2", "4:2:0")
    steps = [order.index(other.subsampling) if other.subsampling in order else 0 for other in given if other.tables[1:]]
    return stored._replace(
        tables=(luma, finer) if finer else (luma,),
        quality=jpeg.quality(luma),
        subsampling=order[min(steps)] if steps else "4:4:4",
    )


def same_colours(first: bytes | None, second: bytes | None) -> bool:
    """Whether two profiles of RGB (none: sRGB) give the same colours to all of 17 x 17 x 17 values.

    Raises:
        InputError: one cannot be read.
    """
    if first == second:
        return True
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(17, 289, 3)
    moved = colour.converted(grid, first, second).astype(int) - grid
    return bool(np.abs(moved).max() <= SAME)


def alike(photo: Photo, kind: Kind) -> Photo:
    """A picture in the depth and channels of a kind, 8 bit colours in its profile; the same to the last bit where it is
    of that kind already. White stays white: 255 becomes 65535 or 1.

    Raises:
        InputError: a profile that cannot be read.
    """
    pixels = photo.pixels
    convert = pixels.shape[0] == 3 and pixels.dtype == torch.uint8
    if convert and not same_colours(photo.stored.icc, kind.stored.icc):
        values = colour.converted(pixels.permute(1, 2, 0).numpy(), photo.stored.icc, kind.stored.icc)
        pixels = torch.from_numpy(values).permute(2, 0, 1)
    pixels = deeper(pixels, kind.depth)
    pixels = pixels if pixels.shape[0] == kind.channels else pixels.expand(kind.channels, -1, -1)
    return Photo(pixels, None if photo.alpha is None else deeper(photo.alpha, kind.depth), photo.stored)


def deeper(plane: Tensor, depth: torch.dtype) -> Tensor:
    """Values in a type that is at least as deep, white staying white.

    Raises:
        InputError: the type is shallower.
    """
    if plane.dtype == depth:
        return plane
    if DEPTHS.index(depth) < DEPTHS.index(plane.dtype):
        raise InputError(f"{BITS[plane.dtype]} pictures are not made {BITS[depth]} here, which would lose values")
    if depth == torch.uint16:
        return torch.from_numpy(plane.numpy().astype(np.uint16) * np.uint16(257))
    return plane.to(torch.float32) / white(plane.dtype)


def opaque(photos: Sequence[Photo]) -> tuple[list[Tensor], Tensor | None]:
    """Pixels of pictures of one kind and size without holes, and the transparency of their fusion.

    Where a picture is transparent its pixels are replaced by the mean of the others, each as far as it is opaque, so
    that fusion takes nothing from it; half transparent pixels are mixed with that mean; opaque ones do not change, nor
    do those where nothing is opaque elsewhere. The fusion is as opaque as the most opaque picture; None: everywhere.
    """
    if all(photo.alpha is None for photo in photos):
        return [photo.pixels for photo in photos], None
    depth = photos[0].pixels.dtype
    full = white(depth)
    filled = [photo.pixels if photo.alpha is None else photo.pixels.clone() for photo in photos]
    height, width = photos[0].pixels.shape[1:]
    for rows in colour.bands(height, width):
        parts = [photo.pixels[:, rows].numpy().astype(np.float64) for photo in photos]
        shares = [
            np.ones((1, *part.shape[1:])) if photo.alpha is None else photo.alpha[:, rows].numpy() / full
            for photo, part in zip(photos, parts, strict=True)
        ]
        for index, (photo, part, share) in enumerate(zip(photos, parts, shares, strict=True)):
            if photo.alpha is None:
                continue
            others = [other for other in range(len(photos)) if other != index]
            weight = sum((shares[other] for other in others), np.zeros_like(share))
            mean = sum((shares[other] * parts[other] for other in others), np.zeros_like(part))
            mean = np.divide(mean, weight, out=part.copy(), where=np.broadcast_to(weight > 0, part.shape))
            mixed = share * part + (1 - share) * mean
            mixed = mixed if depth.is_floating_point else np.rint(mixed)
            kept = np.broadcast_to((share == 1) | (weight == 0), part.shape)
            out = filled[index][:, rows].numpy()
            out[...] = np.where(kept, out, mixed.astype(out.dtype))
    if any(photo.alpha is None for photo in photos):
        return filled, None
    alphas = [photo.alpha.numpy() for photo in photos if photo.alpha is not None]
    return filled, torch.from_numpy(np.maximum.reduce(alphas))
