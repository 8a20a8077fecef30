"""Manifests: every file of a data set with its place upstream, its SHA-256 and its size. `conf/manifest/<set>.csv`."""

import csv
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fuse.config import CONF
from fuse.errors import InputError


class Entry(NamedTuple):
    """One file: `repo`, `commit` and `path` say where it lies, `mode` is Pillow's word for how it is stored."""

    role: str
    stem: str
    repo: str
    commit: str
    path: str
    bytes: int
    sha256: str
    width: int
    height: int
    mode: str

    @property
    def place(self) -> str:
        """Where it belongs, below the folder of its set: `<role>/<stem>.<ext>`, the ending in small letters."""
        return f"{self.role}/{self.stem}{Path(self.path).suffix.lower()}"

    def url(self, base: str) -> str:
        """Its address below the server `base`, percent-encoded."""
        return f"{base.rstrip('/')}/{self.repo}/{self.commit}/{quote(self.path)}"


def exists(name: str) -> bool:
    """Whether the set can be fetched and checked; some may only be brought."""
    return Path(CONF, "manifest", f"{name}.csv").is_file()


def load(name: str) -> tuple[Entry, ...]:
    """All files of a set.

    Raises:
        InputError: the set has no manifest.
    """
    if not exists(name):
        raise InputError(f"data set {name} has no manifest, so its files cannot be fetched or checked")
    return read(Path(CONF, "manifest", f"{name}.csv"))


@lru_cache(maxsize=64)
def read(path: Path) -> tuple[Entry, ...]:
    """The rows of a manifest file."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Entry(
                row["role"],
                row["stem"],
                row["repo"],
                row["commit"],
                row["path"],
                int(row["bytes"]),
                row["sha256"],
                int(row["width"]),
                int(row["height"]),
                row["mode"],
            )
            for row in csv.DictReader(file)
        )


def identity(entries: tuple[Entry, ...]) -> str:
    """Twelve hex digits over role, stem and SHA-256 of every file, in whatever order they are listed."""
    lines = sorted(f"{entry.role}/{entry.stem} {entry.sha256}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def stems(entries: tuple[Entry, ...]) -> list[str]:
    """Scenes of a manifest, in the order of their names."""
    return sorted({entry.stem for entry in entries})
