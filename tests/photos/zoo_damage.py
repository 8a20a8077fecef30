"""Files that are damaged, lie about their size, or are no pictures: a message that names them, never wrong pixels."""

import io
import logging
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial

import numpy as np
import tifffile
from PIL import Image
from zoo_case import PNG_MARK, Case, Expected, Picture, chunk, filed, ihdr, noise, png, smooth, strip, tiff
from zoo_kinds import bmp, decoded, inserted, pil, tif

COLOUR, GREY, DEEP = noise(20, 24, 3), noise(20, 24, 1), noise(20, 24, 3, np.uint16)
RAMPS = smooth(40, 48, 3)
SMALL = 10**6  # pixels; what a damaged header promises beyond them is not compared


def containers() -> dict[str, tuple[str, Callable[[], bytes], Picture | None]]:
    """Ending, file and pixels (None: with loss) of one plain picture in every container and packing."""
    makers: dict[str, tuple[str, Callable[[], bytes], Picture | None]] = {
        "png": (".png", partial(png, COLOUR, 8, 2), Picture(COLOUR)),
        "png 16 bit": (".png", partial(png, DEEP, 16, 2), Picture(DEEP)),
        "png interlaced": (".png", partial(png, COLOUR, 8, 2, interlaced=True), Picture(COLOUR)),
        "png in pieces": (".png", partial(png, GREY, 8, 0, pieces=5), Picture(GREY)),
        "jpeg": (".jpg", partial(pil, RAMPS, "JPEG", quality=90), None),
        "jpeg progressive": (".jpg", partial(pil, RAMPS, "JPEG", quality=90, progressive=True), None),
        "jpeg grey": (".jpg", partial(pil, RAMPS[..., :1], "JPEG", quality=90), None),
        "tiff strips": (".tif", partial(tif, COLOUR, photometric="rgb", rowsperstrip=4), Picture(COLOUR)),
        "tiff tiles": (".tif", partial(tif, COLOUR, photometric="rgb", tile=(16, 16)), Picture(COLOUR)),
        "tiff lzw": (".tif", partial(pil, COLOUR, "TIFF", compression="tiff_lzw"), Picture(COLOUR)),
        "tiff deflated": (".tif", partial(tif, DEEP, photometric="rgb", compression="zlib"), Picture(DEEP)),
        "tiff big": (".tif", partial(tif, COLOUR, photometric="rgb", bigtiff=True), Picture(COLOUR)),
        "tiff directory last": (".tif", partial(tiff, strip(COLOUR), COLOUR.tobytes()), Picture(COLOUR)),
        "webp lossy": (".webp", partial(pil, RAMPS, "WEBP", quality=80), None),
        "webp lossless": (".webp", partial(pil, COLOUR, "WEBP", lossless=True), Picture(COLOUR)),
        "bmp": (".bmp", partial(bmp, COLOUR[..., ::-1], 8), Picture(COLOUR)),
        "gif named png": (".png", partial(pil, GREY, "GIF"), None),
    }
    return {name: (suffix, lru_cache(data), want) for name, (suffix, data, want) in makers.items()}


def cut() -> Iterator[Case]:
    """Files that end early, by share of their length; -1 and -8 lose only bytes that may not matter."""
    for name, (suffix, whole, want) in containers().items():
        for place in (2, 9, 0.1, 0.3, 0.5, 0.7, 0.9, -8, -1):
            data = partial(shortened, whole, place)
            expected: Expected = "either" if place in (-1, -8) else "message"
            right = partial(original, whole, want)
            yield filed(f"{name} cut at {place}", f"cut{suffix}", data, expected, right, rf"cut\{suffix}")


def shortened(whole: Callable[[], bytes], place: float) -> bytes:
    """So many bytes, or that share of them."""
    data = whole()
    return data[: int(place * len(data)) if 0 < place < 1 else int(place)]


def original(whole: Callable[[], bytes], want: Picture | None) -> Sequence[Picture]:
    """The undamaged picture; grey may come as colour from palettes."""
    return [want] if want else [decoded(whole(), tolerance=3), decoded(whole(), "L", tolerance=3)]


def flipped() -> Iterator[Case]:
    """One bit changed, three in the header and four anywhere; PNG has checksums, in the others the damage may read as
    another picture: then what comes out must be what another library reads, or the original."""
    for name, (suffix, whole, want) in containers().items():
        chance = random.Random(name)
        for index in range(7):
            place, bit = chance.random(), chance.randrange(8)
            data = partial(changed, whole, place, bit, 64 if index < 3 else None)
            right = (
                partial(original, whole, want) if suffix == ".png" and want else partial(readings, data, whole, want)
            )
            yield filed(f"{name} bit {index}", f"bit{suffix}", data, "either", right, rf"bit\{suffix}")


def changed(whole: Callable[[], bytes], place: float, bit: int, among: int | None) -> bytes:
    """The file with one bit changed at a share of its first bytes."""
    data = bytearray(whole())
    data[int(place * min(among or len(data), len(data)))] ^= 1 << bit
    return bytes(data)


def readings(data: Callable[[], bytes], whole: Callable[[], bytes], want: Picture | None) -> Sequence[Picture]:
    """The original, and what Pillow, OpenCV and tifffile make of a damaged file."""
    import cv2  # here, since it would speak up if it were loaded before the package tells it not to

    found = [*original(whole, want)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data())) as image:
                if image.width * image.height < SMALL:
                    found += [decoded(data(), mode, 3) for mode in ("RGB", "L")]
        except Exception:  # libraries fail in many ways at damaged files, which is why they are compared
            found += []
    try:
        seen = cv2.imdecode(np.frombuffer(data(), np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        seen = None
    if seen is not None:
        found.append(Picture(seen[..., None] if seen.ndim == 2 else seen[..., ::-1], tolerance=3))
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with suppress(Exception), tifffile.TiffFile(io.BytesIO(data())) as file:  # damaged files end it in many ways
            page = file.pages[0]
            if 0 < int(np.prod(page.shape)) < SMALL:
                pixels = page.asarray()
                found.append(Picture(pixels[..., None] if pixels.ndim == 2 else pixels))
    finally:
        logging.getLogger("tifffile").setLevel(logging.NOTSET)
    return found


def lying_pngs() -> Iterator[Case]:
    """PNG files whose chunks contradict each other; all checksums are right."""
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    plain = png(COLOUR, 8, 2)
    start = len(PNG_MARK) + 25
    files = {
        "of 60000 by 60000": PNG_MARK + ihdr(60000, 60000) + body + chunk(b"IEND"),
        "of 2**31-1 by 2**31-1": PNG_MARK + ihdr(2**31 - 1, 2**31 - 1) + body + chunk(b"IEND"),
        "of 2**32-1 by 1": PNG_MARK + ihdr(2**32 - 1, 1) + body + chunk(b"IEND"),
        "of 30000 by 30000 at 16 bits": PNG_MARK + ihdr(30000, 30000, 16, 6) + body + chunk(b"IEND"),
        "of width 0": PNG_MARK + ihdr(0, 20) + body + chunk(b"IEND"),
        "of height 0": PNG_MARK + ihdr(24, 0) + body + chunk(b"IEND"),
        "of 3 bits": PNG_MARK + ihdr(24, 20, 3, 0) + plain[start:],
        "of 16 bit palette": PNG_MARK + ihdr(24, 20, 16, 3) + plain[start:],
        "of colour 5": PNG_MARK + ihdr(24, 20, 8, 5) + plain[start:],
        "of packing 1": PNG_MARK + ihdr(24, 20, 8, 2, 1) + plain[start:],
        "interlaced by 7": PNG_MARK + ihdr(24, 20, 8, 2, 0, 7) + plain[start:],
        "one row too short": PNG_MARK + ihdr(24, 21) + plain[start:],
        "twice as wide as its data": PNG_MARK + ihdr(48, 20) + plain[start:],
        "without header": PNG_MARK + plain[start:],
        "without data": PNG_MARK + ihdr(24, 20) + chunk(b"IEND"),
        "with empty data": PNG_MARK + ihdr(24, 20) + chunk(b"IDAT") + chunk(b"IEND"),
        "whose data do not unpack": PNG_MARK + ihdr(24, 20) + chunk(b"IDAT", bytes(range(256)) * 8) + chunk(b"IEND"),
        "whose header is short": PNG_MARK + chunk(b"IHDR", bytes(5)) + plain[start:],
        "with a palette missing": PNG_MARK
        + ihdr(24, 20, 8, 3)
        + chunk(b"IDAT", zlib.compress(bytes(500)))
        + chunk(b"IEND"),
        "with an unknown critical chunk": plain[:start] + chunk(b"ABCD", b"?") + plain[start:],
        "with filter 9": PNG_MARK
        + ihdr(24, 20, 8, 0)
        + chunk(b"IDAT", zlib.compress((b"\x09" + bytes(24)) * 20))
        + chunk(b"IEND"),
        "with a length of 2**31": plain[:start] + b"\x80\0\0\0IDAT" + plain[start + 8 :],
        "with line ends changed": plain.replace(b"\r\n", b"\n", 1),
        "whose checksums are 0": plain[: start - 4] + bytes(4) + plain[start:],
    }
    for name, data in files.items():
        yield filed(f"png {name}", "lie.png", lambda data=data: data, "message", words=r"lie\.png")
    index = noise(20, 24, 1)
    index[3, 4] = 200
    table = chunk(b"PLTE", noise(16, 1, 3).tobytes())
    yield filed("png beyond its palette", "lie.png", partial(png, index, 8, 3, [table]), "message", words=r"lie\.png")
    twice = plain[:start] + ihdr(12, 10) + plain[start:]
    yield filed("png with two headers", "lie.png", lambda: twice, "either", lambda: [Picture(COLOUR)], r"lie\.png")
    late = png(COLOUR, 8, 2, after=[chunk(b"tEXt", b"a\0b")])
    cut_end = late[: late.rindex(b"IEND") - 4]
    yield filed("png without end", "lie.png", lambda: cut_end, "either", lambda: [Picture(COLOUR)], r"lie\.png")


def lying_others() -> Iterator[Case]:
    """JPEG, BMP and WebP whose headers do not fit their data."""
    jpeg = pil(RAMPS, "JPEG", quality=90)
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    precision, height, width, parts = frame + 4, frame + 5, frame + 7, frame + 9

    def put(at: int, new: bytes, old: bytes = jpeg) -> bytes:
        return old[:at] + new + old[at + len(new) :]

    blue_first = COLOUR[..., ::-1]
    plain = bmp(blue_first, 8)
    webp = pil(COLOUR, "WEBP", lossless=True)
    files = {
        ("jpeg of 65500 by 65500", ".jpg"): put(height, struct.pack(">HH", 65500, 65500)),
        ("jpeg of width 0", ".jpg"): put(width, b"\0\0"),
        ("jpeg of height 0", ".jpg"): put(height, b"\0\0"),
        ("jpeg twice as high as its data", ".jpg"): put(height, struct.pack(">H", 80)),
        ("jpeg of 12 bits", ".jpg"): put(precision, b"\x0c"),
        ("jpeg of 16 bits", ".jpg"): put(precision, b"\x10"),
        ("jpeg of 0 parts", ".jpg"): put(parts, b"\0"),
        ("jpeg of 200 parts", ".jpg"): put(parts, b"\xc8"),
        ("jpeg lossless", ".jpg"): put(frame, b"\xff\xc3"),
        ("jpeg hierarchical", ".jpg"): put(frame, b"\xff\xc5"),
        ("jpeg sampled by 0", ".jpg"): put(parts + 2, b"\0"),
        ("jpeg sampled by 15", ".jpg"): put(parts + 2, b"\xff"),
        ("jpeg without scan", ".jpg"): jpeg[:scan] + b"\xff\xd9",
        ("jpeg without frame", ".jpg"): jpeg[:frame] + jpeg[scan:],
        ("jpeg without tables", ".jpg"): jpeg[:2] + jpeg[frame:],
        ("jpeg behind words", ".jpg"): b"words " * 9 + jpeg,
        ("jpeg of its marks alone", ".jpg"): b"\xff\xd8\xff\xd9",
        ("jpeg whose data are zeros", ".jpg"): jpeg[:scan] + bytes(400),
        ("jpeg of a segment of 1 byte", ".jpg"): inserted(jpeg, b"\xff\xe5\0\1"),
        ("bmp of 2**31-1 by 2**31-1", ".bmp"): bmp(blue_first, 8, width=2**31 - 1, height=2**31 - 1),
        ("bmp of height -2**31", ".bmp"): bmp(blue_first, 8, height=-(2**31)),
        ("bmp of width -24", ".bmp"): bmp(blue_first, 8, width=-24),
        ("bmp of width 0", ".bmp"): bmp(blue_first, 8, width=0),
        ("bmp of height 0", ".bmp"): bmp(blue_first, 8, height=0),
        ("bmp of 60000 by 60000", ".bmp"): bmp(blue_first, 8, width=60000, height=60000),
        ("bmp higher than its data", ".bmp"): bmp(blue_first, 8, height=40),
        ("bmp of 7 bits", ".bmp"): bmp(blue_first, 8, depth=7),
        ("bmp of packing 99", ".bmp"): bmp(blue_first, 8, squeeze=99),
        ("bmp whose pixels are far away", ".bmp"): bmp(blue_first, 8, start=2**31),
        ("bmp of a million colours", ".bmp"): bmp(GREY, 8, bytes(1024), used=10**6),
        ("bmp with a header of 3", ".bmp"): plain[:14] + b"\3\0\0\0" + plain[18:],
        ("webp of its header alone", ".webp"): webp[:12],
        ("webp of 16383 by 16383", ".webp"): webp[:21] + b"\xff\xff\xff\x0f" + webp[25:],
        ("webp with an unknown part", ".webp"): webp[:12] + b"ABCD" + webp[16:],
        ("webp said to be shorter", ".webp"): webp[:4] + b"\x20\0\0\0" + webp[8:],
        ("riff of sound", ".webp"): webp[:8] + b"WAVE" + webp[12:],
    }
    for (name, suffix), data in files.items():
        yield filed(name, f"lie{suffix}", lambda data=data: data, "message", words=rf"lie\{suffix}")


def no_pictures() -> Iterator[Case]:
    """What lies about under the names of pictures."""
    page = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>no such picture</body></html>\n"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"
    contents = {
        "nothing": b"",
        "one byte": b"\0",
        "one mark": b"\x89PNG",
        "zeros": bytes(5000),
        "text": b"not a picture\n" * 50,
        "a web page": page,
        "a pointer to large files": pointer,
        "drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "json": b'{"error": "forbidden"}',
        "a zip archive": b"PK\3\4" + noise(1, 500, 1).tobytes(),
        "a pickle": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "an array": b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
        "noise": noise(1, 5000, 1).tobytes(),
        "a programme": b"\x7fELF\2\1\1" + bytes(500),
        "a film": b"\0\0\0\x18ftypmp42" + bytes(500),
        "half a utf-16 letter": "picture".encode("utf-16")[:-1],
    }
    for name, data in contents.items():
        for suffix in (".png", ".jpg", ".tif"):
            yield filed(
                f"{name} named {suffix}", f"not{suffix}", lambda data=data: data, "message", words=rf"not\{suffix}"
            )


CASES = [*cut(), *flipped(), *lying_pngs(), *lying_others(), *no_pictures()]
