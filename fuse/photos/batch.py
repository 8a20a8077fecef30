"""What the words of the command `fuse` mean: which pictures are fused into which files, and how."""

import os
from collections.abc import Sequence
from pathlib import Path

from fuse import infer
from fuse.align.solve import KINDS
from fuse.data import io
from fuse.errors import InputError
from fuse.photos import memory, photo
from fuse.photos.job import Target

Job = tuple[list[Path], Target]


def jobs(inputs: Sequence[Path], target: Target) -> list[Job]:
    """What to fuse into what. Nothing is read but folders.

    Raises:
        InputError: missing, too few or mixed inputs, or places to write to that are inputs, the same, or cannot be.
    """
    if missing := [str(path) for path in inputs if not os.path.exists(path)]:  # of any length: Path.exists may raise
        raise InputError(f"{', '.join(missing)} cannot be found")
    folders = [os.path.isdir(path) for path in inputs]
    if any(folders) and not all(folders):
        raise InputError("pictures and folders cannot be mixed; give pictures, one folder, or several folders")
    if all(folders) and len(inputs) > 1:
        return matched(inputs, target)
    sources = list(io.pictures(inputs[0]).values()) if folders[0] else list(inputs)
    if len(sources) < 2:
        raise InputError(f"{inputs[0]}: fusion needs two or more pictures, {len(sources)} given")
    if photo.canonical(target.picture.suffix) not in photo.DEPTHS:
        raise InputError(
            f"'{target.picture}' names no picture format; end it with one of {', '.join(photo.FORMATS)}, "
            "or give several folders to write a folder"
        )
    endings = {target.map: photo.FORMATS, target.report: (".html", ".htm"), target.transforms: (".json",)}
    for path, allowed in endings.items():
        if path is not None and path.suffix.lower() not in allowed:
            raise InputError(f"{path} must end with one of {', '.join(allowed)}")
    writable(target, sources)
    return [(sources, target)]


def matched(inputs: Sequence[Path], target: Target) -> list[Job]:
    """One job per stem that every folder has; all that is written goes to folders, too.

    Raises:
        InputError: no such stem, or an output folder that is one of the inputs or a file.
    """
    asked = [path for path in target[:4] if path is not None]
    for path in asked:
        if any(os.path.exists(path) and path.samefile(folder) for folder in inputs):
            raise InputError(f"{path} is one of the folders to fuse and its pictures would be lost; choose another")
        if os.path.exists(path) and not path.is_dir():
            raise InputError(f"{path} is a file; of several folders a folder is made, name one")
    found = [io.pictures(folder) for folder in inputs]
    stems = sorted(set.intersection(*(set(pictures) for pictures in found)))
    if not stems:
        some = ", ".join(f"{folder}: {', '.join(list(p)[:3])}" for folder, p in zip(inputs, found, strict=True))
        raise InputError(f"no file name (without ending) is in all folders. {some}")
    return [([pictures[stem] for pictures in found], inside(target, stem)) for stem in stems]


def alone(inputs: Sequence[Path]) -> list[str]:
    """Which pictures of several folders have no partner in all others, a line per folder."""
    if len(inputs) < 2 or not all(os.path.isdir(path) for path in inputs):
        return []
    found = [io.pictures(folder) for folder in inputs]
    common = set.intersection(*(set(pictures) for pictures in found))
    lines = []
    for folder, pictures in zip(inputs, found, strict=True):
        if left := sorted(set(pictures) - common):
            lines.append(f"{folder}: {len(left)} without a partner: {', '.join(left[:5])}")
    return lines


def inside(target: Target, stem: str) -> Target:
    """The files of one job in the folders of all. The picture's ending is settled once its depth is known."""

    def below(folder: Path | None, ending: str) -> Path | None:
        return None if folder is None else folder / f"{stem}{ending}"

    extras = (below(target.map, ".png"), below(target.report, ".html"), below(target.transforms, ".json"))
    return Target(target.picture / f"{stem}.png", *extras, free=True)


def writable(target: Target, sources: Sequence[Path]) -> None:
    """
    Raises:
        InputError: a place to write to is a source, a folder, below a file, or named twice.
    """
    places = [path for path in target[:4] if path is not None]
    for number, path in enumerate(places):
        if any(os.path.exists(path) and path.samefile(source) for source in sources):
            raise InputError(f"{path} is one of the pictures to fuse and would be lost; choose another name")
        if os.path.isdir(path):
            raise InputError(f"{path} is a folder; name a file")
        if any(path.absolute() == other.absolute() for other in places[:number]):
            raise InputError(f"{path} is named for two results; choose another name for one")
        if (parent := next((up for up in path.parents if os.path.exists(up)), None)) and not parent.is_dir():
            raise InputError(f"{path} cannot be written: {parent} is not a folder")


def alignment(word: str) -> str:
    """How to align: auto, off, a kind, or a file of transforms.

    Raises:
        InputError: none of these.
    """
    if word in KINDS or os.path.isfile(word):
        return word
    raise InputError(f"--align {word}: choose {', '.join(KINDS)}, or a file that --save-alignment wrote")


def colour(word: str) -> infer.Policy:
    """Where colours come from; pictures are numbered from 1 here.

    Raises:
        InputError: nothing that is known.
    """
    named: dict[str, infer.Policy] = {"mix": "mix", "grey": "grey", "first": "first"}
    if word in named:
        return named[word]
    if word.isdecimal() and int(word) > 0:
        return int(word) - 1
    raise InputError(f"--color {word}: choose mix, grey, first, or the number of a picture, from 1")


def limit(word: str) -> int:
    """Bytes of memory.

    Raises:
        InputError: no amount of memory.
    """
    try:
        return memory.parse(word)
    except InputError as problem:
        raise InputError(f"--max-mem {word}: {problem}") from problem
