"""Networks whose weights come with the package: a checkpoint folder each below `fuse/weights/`, with its model card.

`<name>/` holds `fuser.safetensors`, `config.json`, `card.md` (data, command, scores, limits), and `sha256`, the digests
that the first two must have. `scripts/ship` makes such a folder from a run.
"""

import hashlib
from pathlib import Path

from fuse.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"
CHECKED = ("fuser.safetensors", "config.json")


def names() -> list[str]:
    """What there is."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/sha256"))


def folder(name: str) -> Path:
    """The checkpoint folder of a shipped network, its files as they were shipped.

    Raises:
        InputError: they are not, or are missing.
    """
    place = WEIGHTS / name
    for line in (place / "sha256").read_text().splitlines():
        digest, file = line.split()
        try:
            found = hashlib.sha256((place / file).read_bytes()).hexdigest()
        except OSError as problem:
            raise InputError(
                f"{place / file} cannot be read: {problem.strerror}; install the package anew"
            ) from problem
        if found != digest:
            raise InputError(f"{place / file} is not what was shipped (SHA-256 differs); install the package anew")
    return place


def about(name: str) -> str:
    """The first sentence of the card, below its title."""
    lines = (WEIGHTS / name / "card.md").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line and not line.startswith("#")), "")


def seal(place: Path) -> None:
    """Write down the digests of a folder's files."""
    lines = [f"{hashlib.sha256((place / file).read_bytes()).hexdigest()}  {file}" for file in CHECKED]
    (place / "sha256").write_text("\n".join(lines) + "\n")
