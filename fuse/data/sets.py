"""Data sets as folders: `<root>/<name>/<role>/<stem>.<ext>`, looked up by stem."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from fuse.data import io
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
    other split names. The split `all` always exists. `get` says how a person comes by the files.
    """

    def __init__(
        self,
        name: str,
        task: str,
        roles: Sequence[str],
        splits: Mapping[str, Sequence[str | int] | str],
        get: str,
        reference: str | None = None,
        root: str | None = None,
    ) -> None:
        self.name, self.task, self.roles, self.reference = name, task, tuple(roles), reference
        self.splits, self.get = splits, get
        self.folder = data_root(root) / name
        self._paths: dict[str, dict[str, Path]] = {}
        self._complete: list[str] = []

    def stems(self, split: str) -> list[str]:
        """Stems of a split that are on disk with all of their roles, in the order of their names.

        Raises:
            InputError: unknown split, missing set, or a split of which nothing is here.
        """
        known = ["all", *self.splits]
        if split not in known:
            raise InputError(f"data set {self.name} has no split '{split}'; it has {', '.join(known)}")
        present = self._present()
        if split == "all":
            return present
        wanted = self.splits[split]
        if wanted == REST:
            others = [str(pattern) for other in self.splits.values() if other != REST for pattern in other]
            stems = [stem for stem in present if not any(fnmatch(stem, pattern) for pattern in others)]
        else:
            stems = [stem for stem in present if any(fnmatch(stem, str(pattern)) for pattern in wanted)]
        if not stems:
            raise InputError(f"split '{split}' of {self.name}: none of its pictures is in {self.folder}. {self.get}")
        return stems

    def samples(self, split: str) -> Iterator[Sample]:
        """Whole pictures as stored, each source `(1, c, h, w)`.

        Raises:
            InputError: as `stems`, or an unreadable picture.
        """
        for stem in self.stems(split):
            pictures = {role: io.read(paths[stem])[None] for role, paths in self._paths.items()}
            yield Sample(
                tuple(pictures[role] for role in self.roles),
                pictures[self.reference] if self.reference else None,
                (stem,),
                self.roles,
            )

    def identity(self, split: str) -> str:
        """Twelve hex digits over the names and bytes of a split: results with the same identity saw the same files."""
        digest = hashlib.sha256()
        for stem in self.stems(split):
            for role, paths in self._paths.items():
                digest.update(f"{role}/{stem}".encode() + hashlib.sha256(paths[stem].read_bytes()).digest())
        return digest.hexdigest()[:12]

    def _present(self) -> list[str]:
        if not self._paths:
            if not self.folder.is_dir():
                raise InputError(
                    f"data set {self.name} is not in {self.folder}: set data.root=PATH or the environment variable "
                    f"FUSE_DATA to the folder that holds {self.name}/{self.roles[0]}/. {self.get}"
                )
            roles = [*self.roles, *([self.reference] if self.reference else [])]
            self._paths = {role: io.pictures(self.folder / role) for role in roles}
            every: list[set[str]] = [set(paths) for paths in self._paths.values()]
            self._complete = sorted(every[0].intersection(*every))
            alone = sorted(every[0].union(*every) - set(self._complete))
            if alone:
                some = ", ".join(alone[:5])
                log.warning("%s: %d stems lack a role and are left out: %s", self.name, len(alone), some)
        return self._complete
