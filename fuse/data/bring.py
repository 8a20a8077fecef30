"""Brings a copy of a data set that a person has, in whatever layout, into `<root>/<set>/<role>/<stem>.<ext>`."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fuse.data import io, manifest, names
from fuse.data.fetch import in_the_way
from fuse.data.manifest import Entry
from fuse.data.sets import Folders
from fuse.errors import InputError

RATIO = 200  # bytes out per byte in; pictures are hardly compressed twice
TOTAL = 64 * 2**30  # bytes: the largest set has 16 GB
LARGEST = 2**30  # bytes of one picture


class Outcome(NamedTuple):
    """What came of it.

    `exact` files have the manifest's bytes, `similar` ones its name and size in pixels but other bytes, `unchecked`
    ones no manifest to be held against; `failures` say which file or place could not be used, and why.
    """

    exact: list[str]
    similar: list[str]
    unchecked: list[str]
    failures: list[str]


class Source(NamedTuple):
    """The picture files of a folder or a zip archive, by path within it, and how to read one."""

    place: Path
    files: Sequence[PurePosixPath]
    read: Callable[[PurePosixPath], bytes]


@contextmanager
def opened(place: Path) -> Iterator[Source]:
    """What is to be brought; nothing is unpacked.

    Raises:
        InputError: neither a folder nor a zip archive, or one with contents that are not safe.
    """
    if place.is_dir():
        yield Source(place, list(within(place)), lambda path: (place / path).read_bytes())
        return
    if not zipfile.is_zipfile(place):
        raise InputError(f"{place} is neither a folder nor a zip archive; unpack it, and give the folder")
    with zipfile.ZipFile(place) as archive:
        members = {PurePosixPath(m.filename.replace("\\", "/")): m for m in archive.infolist() if not m.is_dir()}
        for member in members.values():
            check(member, place)
        if sum(member.file_size for member in members.values()) > TOTAL:
            raise InputError(f"{place} unpacks to more than {TOTAL >> 30} GB; it cannot be one of these sets")

        def read(path: PurePosixPath) -> bytes:
            try:
                return archive.read(members[path])
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as problem:
                raise InputError(f"it is damaged in {place}: {problem}") from problem

        yield Source(place, sorted(p for p in members if io.is_picture(p.name) and "__MACOSX" not in p.parts), read)


def within(folder: Path) -> Iterator[PurePosixPath]:
    """The pictures below a folder, relative to it.

    Raises:
        InputError: one of them is a link, or lies behind one.
    """
    for path in sorted(folder.rglob("*")):
        if io.is_picture(path.name) and path.is_file():
            if path.resolve() != folder.resolve() / path.relative_to(folder):
                raise InputError(f"{path} is a link or lies behind one, which may lead anywhere; copy the file itself")
            yield PurePosixPath(path.relative_to(folder).as_posix())


def check(member: zipfile.ZipInfo, place: Path) -> None:
    """Refuse what an honest archive of pictures does not have.

    Raises:
        InputError: a path that leaves the folder, a link, a password, or a file that unpacks to far more than it is.
    """
    name = member.filename.replace("\\", "/")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or ":" in name.split("/")[0]:
        raise InputError(f"{place}: the path of {member.filename!r} leaves the archive; nothing was taken from it")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{place}: {member.filename!r} is a link; nothing was taken from it")
    if member.flag_bits & 1:
        raise InputError(f"{place}: {member.filename!r} is locked by a password; unpack it, and give the folder")
    if member.file_size > LARGEST or member.file_size > RATIO * max(member.compress_size, 2**12):
        raise InputError(
            f"{place}: {member.filename!r} unpacks to {member.file_size} bytes from {member.compress_size}"
        )


def bring(data: Folders, source: Source) -> Outcome:
    """Copy what belongs to a set into its folder; the source is only read, and what is there already stays.

    A file is known by its SHA-256; else by role, stem and size in pixels. Without a manifest, role and stem are told
    from folder and file names in the one way that makes most scenes complete.

    Raises:
        InputError: nothing belongs to the set.
    """
    outcome = Outcome([], [], [], [])
    if manifest.exists(data.name):
        chosen = list(by_manifest(manifest.load(data.name), source, roles(data), outcome))
    else:
        chosen = list(by_names(source, roles(data), outcome))
    if not chosen and not outcome.failures:
        raise InputError(
            f"none of the {len(source.files)} pictures in {source.place} belongs to {data.name}, neither by content "
            f"nor by name (roles {', '.join(roles(data))})"
        )
    for path, place, into in chosen:
        try:
            content = source.read(path)
        except InputError as problem:
            outcome.failures.append(f"{path}: {problem}")
            continue
        target = data.folder / place
        if other := in_the_way(target):
            outcome.failures.append(f"{path}: {other} is in its place; move it away")
        elif target.exists() and target.read_bytes() != content:
            outcome.failures.append(f"{path}: {target} is there already with other bytes; move it away")
        else:
            if not target.exists():
                io.write_bytes(target, content)
            into.append(place)
    return outcome


def roles(data: Folders) -> list[str]:
    """Roles of a set, the reference among them."""
    return [*data.roles, *([data.reference] if data.reference else [])]


Chosen = tuple[PurePosixPath, str, list[str]]  # file, its place below the set's folder, the list it is entered in


def by_manifest(entries: Sequence[Entry], source: Source, roles: Sequence[str], outcome: Outcome) -> Iterator[Chosen]:
    """The files that are, by content, in the manifest; then those that are by name and size, each place once."""
    wanted: dict[str, list[Entry]] = {}
    for entry in entries:
        wanted.setdefault(entry.sha256, []).append(entry)
    left, filled = [], set[str]()
    for path in source.files:
        try:
            matches = wanted.get(hashlib.sha256(source.read(path)).hexdigest())
        except InputError as problem:
            outcome.failures.append(f"{path}: {problem}")
            continue
        if matches is None:
            left.append(path)
            continue
        for entry in matches:
            if entry.place not in filled:
                filled.add(entry.place)
                yield path, entry.place, outcome.exact
    known = {(entry.role, entry.stem.lower()): entry for entry in entries}
    similar: dict[str, list[PurePosixPath]] = {}
    for path in left:
        meant = [known[m] for m in lowered(path, roles) if m in known and known[m].place not in filled]
        if meant and size(source, path) == (meant[0].width, meant[0].height):
            similar.setdefault(f"{meant[0].role}/{meant[0].stem}{path.suffix.lower()}", []).append(path)
    for place, paths in similar.items():
        if len(paths) > 1:
            outcome.failures.append(f"{place}: {' and '.join(map(str, paths))} both could be it; none was taken")
        else:
            yield paths[0], place, outcome.similar


def lowered(path: PurePosixPath, roles: Sequence[str]) -> list[tuple[str, str]]:
    """What a path may mean, with stems in small letters."""
    return [(role, stem.lower()) for role, stem in names.meanings(path, roles)]


def size(source: Source, path: PurePosixPath) -> tuple[int, int] | None:
    """Width and height of a picture, None if it cannot be read."""
    try:
        picture = io.decode(source.read(path), str(path))
    except InputError:
        return None
    return picture.shape[-1], picture.shape[-2]


def by_names(source: Source, roles: Sequence[str], outcome: Outcome) -> Iterator[Chosen]:
    """The files of the scenes that are complete by their names."""
    found = names.sort(source.files, roles)
    for stem in names.complete(found):
        for role in roles:
            paths = found[role][stem]
            if len(paths) > 1:
                outcome.failures.append(f"{role}/{stem}: {' and '.join(map(str, paths))} both could be it")
            else:
                yield paths[0], f"{role}/{stem}{paths[0].suffix.lower()}", outcome.unchecked


def standing(data: Folders) -> Mapping[str, tuple[int, int]]:
    """Per split how many of its scenes are complete on disk, and how many the manifest has of it (0: not known)."""
    present = data.stems("all") if data.folder.is_dir() else []
    every = manifest.stems(manifest.load(data.name)) if manifest.exists(data.name) else []
    return {
        split: (len(data.members(split, present)), len(data.members(split, every))) for split in ("all", *data.splits)
    }


def lacking(data: Folders) -> list[str]:
    """The files of the manifest's scenes that are not on disk, a scene of which nothing is here as one."""
    if not manifest.exists(data.name):
        return []
    here = {role: io.pictures(data.folder / role) for role in roles(data) if (data.folder / role).is_dir()}
    found = []
    for stem in manifest.stems(manifest.load(data.name)):
        absent = [role for role in roles(data) if stem not in here.get(role, {})]
        found += [stem] if len(absent) == len(roles(data)) else [f"{role}/{stem}" for role in absent]
    return found
