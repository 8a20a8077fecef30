"""PNG files: 8 and 16 bits with all they say of colour, size on paper and camera (W3C PNG, third edition)."""

import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import PngImagePlugin

from fuse.errors import InputError
from fuse.photos import exif
from fuse.photos.stored import Damage, Header, Stored, upright

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP = b"XML:com.adobe.xmp\0"
NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
KEPT = (*COLOUR, b"tEXt", b"zTXt", b"iTXt")
LEVEL = 4  # of 9; level 6 makes photographs 7 % smaller in three times the time
LONGEST = 1 << 28  # bytes of a chunk beside the pixels; more is damage or an attack


def chunks(file: BufferedReader) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks; those of the pixels without contents.

    Raises:
        Damage: the file ends before its last chunk.
    """
    file.seek(len(SIGNATURE))
    name = b""
    while name != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise Damage("the file ends before the picture does")
        size, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"fdAT"):
            file.seek(size + 4, 1)
            yield name, b""
            continue
        if name[:1].isupper() and name not in NEEDED:
            raise Damage(f"its chunk {name.decode('latin-1')} is needed to show it and not known")
        if size > LONGEST:
            raise Damage(f"a chunk of {size} bytes")
        data = file.read(size)
        if file.read(4) != struct.pack(">I", zlib.crc32(name + data)):
            raise Damage(f"its chunk {name.decode('latin-1')} is damaged or cut short")
        yield name, data


def unpacked(data: bytes) -> bytes:
    """A compressed part of a chunk.

    Raises:
        Damage: damaged, or absurdly large.
    """
    worker = zlib.decompressobj()
    try:
        out = worker.decompress(data, LONGEST)
    except zlib.error as problem:
        raise Damage("a compressed chunk is damaged") from problem
    if not worker.eof:
        raise Damage("a compressed chunk is cut short or absurdly large")
    return out


def header(file: BufferedReader, name: str) -> Header:
    """See `fuse.photos.photo.header`.

    Raises:
        InputError: an animation.
        Damage: damage.
    """
    found: dict[bytes, bytes] = {}
    kept: list[tuple[bytes, bytes]] = []
    xmp: bytes | None = None
    for chunk, data in chunks(file):
        found.setdefault(chunk, data)
        if chunk == b"iTXt" and data.startswith(XMP):
            xmp = xmp_of(data)
        elif chunk in KEPT and not data.startswith(b"Raw profile type"):
            kept.append((chunk, data))
    if len(found.get(b"IHDR", b"")) != 13:
        raise Damage("its header is missing or cut short")
    width, height, bits, colour, _, _, _ = struct.unpack(">IIBBBBB", found[b"IHDR"])
    if b"acTL" in found and struct.unpack_from(">I", found[b"acTL"])[0] > 1:
        raise InputError(f"{name} is animated; save its frames one by one (ffmpeg -i {Path(name).name} frame%03d.png)")
    turn, block, xmp, said = exif.taken(found.get(b"eXIf"), xmp)
    dpi = None
    if len(found.get(b"pHYs", b"")) == 9:
        across, down, metres = struct.unpack(">IIB", found[b"pHYs"])
        dpi = (across * 0.0254, down * 0.0254) if metres == 1 and across and down else None
    if dpi is not None and turn >= 5:
        dpi = dpi[::-1]
    icc: bytes | None = None
    profile = found.get(b"iCCP", b"")
    if profile:
        try:
            icc = unpacked(profile[profile.index(b"\0") + 2 :])
        except (Damage, ValueError):
            said += ("its colour profile is damaged and was left out",)
    channels = 3 if colour in (2, 3, 6) else 1
    stored = Stored(
        suffix=".png",
        icc=icc,
        exif=block,
        xmp=xmp,
        dpi=dpi,
        chunks=tuple(kept),
        said=said,
    )
    depth = torch.uint16 if bits == 16 else torch.uint8
    width, height = upright(width, height, turn)
    return Header(width, height, channels, depth, colour in (4, 6) or b"tRNS" in found, ".png", stored, turn)


def xmp_of(data: bytes) -> bytes | None:
    """The packet in an `iTXt` chunk: after keyword, flags, language and translated keyword."""
    packed, rest = data[len(XMP)], data[len(XMP) + 2 :].split(b"\0", 2)
    if len(rest) < 3:
        return None
    return unpacked(rest[2]) if packed else rest[2]


def critical(file: BufferedReader) -> bytearray:
    """The file without the chunks that pixels do not need: libpng grumbles about others on the terminal."""
    out, filled, name = bytearray(file.seek(0, 2)), len(SIGNATURE), b""
    file.seek(filled)
    with memoryview(out) as room:
        room[:filled] = SIGNATURE
        while name != b"IEND":
            head = file.read(8)
            size, name = struct.unpack(">I4s", head)
            if name not in (*NEEDED, b"tRNS"):
                file.seek(size + 4, 1)
                continue
            room[filled : filled + 8] = head
            if file.readinto(room[filled + 8 : filled + 12 + size]) < size + 4:
                raise Damage("the file ends before the picture does")
            filled += size + 12
    del out[filled:]
    return out


def beyond_palette(data: bytearray) -> None:
    """Refuse pixels whose number is not in the palette, which libpng paints black.

    Raises:
        Damage: there are some.
    """
    if data[25] != 3:  # the kind of colour: by palette
        return
    image = PngImagePlugin.PngImageFile(BytesIO(data))
    image.load()
    if image.mode == "P" and int(np.asarray(image).max()) >= len(image.getpalette() or ()) // 3:
        raise Damage("it has colours that are not in its palette")


def pixels(file: BufferedReader, head: Header) -> np.ndarray:
    """`(h, w, channels + alpha)` as stored, palettes looked up, fewer than 8 bits spread over 0..255."""
    import imagecodecs

    data = critical(file)
    beyond_palette(data)
    values = imagecodecs.png_decode(data)
    values = values if values.ndim == 3 else values[..., None]
    if values.shape[2] != head.channels + head.alpha:
        raise Damage(f"{values.shape[2]} channels instead of {head.channels + head.alpha}")
    return values


def write(path: Path, values: np.ndarray, alpha: bool, stored: Stored) -> None:
    """Write `(h, w, channels + alpha)`."""
    import imagecodecs

    before: list[tuple[bytes, bytes]] = []
    if stored.icc:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(stored.icc)))
    before += [entry for entry in stored.chunks if entry[0] in COLOUR]  # all of these stand before the pixels
    if stored.dpi:
        before.append((b"pHYs", struct.pack(">IIB", *(round(number / 0.0254) for number in stored.dpi), 1)))
    if stored.exif:
        before.append((b"eXIf", stored.exif))
    if stored.xmp:
        before.append((b"iTXt", XMP + bytes(4) + stored.xmp))
    before += [entry for entry in stored.chunks if entry[0] not in COLOUR]
    flat = values[..., 0] if values.shape[2] == 1 else values
    # What does not compress grows: a byte per row, 12 per chunk of 8192, a little for the blocks of deflate.
    most = int((values.nbytes + len(values)) * 1.01) + 4096
    data = memoryview(imagecodecs.png_encode(np.ascontiguousarray(flat), level=LEVEL, out=most))
    first = len(SIGNATURE) + 25  # after the header chunk
    with path.open("wb") as file:
        file.write(data[:first])
        for chunk, content in before:
            file.write(struct.pack(">I", len(content)) + chunk + content)
            file.write(struct.pack(">I", zlib.crc32(chunk + content)))
        file.write(data[first:])
