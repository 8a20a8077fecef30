"""Pictures that are fine but not plain: kinds of colour, depths, orientations, and what stands beside the pixels."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from zoo_case import Case, Expected, Picture, chunk, filed, noise, png, rows, smooth

H, W = 12, 16
# How a viewer turns stored rows and columns (h, w, c) for each value of EXIF's orientation.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}


def pil(pixels: np.ndarray, kind: str, mode: str | None = None, **settings: Any) -> bytes:
    """A file written by Pillow."""
    squeezed = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(squeezed)
    stream = io.BytesIO()
    (image if mode in (None, image.mode) else Image.frombytes(str(mode), image.size, squeezed.tobytes())).save(
        stream, kind, **settings
    )
    return stream.getvalue()


def tif(pixels: np.ndarray, **settings: Any) -> bytes:
    """A file written by tifffile."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **settings)
    return stream.getvalue()


def decoded(data: bytes, mode: str = "RGB", tolerance: float = 0) -> Picture:
    """What Pillow makes of a file."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    return Picture(pixels if pixels.ndim == 3 else pixels[..., None], tolerance=tolerance)


def fine(name: str, suffix: str, data: Callable[[], bytes], want: Callable[[], Picture]) -> Case:
    """A file that must be read right."""
    return filed(name, f"odd{suffix}", lru_cache(data), "picture", lambda: [want()])


def lossy(name: str, suffix: str, data: Callable[[], bytes], mode: str = "RGB", tolerance: float = 3) -> Case:
    """A file with loss, which must be read nearly as Pillow reads it."""
    return fine(name, suffix, data, lambda: decoded(data(), mode, tolerance))


def pngs() -> Iterator[Case]:
    """Every kind of colour and depth that PNG has, in rows and interlaced, with and without transparency."""
    for interlaced in (False, True):
        tail = " interlaced" if interlaced else ""
        for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (4, (8, 16)), (6, (8, 16))):
            for bits in depths:
                n = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
                made = noise(H - 1, W - 3, n, np.uint16 if bits == 16 else np.uint8, 2**bits)
                shown = made if bits >= 8 else (made * (255 // (2**bits - 1))).astype(np.uint8)
                want = Picture(shown[..., :-1], shown[..., -1]) if kind >= 4 else Picture(shown)
                data = partial(png, made, bits, kind, interlaced=interlaced)
                yield fine(f"png kind {kind} {bits} bit{tail}", ".png", data, partial(Picture, *want))
        for bits in (1, 2, 4, 8):
            made = noise(H - 1, W - 3, 1, np.uint8, 2**bits)
            colours = noise(2**bits, 1, 3)[:, 0]
            plte = chunk(b"PLTE", colours.tobytes())
            data = partial(png, made, bits, 3, [plte], interlaced=interlaced)
            yield fine(f"png palette {bits} bit{tail}", ".png", data, partial(Picture, colours[made[..., 0]]))
    made, colours = noise(H, W, 1, np.uint8, 16), noise(16, 1, 3)[:, 0]
    clear = np.r_[np.arange(8) * 30, [255] * 8].astype(np.uint8)  # a table of alphas that is shorter than the palette
    data = partial(png, made, 4, 3, [chunk(b"PLTE", colours.tobytes()), chunk(b"tRNS", clear[:8].tobytes())])
    seen = Picture(colours[made[..., 0]], clear[made[..., 0]])
    yield fine("png palette with transparency", ".png", data, lambda: seen)
    grey = noise(H, W, 1)
    grey[3, 4] = 77
    data = partial(png, grey, 8, 0, [chunk(b"tRNS", struct.pack(">H", 77))])
    key = np.where(grey[..., 0] == 77, 0, 255).astype(np.uint8)
    yield fine("png grey with a transparent level", ".png", data, lambda: Picture(grey, key))
    rgb = noise(H, W, 3)
    data = partial(png, rgb, 8, 2, [chunk(b"tRNS", struct.pack(">3H", *map(int, rgb[2, 2])))])
    alpha = np.where((rgb == rgb[2, 2]).all(2), 0, 255).astype(np.uint8)
    yield fine("png colour with a transparent colour", ".png", data, lambda: Picture(rgb, alpha))
    opaque = np.dstack([rgb, np.full((H, W), 255, np.uint8)])
    full = Picture(rgb, opaque[..., 3])
    yield fine("png opaque alpha", ".png", partial(png, opaque, 8, 6), lambda: full)
    clear_all = np.dstack([rgb, np.zeros((H, W), np.uint8)])
    nothing = Picture(rgb, clear_all[..., 3])
    yield fine("png wholly transparent", ".png", partial(png, clear_all, 8, 6), lambda: nothing)
    text = chunk(b"tEXt", b"Comment\0" + b"x" * 300_000)
    beside = {
        "text of 300 kB": text,
        "compressed text of 80 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9)),
        "gamma of 0": chunk(b"gAMA", struct.pack(">I", 0)),
        "a broken colour profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"no profile")),
        "a profile that does not unpack": chunk(b"iCCP", b"icc\0\0" + b"\xff" * 90),
        "a profile of 4 MB": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(4_000_000), 9)),
        "significant bits": chunk(b"sBIT", b"\5\6\5"),
        "a resolution of 0": chunk(b"pHYs", struct.pack(">IIB", 0, 0, 1)),
        "broken EXIF": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        "an unknown chunk": chunk(b"zzZz", b"?" * 1000),
        "text that is no text": chunk(b"iTXt", b"\xff\xfe\0\0\0\0\0\xff"),
        "a histogram without palette": chunk(b"hIST", b"\0\1\0\2"),
    }
    for name, extra in beside.items():
        yield fine(f"png with {name}", ".png", partial(png, rgb, 8, 2, [extra]), lambda: Picture(rgb))
    yield fine("png in 40 pieces", ".png", partial(png, rgb, 8, 2, pieces=40), lambda: Picture(rgb))
    yield fine("png with an empty piece", ".png", partial(png, rgb, 8, 2, [chunk(b"IDAT")]), lambda: Picture(rgb))
    yield fine("png with words behind it", ".png", lambda: png(rgb, 8, 2) + b"words" * 99, lambda: Picture(rgb))


def animated() -> Iterator[Case]:
    """More than one picture in a file: the first, or a message."""
    frames = [noise(H, W, 3), noise(H, W, 4)[..., :3]]
    first = [Picture(frames[0])]
    fctl = struct.pack(">IIIIHHBB", W, H, 0, 0, 1, 10, 0, 0)
    second = zlib.compress(b"".join(b"\0" + row for row in rows(frames[1], 8)))
    before = [chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", struct.pack(">I", 0) + fctl)]
    after = [chunk(b"fcTL", struct.pack(">I", 1) + fctl), chunk(b"fdAT", struct.pack(">I", 2) + second)]
    apng = partial(png, frames[0], 8, 2, before, after)
    more = r"(?i)frames|animat|pages|pictures|cannot be read"
    yield filed("png animated", "odd.png", apng, "either", lambda: first, more)
    other = [Image.fromarray(frames[1])]
    webp = partial(pil, frames[0], "WEBP", lossless=True, save_all=True, append_images=other)
    yield filed("webp animated", "odd.webp", webp, "either", lambda: first, more)
    gif = partial(pil, frames[0], "GIF", save_all=True, append_images=other)
    yield filed("gif animated named png", "odd.png", gif, "either", lambda: [decoded(gif())], r"odd\.png")
    pages = partial(tif, np.stack(frames), photometric="rgb")
    yield filed("tiff of two pages", "odd.tif", pages, "either", lambda: first, more)

    def unlike() -> bytes:
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(frames[0], photometric="rgb")
            writer.write(noise(5, 7, 1, np.uint16)[..., 0])
        return stream.getvalue()

    yield filed("tiff of unlike pages", "odd.tif", unlike, "either", lambda: first, more)
    front, behind = pil(smooth(H, W, 3), "JPEG", quality=95), pil(smooth(H, W, 3)[::-1], "JPEG")
    seen = decoded(front, tolerance=3)
    yield filed("jpeg behind a jpeg", "odd.jpg", lambda: front + behind, "either", lambda: [seen], more)


def jpegs() -> Iterator[Case]:
    """JPEG by colour, layout and what cameras put beside the picture."""
    colour, grey, inks = smooth(27, 38, 3), smooth(27, 38, 1), smooth(27, 38, 4)
    for name, settings in {
        "4:4:4": {"subsampling": 0},
        "4:2:2": {"subsampling": 1},
        "4:2:0": {"subsampling": 2},
        "progressive": {"progressive": True},
        "optimised": {"optimize": True, "quality": 30},
        "with restarts": {"restart_marker_blocks": 1},
        "with a comment of 65533 bytes": {"comment": b"c" * 65533},
        "with a profile of 200 kB": {"icc_profile": bytes(200_000)},
        "of quality 100": {"quality": 100, "subsampling": 0},
        "of quality 1": {"quality": 1},
    }.items():
        yield lossy(f"jpeg {name}", ".jpg", partial(pil, colour, "JPEG", **settings))
    yield lossy("jpeg grey", ".jpg", partial(pil, grey, "JPEG"), "L")
    yield lossy("jpeg grey progressive", ".jpg", partial(pil, grey, "JPEG", progressive=True), "L")
    ink = partial(pil, inks, "JPEG", "CMYK", quality=95)
    yield lossy("jpeg cmyk", ".jpg", ink, tolerance=4)

    def ycck() -> bytes:
        data = ink()
        at = data.index(b"Adobe") + 11
        assert data[at] in (0, 2)
        return data[:at] + bytes([2 - data[at]]) + data[at + 1 :]

    yield lossy("jpeg ycck", ".jpg", ycck, tolerance=4)
    plain = partial(pil, colour, "JPEG", quality=95)
    yield lossy("jpeg with words behind it", ".jpg", lambda: plain() + b"words" * 500)
    yield lossy("jpeg with zeros behind it", ".jpg", lambda: plain() + bytes(4096))
    yield lossy("jpeg with fill bytes", ".jpg", lambda: plain()[:2] + b"\xff" * 9 + plain()[2:])
    for orientation in range(1, 9):
        tag = Image.Exif()
        tag[0x112] = orientation
        turned = partial(pil, colour, "JPEG", quality=95, exif=tag)
        yield fine(
            f"jpeg orientation {orientation}",
            ".jpg",
            turned,
            lambda turn=UPRIGHT[orientation]: Picture(turn(decoded(plain()).pixels), tolerance=3),
        )
    entry = struct.pack("<HHII", 0x112, 3, 1, 6)
    one = b"II*\0\x08\0\0\0\1\0"
    for name, exif in {
        "that is empty": b"",
        "of noise": noise(1, 300, 1).tobytes(),
        "cut short": b"II*\0\x08\0\0\0\x05\0" + entry[:7],
        "whose directory is far away": b"II*\0\xff\xff\xff\x7f",
        "whose directory is itself": b"II*\0\0\0\0\0",
        "with 65535 entries": b"II*\0\x08\0\0\0\xff\xff",
        "with orientation 0": one + struct.pack("<HHII", 0x112, 3, 1, 0) + bytes(4),
        "with orientation 9": one + struct.pack("<HHII", 0x112, 3, 1, 9) + bytes(4),
        "with orientation 65535": one + struct.pack("<HHII", 0x112, 3, 1, 65535) + bytes(4),
        "with an orientation of words": one + struct.pack("<HHI4s", 0x112, 2, 4, b"six\0") + bytes(4),
        "with no orientations": one + struct.pack("<HHII", 0x112, 3, 0, 0) + bytes(4),
        "with a type of 77": one + struct.pack("<HHII", 0x10F, 77, 1, 0) + bytes(4),
        "with a billion values": one + struct.pack("<HHII", 0x10F, 2, 10**9, 8) + bytes(4),
    }.items():
        marked = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
        data = partial(inserted, plain(), marked)
        yield fine(f"jpeg exif {name}", ".jpg", data, lambda: decoded(plain(), tolerance=3))
    loop = one + entry + struct.pack("<I", 8)
    marked = b"\xff\xe1" + struct.pack(">H", len(loop) + 8) + b"Exif\0\0" + loop
    turned = Picture(UPRIGHT[6](decoded(plain()).pixels), tolerance=3)
    yield fine("jpeg exif in a loop", ".jpg", partial(inserted, plain(), marked), lambda: turned)


def inserted(jpeg: bytes, segment: bytes) -> bytes:
    """A JPEG with one segment more, the first."""
    return jpeg[:2] + segment + jpeg[2:]


def others() -> Iterator[Case]:
    """WebP, BMP, and endings that lie."""
    colour, clear = smooth(H, W, 3), smooth(H, W, 4)
    for name, settings in {"lossy": {"quality": 80}, "of quality 0": {"quality": 0}}.items():
        yield lossy(f"webp {name}", ".webp", partial(pil, colour, "WEBP", **settings), tolerance=4)
    yield fine("webp lossless", ".webp", partial(pil, colour, "WEBP", lossless=True), lambda: Picture(colour))
    seen = partial(pil, clear, "WEBP", lossless=True, exact=True)
    yield fine("webp lossless alpha", ".webp", seen, lambda: Picture(clear[..., :3], clear[..., 3]))
    half = partial(pil, clear, "WEBP", quality=90)
    yield fine(
        "webp lossy alpha", ".webp", half, lambda: Picture(decoded(half(), "RGBA").pixels[..., :3], clear[..., 3], 4)
    )
    tag = Image.Exif()
    tag[0x112] = 6
    for kind, suffix in (("WEBP", ".webp"), ("PNG", ".png")):
        data = partial(pil, colour, kind, lossless=True, exif=tag)
        yield fine(f"{kind.lower()} orientation 6", suffix, data, lambda: Picture(UPRIGHT[6](colour)))
    lies = (("JPEG", ".png"), ("PNG", ".jpg"), ("TIFF", ".png"), ("WEBP", ".jpg"), ("BMP", ".tif"), ("PNG", ".bmp"))
    for kind, suffix in lies:
        data = partial(pil, colour, kind)
        yield fine(f"{kind.lower()} named {suffix}", suffix, data, lambda data=data: decoded(data(), tolerance=4))
    for kind in ("GIF", "PPM", "ICO", "TGA", "PCX", "JPEG2000", "AVIF", "DDS", "PDF", "EPS"):
        expected: Expected = "message" if kind in ("PDF", "EPS") else "either"  # these are programs
        words = r"odd\.png .*(allowed|cannot be read)"
        data = partial(pil, colour, kind)
        yield filed(f"{kind.lower()} named .png", "odd.png", data, expected, partial(seen_by_pillow, data), words)
    for suffix in (".PNG", ".JPG", ".JPEG", ".TIF", ".TIFF", ".BMP", ".WEBP", ".Png", ".jpeg", ".tiff"):
        kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix.lower(), suffix[1:].upper())
        data = partial(pil, colour, kind)
        yield fine(f"ending {suffix}", suffix, data, lambda data=data: decoded(data(), tolerance=4))
    yield from bmps(colour)


def seen_by_pillow(data: Callable[[], bytes]) -> Sequence[Picture]:
    """Pillow's reading if it has one."""
    try:
        return [decoded(data(), tolerance=4)]
    except (OSError, ValueError):
        return []


def bmp(samples: np.ndarray, bits: int, palette: bytes = b"", up: bool = True, **header: int) -> bytes:
    """A BMP of samples `(h, w, n)`, blue first; `up`: the lowest row first. `header` replaces its fields."""
    height, width = samples.shape[:2]
    packed = [row + b"\0" * (-len(row) % 4) for row in rows(samples, bits)]
    data = b"".join(reversed(packed) if up else packed)
    field = {"width": width, "height": height if up else -height, "planes": 1, "depth": bits * samples.shape[2]}
    field |= {"squeeze": 0, "size": len(data), "used": len(palette) // 4, "start": 54 + len(palette)} | header
    info = struct.pack(
        "<IiiHHIIiiII", 40, field["width"], field["height"], field["planes"], field["depth"], field["squeeze"],
        field["size"], 2835, 2835, field["used"], 0,
    )  # fmt: skip
    return struct.pack("<2sIHHI", b"BM", 54 + len(palette) + len(data), 0, 0, field["start"]) + info + palette + data


def bmps(colour: np.ndarray) -> Iterator[Case]:
    """BMP from the top, with palettes, with 16 and 32 bits, packed by runs."""
    yield fine("bmp from the top", ".bmp", partial(bmp, colour[..., ::-1], 8, up=False), lambda: Picture(colour))
    yield fine("bmp odd width", ".bmp", partial(bmp, colour[:, :5, ::-1], 8), lambda: Picture(colour[:, :5]))
    for bits in (1, 4, 8):
        made, table = noise(H, W - 3, 1, np.uint8, 2**bits), noise(2**bits, 1, 3)[:, 0]
        bgr0 = b"".join(bytes([*line[::-1], 0]) for line in table)
        data = partial(bmp, made, bits, bgr0)
        yield fine(f"bmp palette {bits} bit", ".bmp", data, partial(Picture, table[made[..., 0]]))
    padded = np.dstack([colour[..., ::-1], np.zeros((H, W), np.uint8)])
    yield fine("bmp 32 bit", ".bmp", partial(bmp, padded, 8), lambda: Picture(colour))
    five = noise(H, W, 3, np.uint8, 32).astype(np.uint16)
    word = five[..., :1] << 10 | five[..., 1:2] << 5 | five[..., 2:]
    little = (word >> 8 | word << 8).astype(np.uint16)  # rows() writes big-endian words
    shown = (five * 255 / 31).round().astype(np.uint8)
    yield fine("bmp 16 bit", ".bmp", partial(bmp, little, 16), lambda: Picture(shown, tolerance=8))
    runs = b"".join(b"\x08" + bytes([y]) + b"\x08" + bytes([y + 1]) + b"\0\0" for y in range(H)) + b"\0\1"
    grey = b"".join(bytes([v * 9, v * 9, v * 9, 0]) for v in range(16))
    head = bmp(np.zeros((H, 16, 1), np.uint8), 8, grey, squeeze=1, size=len(runs))[: 54 + len(grey)]
    level = np.repeat(np.arange(H - 1, -1, -1)[:, None] + np.array([0, 1]), 8, 1)[..., None] * 9
    want = Picture(level.astype(np.uint8))
    either = Picture(level.repeat(3, 2).astype(np.uint8))
    yield filed("bmp packed by runs", "odd.bmp", lambda: head + runs, "either", lambda: [want, either], r"odd\.bmp")


CASES = [*pngs(), *animated(), *jpegs(), *others()]
