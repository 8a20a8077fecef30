"""TensorFlow 1 checkpoints: written here byte by byte as the format says, and the released ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse import tensorflow
from fuse.errors import InputError


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol-buffer message: a number or a length-delimited string."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Entries that name how many bytes of their key they share with the key before; one restart point; trailer."""
    out, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), min(len(key), len(before))
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def record(dtype: int, shape: tuple[int, ...], offset: int, size: int) -> bytes:
    dims = b"".join(field(2, field(1, length)) for length in shape)
    crc = varint(6 << 3 | 5) + b"\x12\x34\x56\x78"  # a field of fixed width, which is skipped
    return field(1, dtype) + field(2, dims) + (field(4, offset) if offset else b"") + field(5, size) + crc


def written(prefix: Path, tensors: dict[str, np.ndarray], per_block: int = 2) -> None:
    """A checkpoint of float32 tensors, and one of whole numbers, which is left out on reading."""
    data, entries = b"", [(b"", field(1, 1))]  # the header has an empty key
    for name in sorted(tensors):
        raw = tensors[name].astype("<f4").tobytes()
        entries.append((name.encode(), record(1, tensors[name].shape, len(data), len(raw))))
        data += raw
    entries.append((b"zz/global_step", record(9, (), len(data), 8)))
    table, index = b"", []
    for start in range(0, len(entries), per_block):
        part = block(entries[start : start + per_block])
        index.append((entries[min(start + per_block, len(entries)) - 1][0], varint(len(table)) + varint(len(part))))
        table += part + bytes(5)  # kind of compression and checksum
    places = []
    for part in (block([]), block(index)):
        places.append(varint(len(table)) + varint(len(part)))
        table += part + bytes(5)
    footer = b"".join(places)
    table += footer + bytes(40 - len(footer)) + bytes.fromhex("57fb808b247547db")
    Path(f"{prefix}.index").write_bytes(table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data + bytes(8))


TENSORS = {
    "a/bias": np.arange(3, dtype=np.float32),
    "a/weights": np.linspace(-1, 1, 200 * 3, dtype=np.float32).reshape(2, 100, 3),
    "ab": np.float32(2.5).reshape(()),
    "b/weights": np.ones((1, 1, 2, 4), np.float32),
}


@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_tensors_come_back_by_name(tmp_path: Path, per_block: int) -> None:
    written(tmp_path / "model-1", TENSORS, per_block)
    read = tensorflow.read(tmp_path / "model-1")
    assert list(read) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].shape == tensor.shape
        assert np.array_equal(read[name], tensor)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model-1\.index cannot be opened: No such file"):
        tensorflow.read(tmp_path / "model-1")
    written(tmp_path / "model-1", TENSORS)
    (tmp_path / "model-1.data-00000-of-00001").unlink()
    with pytest.raises(InputError, match=r"model-1\.data-00000-of-00001 cannot be opened"):
        tensorflow.read(tmp_path / "model-1")


def test_other_files_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "model-1", TENSORS)
    for content in (b"", b"text", bytes(100)):
        (tmp_path / "model-1.index").write_bytes(content)
        with pytest.raises(InputError, match="is no TensorFlow checkpoint index"):
            tensorflow.read(tmp_path / "model-1")


def test_a_data_file_cut_off_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "model-1", TENSORS)
    data = tmp_path / "model-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match="model-1 is damaged"):
        tensorflow.read(tmp_path / "model-1")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("spoilt") / "model-1"
    written(prefix, TENSORS)
    return prefix


@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_indexes_are_read_or_refused_but_never_crash(spoilt: Path, changes: list[tuple[float, int]]) -> None:
    index = Path(f"{spoilt}.index")
    whole = index.read_bytes()
    broken = bytearray(whole)
    for place, value in changes:
        broken[int(place * (len(broken) - 8))] = value
    index.write_bytes(bytes(broken))
    try:
        tensorflow.read(spoilt)
    except InputError:
        pass
    finally:
        index.write_bytes(whole)


@pytest.mark.parametrize("name", ["Lytro", "MFI-WHU"])
def test_the_released_checkpoints_hold_what_is_known_of_them(shared: Path, name: str) -> None:
    stored = tensorflow.read(shared / "weights" / "mffgan" / name / "CGAN.model-19")
    counts = {
        part: sum(x.size for key, x in stored.items() if key.startswith(part) and ("moving" in key) == moving)
        for part, moving in (("fusion_model", False), ("discriminator", False))
    }
    assert counts == {"fusion_model": 40_033, "discriminator": 389_761}
    assert sum(x.size for key, x in stored.items() if "moving" in key) == 896
    assert stored["fusion_model/layer1/w1"].shape == (5, 5, 1, 16)
    assert all(np.isfinite(x).all() for x in stored.values())


@pytest.mark.parametrize("name", ["multi-focus", "ir_vi", "medical", "multi-exposure"])
def test_the_checkpoints_of_another_method_can_be_read_too(shared: Path, name: str) -> None:
    prefix = next((shared / "weights" / "pmgi" / name).glob("*.index")).with_suffix("")
    stored = tensorflow.read(prefix)
    assert sum(x.size for x in stored.values()) >= 42_401
