"""EXIF: an orientation that was applied, a thumbnail that is no longer true, and the way into and out of TIFF files.

A block of EXIF is a TIFF file without a picture (CIPA DC-008, section 4.5): directories of fields of 12 bytes. What
need not change is kept byte for byte, in place, since makers' notes hold positions that nobody knows of.
"""

import io
import re
import struct
from typing import Literal, NamedTuple

Order = Literal["<", ">"]
ORDERS: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes by type
SHORT, LONG = 3, 4
DESCRIPTION, ORIENTATION = 0x10E, 0x112
# Programs' notes on the shape of an array, which would mislead them about the result.
SHAPES = re.compile(rb'\{"shape"|ImageJ=|<\?xml[^>]*>\s*(<!--.*?-->)?\s*<OME', re.DOTALL)
THUMBNAIL, THUMBNAIL_LENGTH = 0x201, 0x202
INNER = (0x8769, 0x8825, 0xA005)  # fields that point to directories: EXIF, GPS, interoperability
WIDTHS, HEIGHTS = (0x100, 0xA002), (0x101, 0xA003)  # the picture's size, as TIFF and as EXIF name it
# How a file stores its picture; and profile, XMP, resolution, Photoshop's layers and thumbnails, which go other ways.
LISTED = (273, 296, 301, 330, 332, 334, 347, 559, 700, 32997, 34377, 34675, 37724)
RANGES = ((254, 260), (262, 267), (277, 286), (288, 294), (317, 326), (336, 344), (400, 436), (512, 533))
STRUCTURE = frozenset(LISTED).union(*(range(first, end) for first, end in RANGES))


class Field(NamedTuple):
    """One field of a directory: its type, its count and its bytes in the block's byte order, or an inner directory."""

    kind: int
    number: int
    data: "bytes | dict[int, Field]"
    at: int = 0  # where the bytes stand


Directory = dict[int, Field]


def directory(file: io.BufferedIOBase, at: int, order: Order, depth: int = 0) -> tuple[Directory, int]:
    """The fields of the directory at a position by tag, and the position of the next one (0: none).

    Fields whose bytes are not in the file are left out; `depth` levels of inner directories are followed.

    Raises:
        ValueError: there is no directory.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(at)
    head = file.read(2)
    count = struct.unpack(f"{order}H", head)[0] if len(head) == 2 else 0
    entries = file.read(12 * count + 4)
    if count == 0 or len(entries) < 12 * count:
        raise ValueError("a directory of fields is damaged")
    fields: Directory = {}
    for index in range(count):
        tag, kind, number, value = struct.unpack_from(f"{order}HHI4s", entries, 12 * index)
        size, place = SIZES.get(kind, 0) * number, at + 2 + 12 * index + 8
        (pointed,) = struct.unpack(f"{order}I", value)
        if size > 4:
            place = pointed
        if size == 0 or place + size > end:
            continue
        file.seek(place)
        fields[tag] = Field(kind, number, file.read(size), place)
        if tag in INNER and depth > 0:
            try:
                fields[tag] = Field(LONG, 1, directory(file, pointed, order, depth - 1)[0])
            except ValueError:
                del fields[tag]
    after = entries[12 * count :]
    return fields, struct.unpack(f"{order}I", after)[0] if len(after) == 4 else 0


def laid_out(fields: Directory, order: Order, at: int) -> bytes:
    """A directory and all it holds as bytes that are to stand at a position."""
    entries, tail = bytearray(struct.pack(f"{order}H", len(fields))), bytearray()
    start = at + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        kind, count, data, _ = fields[tag]
        place = start + len(tail)
        stored = laid_out(data, order, place) if isinstance(data, dict) else data
        if isinstance(data, dict) or len(stored) > 4:
            tail += stored + bytes(len(stored) % 2)  # directories begin at even positions
            stored = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI4s", tag, kind, count, stored)
    return bytes(entries + bytes(4) + tail)


def number(field: Field | None, order: Order) -> int | None:
    """The first whole number of a field, or None."""
    if field is None or isinstance(field.data, dict) or field.kind not in (SHORT, LONG):
        return None
    return int(struct.unpack_from(order + ("H" if field.kind == SHORT else "I"), field.data)[0])


def put(block: bytearray, field: Field | None, order: Order, value: int) -> None:
    """Overwrite the whole number of a field in place, if there is one and the value fits."""
    if field is not None and field.kind in (SHORT, LONG) and value < 1 << 8 * SIZES[field.kind]:
        struct.pack_into(order + ("H" if field.kind == SHORT else "I"), block, field.at, value)


def upright(block: bytes) -> tuple[int | None, bytes]:
    """The orientation (1..8; None where none is given) and the block with orientation 1 and without its thumbnail.

    Raises:
        ValueError: no block of EXIF.
    """
    block = block.removeprefix(b"Exif\0\0")
    order, changed = ORDERS.get(block[:4]), bytearray(block)
    if order is None or len(block) < 8:
        raise ValueError("EXIF begins with no byte order")
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    fields, following = directory(io.BytesIO(block), first, order)
    turn = number(fields.get(ORIENTATION), order)
    put(changed, fields.get(ORIENTATION), order, 1)
    if following:
        (count,) = struct.unpack_from(f"{order}H", block, first)
        struct.pack_into(f"{order}I", changed, first + 2 + 12 * count, 0)
        without_thumbnail(changed, block, following, order)
    return (turn if turn is None or 1 <= turn <= 8 else 1), bytes(changed)


def taken(block: bytes | None, xmp: bytes | None) -> tuple[int, bytes | None, bytes | None, tuple[str, ...]]:
    """Orientation, EXIF and XMP as of an upright picture, and what was left out, in words, of what a file brings."""
    if not block:
        return 1, None, xmp or None, ()
    try:
        turn, block = upright(block)
    except (ValueError, struct.error):
        return 1, None, xmp or None, ("its EXIF is damaged and was left out",)
    return turn or 1, block, upright_xmp(xmp) if xmp and turn else xmp or None, ()


def without_thumbnail(changed: bytearray, block: bytes, at: int, order: Order) -> None:
    """Blank the thumbnail of the directory at a position, and cut it off where it is the end of the block."""
    try:
        fields, _ = directory(io.BytesIO(block), at, order)
    except ValueError:
        return
    place, length = (number(fields.get(tag), order) or 0 for tag in (THUMBNAIL, THUMBNAIL_LENGTH))
    if place >= 8 and length and place + length <= len(block):
        changed[place : place + length] = bytes(length)
        if place + length == len(block):
            del changed[place:]


def sized(block: bytes, width: int, height: int) -> bytes:
    """The block with the size of the picture set to this one wherever it is named.

    Raises:
        ValueError: no block of EXIF.
    """
    order, changed = ORDERS[block[:4]], bytearray(block)
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    fields, _ = directory(io.BytesIO(block), first, order, depth=1)
    inner = fields[INNER[0]].data if INNER[0] in fields else {}
    for group in (fields, inner if isinstance(inner, dict) else {}):
        for tags, value in ((WIDTHS, width), (HEIGHTS, height)):
            for tag in tags:
                put(changed, group.get(tag), order, value)
    return bytes(changed)


def from_tiff(fields: Directory, order: Order) -> bytes | None:
    """What the first directory of a TIFF file says beside its structure, as a block of EXIF; None: nothing."""
    kept = {tag: field for tag, field in fields.items() if tag not in STRUCTURE}
    described = kept.get(DESCRIPTION)
    if described is not None and isinstance(described.data, bytes) and SHAPES.match(described.data):
        del kept[DESCRIPTION]
    if ORIENTATION in kept:
        kept[ORIENTATION] = Field(SHORT, 1, struct.pack(f"{order}H", 1))
    mark = next(mark for mark, found in ORDERS.items() if found == order)
    return mark + struct.pack(f"{order}I", 8) + laid_out(kept, order, 8) if kept else None


def into_tiff(block: bytes) -> tuple[Directory, Order]:
    """The fields of a block that belong into a TIFF file's first directory, and their byte order.

    Raises:
        ValueError: no block of EXIF.
    """
    order = ORDERS[block[:4]]
    fields, _ = directory(io.BytesIO(block), struct.unpack_from(f"{order}I", block, 4)[0], order, depth=2)
    return {tag: field for tag, field in fields.items() if tag not in STRUCTURE}, order


def upright_xmp(xmp: bytes) -> bytes:
    """XMP whose `tiff:Orientation` says 1."""
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]", rb"\g<1>1", xmp)
