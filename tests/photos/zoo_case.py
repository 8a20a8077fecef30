"""What a case of the zoo is, and encoders that write what well-behaved libraries refuse to write."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

PNG_MARK = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of one pixel, by PNG's kinds of colour
TIFF_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 11: "f", 12: "d", 16: "Q"}

Expected = Literal["picture", "message", "either"]


class Picture(NamedTuple):
    """A right result: `(h, w, c)` as a viewer shows it, uint8, uint16 or float32, and its alpha `(h, w)`."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    tolerance: float = 0.0


class Case(NamedTuple):
    """One odd thing: `make(folder)` writes it and returns what to hand to the command.

    `expected`: "picture": one of `want` comes out; "message": exit code 2 and a message that matches `words`;
    "either": both are fine. `flags` follow on the command line.
    """

    name: str
    make: Callable[[Path], list[Path]]
    expected: Expected
    want: Callable[[], Sequence[Picture]] = tuple
    words: str = ""
    flags: tuple[str, ...] = ("--method", "average")


def filed(
    name: str,
    file_name: str,
    data: Callable[[], bytes],
    expected: Expected,
    want: Callable[[], Sequence[Picture]] = tuple,
    words: str = "",
    flags: tuple[str, ...] = ("--method", "average"),
) -> Case:
    """A case that is the content of one file."""

    def make(folder: Path) -> list[Path]:
        path = folder / file_name
        path.write_bytes(data())
        return [path]

    return Case(name, make, expected, want, words, flags)


def noise(height: int, width: int, channels: int, dtype: type = np.uint8, top: int | None = None) -> np.ndarray:
    """Seeded samples `(h, w, c)` over the whole range of the type, or below `top`."""
    made = np.random.default_rng([height, width, channels])
    if np.dtype(dtype).kind == "f":
        return made.random((height, width, channels)).astype(dtype)
    return made.integers(0, top or int(np.iinfo(dtype).max) + 1, (height, width, channels)).astype(dtype)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """Ramps `(h, w, c)` uint8 with a little noise, which lossy formats keep nearly."""
    y, x = np.mgrid[:height, :width]
    ramps = [230 * x / width + 10, 200 * y / height + 30, 120 + 90 * (x - y) / (width + height), 255 - 150 * y / height]
    made = np.stack(ramps[:channels], 2) + np.random.default_rng(channels).normal(0, 2, (height, width, channels))
    return made.round().clip(0, 255).astype(np.uint8)


def rows(samples: np.ndarray, bits: int) -> list[bytes]:
    """Rows `(h, w, n)` packed at 1, 2, 4, 8 or 16 bits, the first sample in the highest bits, 16 bits big-endian."""
    flat = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in flat]
    spread = np.unpackbits(flat.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
    return [np.packbits(row.reshape(-1)).tobytes() for row in spread]


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ihdr(width: int, height: int, bits: int = 8, kind: int = 2, method: int = 0, interlaced: int = 0) -> bytes:
    """The first chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, method, interlaced))


def png(
    samples: np.ndarray,
    bits: int,
    kind: int,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    interlaced: bool = False,
    pieces: int = 1,
) -> bytes:
    """A PNG file of samples `(h, w, n)`; chunks before and after the data, which comes in `pieces` chunks."""
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    raw = b"".join(b"\0" + row for part in passes if part.size for row in rows(part, bits))
    data = zlib.compress(raw)
    step = -(-len(data) // pieces)
    height, width = samples.shape[:2]
    return b"".join([
        PNG_MARK + ihdr(width, height, bits, kind, interlaced=int(interlaced)),
        *before,
        *(chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)),
        *after,
        chunk(b"IEND"),
    ])  # fmt: skip


def read_png(data: bytes) -> Picture:
    """Pixels and alpha of a PNG of 8 or 16 bits that is not interlaced, read without any library of pictures."""
    assert data.startswith(PNG_MARK)
    at, body, palette = len(PNG_MARK), b"", np.zeros((0, 3), np.uint8)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack_from(">I", data, at + 8 + length)[0]
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content)
        elif kind == b"PLTE":
            palette = np.frombuffer(content, np.uint8).reshape(-1, 3)
        elif kind == b"IDAT":
            body += content
        at += 12 + length
    assert bits in (8, 16)
    assert not interlaced
    step = SAMPLES[colour] * bits // 8
    raw, line = zlib.decompress(body), width * step + 1
    assert len(raw) == line * height
    done = np.zeros((height + 1, width * step + step), np.int64)  # a row and a pixel of zeros stand before the first
    for y in range(height):
        kind_of_filter = raw[y * line]
        row, above = done[y + 1], done[y]
        for x, byte in enumerate(raw[y * line + 1 : (y + 1) * line], step):
            left, up, corner = int(row[x - step]), int(above[x]), int(above[x - step])
            near = min((left, up, corner), key=lambda value, guess=left + up - corner: abs(guess - value))
            row[x] = (byte + (0, left, up, (left + up) // 2, near)[kind_of_filter]) % 256
    stored = done[1:, step:].astype(np.uint8).reshape(height, width, -1)
    if bits == 16:
        stored = stored[..., ::2].astype(np.uint16) * 256 + stored[..., 1::2]
    if colour == 3:
        return Picture(palette[stored[..., 0]])
    return Picture(stored[..., :-1], stored[..., -1]) if colour in (4, 6) else Picture(stored)


def tiff(
    tags: Iterable[tuple[int, int, Sequence[float]]],
    data: bytes = b"",
    order: str = "<",
    following: int = 0,
    loop: bool = False,
) -> bytes:
    """A TIFF file: header, `data` from byte 8, then one directory of `(tag, type, values)` in the order given.

    `following` is where the next directory is said to be; `loop` says that it is this one.
    """
    data += b"\0" * (len(data) % 2)
    place, listed = 8 + len(data), list(tags)
    extra_at, extra, entries = place + 2 + 12 * len(listed) + 4, b"", b""
    for tag, kind, values in listed:
        packed = struct.pack(f"{order}{len(values)}{TIFF_FORMATS.get(kind, 'I')}", *values)
        count = len(values) // 2 if kind == 5 else len(values)
        if len(packed) > 4:
            at = extra_at + len(extra)
            extra += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}I", at)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed.ljust(4, b"\0")
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    directory = struct.pack(f"{order}H", len(listed)) + entries + struct.pack(f"{order}I", place if loop else following)
    return mark + struct.pack(f"{order}I", place) + data + directory + extra


def strip(samples: np.ndarray, **other: tuple[int, Sequence[float]] | None) -> list[tuple[int, int, Sequence[float]]]:
    """Tags of a plain picture `(h, w, c)` in one strip; `t258=(3, [4])` replaces or adds tag 258, None drops it."""
    height, width, channels = samples.shape
    bits = samples.dtype.itemsize * 8
    tags: dict[int, tuple[int, Sequence[float]]] = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [bits] * channels),
        259: (3, [1]),
        262: (3, [2 if channels >= 3 else 1]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (3, [height]),
        279: (4, [samples.nbytes]),
    }
    for name, entry in other.items():
        if entry is None:
            del tags[int(name[1:])]
        else:
            tags[int(name[1:])] = entry
    return [(tag, kind, values) for tag, (kind, values) in sorted(tags.items())]
