"""Holds the files of a data set against its manifest, and its splits against one another."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fuse.data import alike, io, manifest
from fuse.data.bring import roles, standing
from fuse.data.manifest import Entry
from fuse.data.sets import Folders
from fuse.errors import InputError

MODES = {1: {"uint8": "L", "uint16": "I;16"}, 3: {"uint8": "RGB", "uint16": "RGB 16 bit"}}
PARTS = ("train", "val", "test")  # what training, choosing and judging see


class Report(NamedTuple):
    """What was found in the folder of a set.

    `right`: files with the manifest's SHA-256, of `files` that it lists (without a manifest: readable files, of all).
    `splits`: per split the complete scenes on disk and in the manifest. `missing`: scenes of which nothing is here.
    `faults`: files that are not as they should be, and why. `equal`: groups of files with the same bytes. `across`: two
    scenes that look the same although one is in another part than the other, with their parts and likeness.
    """

    name: str
    folder: str
    manifest: str | None
    right: int
    files: int
    splits: Mapping[str, tuple[int, int]]
    missing: list[str]
    faults: list[str]
    equal: list[list[str]]
    across: list[str]

    @property
    def whole(self) -> bool:
        """Everything is here, and as it should be."""
        return not self.missing and not self.faults


def verify(data: Folders) -> Report:
    """Check counts, bytes, sizes, modes, equal files, and scenes that two parts share.

    Raises:
        InputError: nothing of the set is here.
    """
    if not data.folder.is_dir():
        data.stems("all")
    found = {role: io.pictures(data.folder / role) for role in roles(data) if (data.folder / role).is_dir()}
    entries = manifest.load(data.name) if manifest.exists(data.name) else ()
    known = {(entry.role, entry.stem): entry for entry in entries}
    owners = {entry.sha256: entry for entry in entries}
    right, faults, digests = 0, list[str](), dict[str, str]()
    thumbnails: dict[tuple[str, str], Tensor] = {}
    sizes: dict[str, set[tuple[int, int]]] = {}
    for role, paths in found.items():
        for stem, path in paths.items():
            name, entry = f"{role}/{path.name}", known.get((role, stem))
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            try:
                picture = io.read(path)
            except InputError as problem:
                faults.append(f"{name}: {problem}")
                continue
            if role in data.roles:
                thumbnails[role, stem] = alike.thumbnail(picture)
            sizes.setdefault(stem, set()).add((picture.shape[-1], picture.shape[-2]))
            why = differs(path, digests[name], picture, entry, owners) if entries else None
            right += why is None
            faults += [f"{name}: {why}"] if why else []
    every = sorted({stem for paths in found.values() for stem in paths})
    for stem in every:
        absent = [role for role in roles(data) if stem not in found.get(role, {})]
        faults += [f"{stem}: lacks {', '.join(absent)}"] if absent else []
        if not entries and data.registered and len(sizes.get(stem, ())) > 1:
            faults.append(f"{stem}: its sources are of sizes {sorted(sizes[stem])}")
    complete = [stem for stem in every if all((role, stem) in thumbnails for role in data.roles)]
    return Report(
        data.name,
        str(data.folder),
        manifest.identity(entries) if entries else None,
        right,
        len(entries) or len(digests),
        standing(data) if set(found) == set(roles(data)) else {},
        [stem for stem in manifest.stems(entries) if stem not in every],
        faults,
        alike.equal_files(digests),
        across(data, complete, {stem: [thumbnails[role, stem] for role in data.roles] for stem in complete}),
    )


def differs(path: Path, digest: str, picture: Tensor, entry: Entry | None, owners: Mapping[str, Entry]) -> str | None:
    """In what a file is not the one of the manifest; None if it is."""
    if entry is None:
        other = f"; it has the bytes of {owners[digest].place}" if digest in owners else ""
        return f"not in the manifest{other}"
    if digest == entry.sha256:
        return None
    if digest in owners:
        return f"has the bytes of {owners[digest].place}"
    size = picture.shape[-1], picture.shape[-2]
    if size != (entry.width, entry.height):
        return f"is {size[0]}x{size[1]}, not {entry.width}x{entry.height}"
    mode = MODES[picture.shape[0]][str(picture.dtype).removeprefix("torch.")]
    if mode != entry.mode:
        return f"is stored as {mode}, not {entry.mode}"
    return f"has other bytes ({path.stat().st_size}, not {entry.bytes}), in the right size: changed or saved anew"


def across(data: Folders, stems: list[str], thumbnails: Mapping[str, list[Tensor]]) -> list[str]:
    """Scenes of different parts that look the same."""
    part = {stem: name for name in PARTS if name in data.splits for stem in data.members(name, stems)}
    known = [stem for stem in stems if stem in part]
    pairs = alike.same_scenes(known, [thumbnails[stem] for stem in known])
    return [
        f"{first} ({part[first]}) and {second} ({part[second]}): {value}"
        for first, second, value in pairs
        if part[first] != part[second]
    ]
