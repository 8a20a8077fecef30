"""What the files of a checkpoint folder were when they were written: `sha256`, as `sha256sum -c` reads it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

NAME = "sha256"


def seal(folder: Path) -> None:
    """Write down the digest of every file of a folder."""
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.name != NAME]
    (folder / NAME).write_text("".join(lines))


def damage(folder: Path, needed: Iterable[str]) -> str | None:
    """What is wrong with a sealed folder: a file that is not what was written, or is missing; None if it is whole.

    `needed` are files that must have been sealed, so that a list cut short is noticed. Files added later are no damage.
    """
    try:
        lines = [line.split("  ") for line in (folder / NAME).read_text().splitlines()]
        sealed = {name: found for found, name in lines}
    except (OSError, ValueError):
        return f"{NAME} is missing or damaged"
    if unsealed := sorted(set(needed) - set(sealed)):
        return f"{NAME} does not name {unsealed[0]}"
    for name, wanted in sealed.items():
        try:
            found = digest(folder / name)
        except OSError as problem:
            return f"{name} cannot be read: {problem.strerror}"
        if found != wanted:
            return f"{name} is not what was written (SHA-256 differs)"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
