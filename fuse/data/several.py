"""Several data sets as one, for a method that is to work on all of them."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fuse.data.sample import Sample
from fuse.errors import InputError

log = logging.getLogger(__name__)


class Several:
    """The scenes of all parts, one part after the other, every scene by its part's name and its own: `tno-01`.

    `parts` are data sets with as many sources each; what their roles are called is said anew by `roles`. A split holds
    that split of every part that has one; a part of whose split nothing is here is left out with a warning. A
    reference, which not all may have, is left out.
    """

    reference = None

    def __init__(self, name: str, task: str, roles: Sequence[str], parts: Mapping[str, Any]) -> None:
        """
        Raises:
            InputError: no parts, or one with another number of sources.
        """
        if not parts:
            raise InputError(f"data.parts of {name} is empty; name at least one data set")
        for part, data in parts.items():
            if len(data.roles) != len(roles):
                raise InputError(
                    f"data.parts.{part} has the sources {', '.join(data.roles)}, not {len(roles)} like "
                    f"data.roles={list(roles)}; leave it out"
                )
        self.name, self.task, self.roles, self.parts = name, task, tuple(roles), dict(parts)
        self.warned = set[str]()

    def stems(self, split: str) -> list[str]:
        """Scenes of a split, in the order of the parts.

        Raises:
            InputError: a split that no part has, or a part that is not there.
        """
        return [f"{name}-{stem}" for name, stems in self.having(split).items() for stem in stems]

    def having(self, split: str) -> dict[str, list[str]]:
        """The parts that have something of a split, and what.

        Raises:
            InputError: a split that no part has, or nothing of it is here.
        """
        asked = [name for name in self.parts if split in self.splits(name)]
        if not asked:
            known = dict.fromkeys(found for name in self.parts for found in self.splits(name))
            raise InputError(f"no part of {self.name} has a split '{split}'; they have {', '.join(known)}")
        found, missing = dict[str, list[str]](), dict[str, InputError]()
        for name in asked:
            try:
                found[name] = self.parts[name].stems(split)
            except InputError as problem:
                missing[name] = problem
        if not found:
            raise next(iter(missing.values()))
        for name in missing.keys() - self.warned:
            log.warning("%s goes without %s: %s", self.name, name, missing[name])
        self.warned |= missing.keys()
        return found

    def splits(self, part: str) -> list[str]:
        """What a part can be asked for."""
        data = self.parts[part]
        return ["all", *getattr(data, "splits", getattr(data, "counts", {}))]

    def samples(self, split: str) -> Iterator[Sample]:
        """Whole pictures as stored.

        Raises:
            InputError: as `stems`, or an unreadable picture.
        """
        yield from map(self.sample, self.stems(split))

    def sample(self, stem: str) -> Sample:
        """The pictures of a scene of a split that was asked for before.

        Raises:
            InputError: an unreadable picture.
        """
        part = next(name for name in sorted(self.parts, key=len, reverse=True) if stem.startswith(f"{name}-"))
        found = self.parts[part].sample(stem.removeprefix(f"{part}-"))
        return Sample(found.sources, None, (stem,), self.roles)

    def identity(self, split: str) -> str:
        """Twelve hex digits over the parts' own."""
        told = [f"{name}/{self.parts[name].identity(split)}" for name in self.having(split)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
