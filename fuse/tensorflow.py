"""TensorFlow 1 checkpoints without TensorFlow: `NAME.index` and `NAME.data-00000-of-00001`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuse.errors import InputError

FLOAT32 = 1  # of tensorflow.DataType
FOOTER, MAGIC = 48, bytes.fromhex("57fb808b247547db")  # of the sorted-string table


def read(prefix: Path) -> dict[str, np.ndarray]:
    """All float32 tensors of a checkpoint by name; `prefix` is the path without `.index`.

    Raises:
        InputError: files missing or not of that format.
    """
    index_path, data_path = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    try:
        index, data = index_path.read_bytes(), data_path.read_bytes()
    except OSError as problem:
        raise InputError(f"{problem.filename} cannot be opened: {problem.strerror}") from problem
    if index[-8:] != MAGIC:
        raise InputError(f"{index_path} is no TensorFlow checkpoint index")
    try:
        return dict(_tensors(index, data))
    except (LookupError, ValueError, TypeError, OverflowError) as problem:
        raise InputError(f"{prefix} is damaged: {problem}") from problem


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    footer = index[-FOOTER:]
    _, place = _varint(footer, 0)
    _, place = _varint(footer, place)  # the first handle is the meta index, which is empty
    for _, handle in _entries(index, footer[place:]):
        for key, value in _entries(index, handle):
            fields = _message(value)
            if not key or fields.get(1) != [FLOAT32]:
                continue  # the header has an empty key
            shape = [_message(dim).get(1, [0])[0] for dim in _message(fields.get(2, [b""])[0]).get(2, [])]
            offset, size = fields.get(4, [0])[0], fields[5][0]
            yield key.decode(), np.frombuffer(data[offset : offset + size], "<f4").reshape(shape)


def _entries(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at a handle; each key names how many bytes it shares with the one before."""
    start, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    block = table[start : start + size]
    if table[start + size] != 0:
        raise ValueError("its index is compressed, which TensorFlow does not do")
    end = len(block) - 4 * (int.from_bytes(block[-4:], "little") + 1)  # restart points follow the entries
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        unshared, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        place += unshared
        yield key, block[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Little-endian base-128 number at a place, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _message(data: bytes) -> dict[int, list]:
    """Fields of a protocol-buffer message by number: numbers for varints, bytes for strings and fixed widths."""
    fields: dict[int, list] = {}
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _varint(data, place)
        elif kind in (1, 2, 5):
            length, place = (8, place) if kind == 1 else (4, place) if kind == 5 else _varint(data, place)
            value, place = data[place : place + length], place + length
        else:
            raise ValueError(f"field of unknown kind {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields
