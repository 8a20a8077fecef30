"""TIFF, the format of a thousand layouts: fine ones, and tags that make no sense."""

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image
from zoo_case import Case, Expected, Picture, filed, noise, smooth, strip, tiff
from zoo_kinds import UPRIGHT, H, W, decoded, fine, lossy, pil, tif

NAMED = r"odd\.tif"
# Nonsense in a tag that a reader can do without: all pixels are there.
FORGIVABLE = (
    "of packing 0",
    "of planes 7",
    "with rows per strip of 0",
    "of a million strips",
    "whose strip has 0 bytes",
)


def layouts() -> Iterator[Case]:
    """Strips, tiles, planes, byte orders and packings of integers."""
    for dtype in (np.uint8, np.uint16):
        for channels in (1, 3):
            made, bits = noise(H + 25, W + 21, channels, dtype), np.dtype(dtype).itemsize * 8
            shape = made if channels == 3 else made[..., 0]
            colour = "rgb" if channels == 3 else "minisblack"
            for name, settings in {
                "in one strip": {},
                "in strips of 5": {"rowsperstrip": 5},
                "in tiles": {"tile": (16, 16)},
                "deflated": {"compression": "zlib"},
                "deflated with predictor": {"compression": "zlib", "predictor": True},
                "deflated in tiles": {"compression": "zlib", "tile": (16, 32)},
                "big-endian": {"byteorder": ">"},
                "big-endian deflated with predictor": {"byteorder": ">", "compression": "zlib", "predictor": True},
                "bigtiff": {"bigtiff": True},
            }.items():
                data = partial(tif, shape, photometric=colour, **settings)
                yield fine(f"tiff {bits} bit {colour} {name}", ".tif", data, partial(Picture, made))
    made = noise(H + 25, W + 21, 3)
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_deflate"):
        data = partial(pil, made, "TIFF", compression=packing)
        yield fine(f"tiff {packing}", ".tif", data, lambda: Picture(made))
    yield lossy("tiff jpeg", ".tif", partial(pil, smooth(32, 48, 3), "TIFF", compression="jpeg"), tolerance=4)
    for dtype in (np.uint8, np.uint16):
        planes = noise(3, H, W, dtype)[:3]
        data = partial(tif, planes, photometric="rgb", planarconfig="separate")
        want = partial(Picture, planes.transpose(1, 2, 0))
        yield fine(f"tiff planes {np.dtype(dtype)}", ".tif", data, want)
    for orientation in range(1, 9):
        data = partial(tiff, strip(made, t274=(3, [orientation])), made.tobytes())
        turned = partial(Picture, UPRIGHT[orientation](made))
        yield fine(f"tiff orientation {orientation}", ".tif", data, turned)
    for order in "<>":
        deep = noise(H, W, 3, np.uint16)
        data = partial(tiff, strip(deep), deep.astype(f"{order}u2").tobytes(), order)
        yield fine(f"tiff of our own {order}", ".tif", data, lambda: Picture(noise(H, W, 3, np.uint16)))
    raw = made.tobytes()
    for name, tags in {
        "whose tags are not sorted": strip(made)[::-1],
        "with rows per strip of 2**32-1": strip(made, t278=(4, [2**32 - 1])),
        "without rows per strip": strip(made, t278=None),
        "without compression": strip(made, t259=None),
        "with orientation 9": strip(made, t274=(3, [9])),
        "with private tags": strip(made, t65000=(2, b"private\0"), t65001=(12, [1.5] * 40)),
        "with an unknown type of tag": strip(made, t65002=(99, [1])),
        "with a resolution of 0/0": strip(made, t282=(5, [0, 0]), t283=(5, [0, 0])),
        "with a profile of 3 MB": strip(made, t34675=(7, bytes(3_000_000))),
        "with a broken profile": strip(made, t34675=(7, b"no profile")),
        "with EXIF nowhere": strip(made, t34665=(4, [2**31])),
    }.items():
        yield fine(f"tiff {name}", ".tif", partial(tiff, tags, raw), lambda: Picture(made))


def kinds() -> Iterator[Case]:
    """Kinds of colour, transparency and numbers."""
    grey = noise(H, W, 1)
    data = partial(tif, grey[..., 0], photometric="miniswhite")
    yield fine("tiff white is 0", ".tif", data, lambda: Picture(255 - grey))
    black = noise(H, W, 1, np.uint8, 2)
    bilevel = Image.fromarray(black[..., 0] * 255).convert("1")

    def one_bit(packing: str) -> bytes:
        stream = io.BytesIO()
        bilevel.save(stream, "TIFF", compression=packing)
        return stream.getvalue()

    for packing in ("raw", "group4", "group3"):
        yield fine(f"tiff one bit {packing}", ".tif", partial(one_bit, packing), lambda: Picture(black * 255))
    index, table = noise(H, W, 1), noise(256, 1, 3)[:, 0]
    palette = (table.astype(np.uint16) * 257).T
    data = partial(tif, index[..., 0], photometric="palette", colormap=palette)
    yield fine("tiff palette", ".tif", data, lambda: Picture(table[index[..., 0]]))
    inks = smooth(H, W, 4)
    ink = partial(tif, inks, photometric="separated")
    rest = 255 - inks.astype(float)
    printed = Picture((rest[..., :3] * rest[..., 3:] / 255).round().astype(np.uint8), tolerance=2)
    yield fine("tiff cmyk", ".tif", ink, lambda: printed)
    planar = partial(tif, inks.transpose(2, 0, 1).copy(), photometric="separated", planarconfig="separate")
    yield filed("tiff cmyk planes", "odd.tif", planar, "either", lambda: [printed], NAMED)
    lab = np.dstack([smooth(H, W, 1), np.zeros((H, W, 2), np.uint8)])  # a neutral grey of some lightness
    f = (lab[..., :1] / 255 * 100 + 16) / 116
    linear = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    level = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear) * 255
    shown = Picture(level.round().astype(np.uint8).repeat(3, 2), tolerance=3)
    yield filed("tiff lab", "odd.tif", partial(tif, lab, photometric="cielab"), "either", lambda: [shown], NAMED)
    for dtype in (np.uint8, np.uint16):
        bits = np.dtype(dtype).itemsize * 8
        with_alpha, beside = noise(H, W, 4, dtype), noise(H, W, 2, dtype)
        data = partial(tif, with_alpha, photometric="rgb", extrasamples=["unassalpha"])
        yield fine(f"tiff rgba {bits}", ".tif", data, partial(Picture, with_alpha[..., :3], with_alpha[..., 3]))
        data = partial(tif, beside, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
        want = [Picture(beside[..., :1], beside[..., 1])]
        yield filed(f"tiff grey alpha {bits}", "odd.tif", data, "either", lambda want=want: want, NAMED)
    bad = partial(tif, noise(H, W, 5), photometric="rgb", extrasamples=[0, 0])
    yield filed("tiff of five channels", "odd.tif", bad, "either", lambda: [Picture(noise(H, W, 5)[..., :3])], NAMED)
    two = [Picture(noise(H, W, 2)[..., :1]), Picture(noise(H, W, 2)[..., :1], noise(H, W, 2)[..., 1])]
    bad = partial(tif, noise(H, W, 2), photometric="minisblack", planarconfig="contig")
    yield filed("tiff of two channels", "odd.tif", bad, "either", lambda: two, NAMED)


def numbers() -> Iterator[Case]:
    """Sample types: floating point in and out of range, wide and signed integers."""
    for dtype in (np.float32, np.float64):
        for channels in (1, 3):
            made = noise(H, W, channels, dtype)
            data = partial(tif, made, photometric="rgb") if channels == 3 else partial(tif, made[..., 0])
            want = partial(Picture, made.astype(np.float32), None, 1e-6)
            yield fine(f"tiff {np.dtype(dtype)} x {channels}", ".tif", data, want)
        made = noise(H, W, 1, dtype)
        wrong = {"from 0 to 255": (255, 0), "from -1 to 1": (2, -1), "a little above 1": (1.01, 0)}
        for name, (scale, offset) in wrong.items():
            values = (made * scale + offset).astype(dtype)
            want = partial(Picture, values.astype(np.float32), None, 1e-4)
            data = partial(tif, values[..., 0])
            words = r"odd\.tif .*(float|values|range).*(0 to 1|\[0, 1\])"
            yield filed(f"tiff {np.dtype(dtype)} {name}", "odd.tif", data, "either", lambda want=want: [want()], words)
        for name, value in {"nan": np.nan, "inf": np.inf, "minus inf": -np.inf}.items():
            spoilt = made.copy()
            spoilt[3, 4] = value
            data = partial(tif, spoilt[..., 0])
            words = r"(?is)odd\.tif.*(nan|inf|not (a )?(number|finite))"
            yield filed(f"tiff {np.dtype(dtype)} with {name}", "odd.tif", data, "message", words=words)
        data = partial(tif, np.full((H, W), np.nan, dtype))
        yield filed(f"tiff {np.dtype(dtype)} of nan alone", "odd.tif", data, "message", words=NAMED)
        huge = np.full((H, W), np.finfo(dtype).max, dtype)
        expected: Expected = "either" if dtype is np.float32 else "message"
        kept = [Picture(huge[..., None])]
        data = partial(tif, huge)
        yield filed(f"tiff {np.dtype(dtype)} of huge numbers", "odd.tif", data, expected, lambda kept=kept: kept, NAMED)
    half = noise(H, W, 1).astype(np.float16) / np.float16(255)
    want = Picture(half.astype(np.float32), None, 1e-6)
    yield filed("tiff float16", "odd.tif", partial(tif, half[..., 0]), "either", lambda: [want], NAMED)
    for dtype in (np.int8, np.int16, np.int32, np.uint32, np.int64, np.uint64, np.complex64):
        data = partial(tif, noise(H, W, 1)[..., 0].astype(dtype))
        words = rf"odd\.tif.*{'complex|' * (dtype is np.complex64)}(?s:.*)(allowed|8 (and|or) 16|cannot be read)"
        yield filed(f"tiff {np.dtype(dtype)}", "odd.tif", data, "message", words=words)
    for bits in (2, 4, 12):
        made = noise(H, W, 1, np.uint16, 2**bits)
        spread = np.unpackbits(made[..., 0].astype(">u2").view(np.uint8).reshape(H, W, 2), axis=2)[..., 16 - bits :]
        raw = b"".join(np.packbits(row.reshape(-1)).tobytes() for row in spread)
        tags = strip(made, t258=(3, [bits]), t279=(4, [len(raw)]))
        eight = (made * (255 // (2**bits - 1))).astype(np.uint8) if bits < 8 else made << 4 | made >> 8
        right = [Picture(eight), Picture(made << 4 if bits == 12 else eight), Picture(made if bits == 12 else eight)]
        data = partial(tiff, tags, raw)
        yield filed(f"tiff of {bits} bits", "odd.tif", data, "either", lambda right=right: right, NAMED)


def senseless() -> Iterator[Case]:
    """Directories that lead nowhere, round in circles, or promise too much: a message, in little time and memory."""
    made = noise(H, W, 3)
    raw = made.tobytes()
    plain = tiff(strip(made), raw)
    place = 8 + len(raw)
    for name, data in {
        "with no directory": plain[:4] + bytes(4) + plain[8:],
        "with its directory behind the end": plain[:4] + (2**31).to_bytes(4, "little") + plain[8:],
        "with its directory at the header": plain[:4] + (1).to_bytes(4, "little") + plain[8:],
        "with an empty directory": plain[:place] + bytes(2) + plain[place + 2 :],
        "with 65535 tags": plain[:place] + b"\xff\xff" + plain[place + 2 :],
        "that is its header": plain[:8],
        "of half a header": plain[:5],
        "with version 44": plain[:2] + b"\x2c\0" + plain[4:],
    }.items():
        yield filed(f"tiff {name}", "odd.tif", lambda data=data: data, "message", words=NAMED)
    for name, changed in {
        "of width 0": {"t256": (3, [0])},
        "of height 0": {"t257": (3, [0])},
        "without width": {"t256": None},
        "without height": {"t257": None},
        "of width 2**32-1": {"t256": (4, [2**32 - 1])},
        "of 2**31 by 2**31": {"t256": (4, [2**31]), "t257": (4, [2**31])},
        "of 60000 by 60000": {"t256": (4, [60000]), "t257": (4, [60000]), "t278": (4, [60000])},
        "of 0 bits": {"t258": (3, [0, 0, 0])},
        "of 65535 bits": {"t258": (3, [65535] * 3)},
        "of bits 8, 16 and 3": {"t258": (3, [8, 16, 3])},
        "of 0 samples": {"t277": (3, [0])},
        "of 65535 samples": {"t277": (3, [65535])},
        "of packing 9999": {"t259": (3, [9999])},
        "of packing 0": {"t259": (3, [0])},
        "said to be deflated": {"t259": (3, [8])},
        "said to be LZW": {"t259": (3, [5])},
        "said to be JPEG": {"t259": (3, [7])},
        "said to be old JPEG": {"t259": (3, [6])},
        "said to be a fax": {"t259": (3, [4])},
        "said to be JPEG 2000": {"t259": (3, [34712])},
        "whose strip is behind the end": {"t273": (4, [2**31])},
        "without strips": {"t273": None},
        "whose strip has 0 bytes": {"t279": (4, [0])},
        "of half a strip": {"t279": (4, [100]), "t273": (4, [place + 200])},
        "with rows per strip of 0": {"t278": (3, [0])},
        "with tiles of 0": {"t322": (3, [0]), "t323": (3, [0]), "t324": (4, [8]), "t325": (4, [10]), "t273": None},
        "with tiles of 2**30": {"t322": (4, [2**30]), "t323": (4, [2**30]), "t324": (4, [8]), "t325": (4, [10])},
        "with tiles but no places": {"t322": (3, [16]), "t323": (3, [16]), "t273": None, "t279": None},
        "of colour 999": {"t262": (3, [999])},
        "of complex numbers": {"t339": (3, [6] * 3)},
        "of planes 7": {"t284": (3, [7])},
        "with predictor 77": {"t259": (3, [8]), "t317": (3, [77])},
        "whose width is words": {"t256": (2, b"wide\0\0")},
        "of a million strips": {"t273": (4, [8] * 1_000_000), "t278": (3, [1])},
    }.items():
        expected: Expected = "either" if name in FORGIVABLE else "message"
        data = partial(tiff, strip(made, **changed), raw)
        yield filed(f"tiff {name}", "odd.tif", data, expected, lambda: [Picture(made)], NAMED)
    palette = noise(H, W, 1)
    lost = partial(tiff, strip(palette, t262=(3, [3])), palette.tobytes())
    yield filed("tiff palette without colours", "odd.tif", lost, "message", words=NAMED)
    for name, loop in {"in a loop": {"loop": True}, "that goes on nowhere": {"following": 2**31}}.items():
        data = partial(tiff, strip(made), raw, **loop)
        yield filed(f"tiff {name}", "odd.tif", data, "either", lambda: [Picture(made)], NAMED)
    inner = partial(tiff, strip(made, t330=(4, [place]), t34665=(4, [place])), raw)
    yield filed("tiff that holds itself", "odd.tif", inner, "either", lambda: [Picture(made)], NAMED)
    assert decoded(plain).pixels.tolist() == made.tolist()


CASES = [*layouts(), *kinds(), *numbers(), *senseless()]
