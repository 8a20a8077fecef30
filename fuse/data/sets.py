"""Data sets as folders: `<root>/<name>/<role>/<stem>.<ext>`, looked up by stem."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fuse.data import io, manifest
from fuse.data.sample import Sample
from fuse.errors import InputError

log = logging.getLogger(__name__)
REST = "rest"


def data_root(root: str | None) -> Path:
    """The folder that holds the data sets: the given one, else `FUSE_DATA`, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root or os.environ.get("FUSE_DATA") or Path(cache) / "fuse").expanduser()


class Folders:
    """A data set on disk.

    `roles` are the folders of the sources in order, `reference` the folder of the ideal results or None.
    `splits` maps a split to stems or patterns (`200??`); the word `rest` instead of a list means every stem that no
    other split names. The split `all` always exists. `get` says how a person comes by the files, `cite` whom to
    name, `terms` under which conditions they are to be had, `colour` which roles are in colour (`all`, `none`, or
    names), `registered` whether the sources of a scene show the same thing at the same pixel. `paths` says where the
    files are, by role and stem, if they are not in `<root>/<name>/<role>/`.
    """

    def __init__(
        self,
        name: str,
        task: str,
        roles: Sequence[str],
        splits: Mapping[str, Sequence[str | int] | str],
        get: str,
        cite: str = "",
        terms: str = "",
        colour: str = "all",
        registered: bool = True,
        reference: str | None = None,
        root: str | None = None,
        paths: Mapping[str, Mapping[str, Path]] | None = None,
    ) -> None:
        self.name, self.task, self.roles, self.reference = name, task, tuple(roles), reference
        self.splits, self.get, self.cite, self.terms = splits, get, cite, terms
        self.colour, self.registered = colour, registered
        self.folder = data_root(root) / name
        self._given, self._paths = paths, dict[str, dict[str, Path]]()
        self._complete: list[str] = []

    def stems(self, split: str) -> list[str]:
        """Stems of a split that are on disk with all of their roles, in the order of their names.

        Raises:
            InputError: unknown split, missing set, or a split of which nothing is here.
        """
        known = ["all", *self.splits]
        if split not in known:
            raise InputError(f"data set {self.name} has no split '{split}'; it has {', '.join(known)}")
        stems = self.members(split, self._present())
        if not stems and split != "all":
            nothing = f"split '{split}' of {self.name}: none of its pictures is in {self.folder}."
            raise InputError(f"{nothing} {self._command()} {self.get}")
        return stems

    def members(self, split: str, stems: Sequence[str]) -> list[str]:
        """Those of the given stems that belong to a known split, in their order."""
        if split == "all":
            return list(stems)
        wanted = self.splits[split]
        if wanted == REST:
            others = [str(pattern) for other in self.splits.values() if other != REST for pattern in other]
            return [stem for stem in stems if not any(fnmatchcase(stem, pattern) for pattern in others)]
        return [stem for stem in stems if any(fnmatchcase(stem, str(pattern)) for pattern in wanted)]

    def samples(self, split: str) -> Iterator[Sample]:
        """Whole pictures as stored, each source `(1, c, h, w)`.

        Raises:
            InputError: as `stems`, or an unreadable picture.
        """
        stems = self.stems(split)
        if not self.registered:
            log.warning("%s: the sources of a scene are not registered; align them before you fuse", self.name)
        yield from map(self.sample, stems)

    def sample(self, stem: str) -> Sample:
        """The pictures of one stem of a split that was asked for before.

        Raises:
            InputError: an unreadable picture.
        """
        pictures = {role: io.read(paths[stem])[None] for role, paths in self._paths.items()}
        reference = pictures[self.reference] if self.reference else None
        return Sample(tuple(pictures[role] for role in self.roles), reference, (stem,), self.roles)

    def identity(self, split: str) -> str:
        """Twelve hex digits over the names and bytes of a split: results with the same identity saw the same files."""
        digest = hashlib.sha256()
        for (role, stem), found in self.digests(split).items():
            digest.update(f"{role}/{stem}".encode() + bytes.fromhex(found))
        return digest.hexdigest()[:12]

    def manifest(self, split: str) -> str | None:
        """The identity of the set's manifest, and how many files of the split are not as it says; None without one."""
        if not manifest.exists(self.name):
            return None
        entries = manifest.load(self.name)
        known = {(entry.role, entry.stem): entry.sha256 for entry in entries}
        digests = self.digests(split)
        odd = sum(known.get(key) != found for key, found in digests.items())
        return manifest.identity(entries) + (f", but {odd} of {len(digests)} files are others" if odd else "")

    def digests(self, split: str) -> dict[tuple[str, str], str]:
        """SHA-256 of every file of a split, by role and stem."""
        return {
            (role, stem): hashlib.sha256(io.file(paths[stem]).read_bytes()).hexdigest()
            for stem in self.stems(split)
            for role, paths in self._paths.items()
        }

    def _command(self) -> str:
        if manifest.exists(self.name):
            return f"Get it with: fuse-data fetch {self.name}."
        return f"Bring it with: fuse-data import {self.name} FOLDER_OR_ZIP."

    def _present(self) -> list[str]:
        if not self._paths:
            roles = [*self.roles, *([self.reference] if self.reference else [])]
            if self._given is not None:
                self._paths = {role: dict(self._given[role]) for role in roles}
            elif not self.folder.is_dir():
                raise InputError(
                    f"data set {self.name} is not in {self.folder}. {self._command()} If it is elsewhere, set "
                    f"data.root=PATH or the environment variable FUSE_DATA to the folder that holds "
                    f"{self.name}/{self.roles[0]}/. {self.get}"
                )
            elif away := [role for role in roles if not (self.folder / role).is_dir()]:
                raise InputError(
                    f"{self.folder / away[0]} is not a folder of pictures: {self.name} is incomplete. {self._command()}"
                )
            else:
                self._paths = {role: io.pictures(self.folder / role) for role in roles}
            every: list[set[str]] = [set(paths) for paths in self._paths.values()]
            self._complete = sorted(every[0].intersection(*every))
            alone = sorted(every[0].union(*every) - set(self._complete))
            if alone:
                some = ", ".join(alone[:5])
                log.warning("%s: %d stems lack a role and are left out: %s", self.name, len(alone), some)
        return self._complete
