"""Small sets with a manifest of their own, for the tests of what fetches, brings and verifies."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fuse.data import io, manifest
from fuse.data.manifest import Entry
from fuse.data.sets import Folders

WIDTH, HEIGHT = 24, 20


def content(seed: int, channels: int = 3) -> bytes:
    """A made picture as PNG."""
    generator = torch.Generator().manual_seed(seed)
    return io.encode(torch.randint(256, (channels, HEIGHT, WIDTH), generator=generator).to(torch.uint8), ".png")


def pair_set(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    stems: Sequence[str] = ("01", "02", "03"),
    roles: Sequence[str] = ("ir", "vi"),
    splits: dict[str, list[str] | str] | None = None,
) -> tuple[Folders, dict[str, bytes], tuple[Entry, ...]]:
    """A set `toy` below `root` with nothing on disk, the bytes of each of its files by place, and its manifest."""
    files, entries = {}, []
    for number, stem in enumerate(stems):
        for role in roles:
            data = content(10 * number + len(entries))
            path = f"a b/{role}_{stem}.png"
            digest = hashlib.sha256(data).hexdigest()
            entries.append(Entry(role, stem, "who/what", "c0ffee", path, len(data), digest, WIDTH, HEIGHT, "RGB"))
            files[entries[-1].place] = data
    known = tuple(entries)
    monkeypatch.setattr(manifest, "exists", lambda name: name == "toy")
    monkeypatch.setattr(manifest, "load", lambda name: known)
    usual = {"test": [stems[0]], "val": [stems[1]], "train": "rest"}
    return Folders("toy", "infrared", roles, splits or usual, "Ask.", root=str(root)), files, known


def put(data: Folders, files: dict[str, bytes]) -> None:
    """Write files of a set to their places."""
    for place, found in files.items():
        io.write_bytes(data.folder / place, found)
