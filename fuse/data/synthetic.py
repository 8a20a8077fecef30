"""Sets of made scenes: they need no download, and their truth is known."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from fuse.data.damage import Damage, applied
from fuse.data.optics import Scene, focus_pair
from fuse.data.sample import Sample
from fuse.data.scenes import seeded
from fuse.errors import InputError

SMALLEST = 16  # pixels per side; the widest blur reaches over five


class Synthetic:
    """Made scenes with reference. Scene k of a split is the same for ever, given `seed`, `size` and the recipe.

    `scene(size, generator)` makes the pictures, by default `optics.focus_pair`; `roles` name them. `damage` lists per
    role what is done to its picture afterwards, functions `(picture, generator)` as in `fuse/data/damage.py`.
    """

    reference = "reference"

    def __init__(
        self,
        size: int = 160,
        train: int = 24,
        val: int = 4,
        test: int = 6,
        seed: int = 0,
        name: str = "synthetic",
        task: str = "focus",
        roles: Sequence[str] = ("near", "far"),
        scene: Callable[[int, torch.Generator], Scene] = focus_pair,
        damage: Damage | None = None,
    ) -> None:
        """
        Raises:
            InputError: scenes too small to have a depth of field, a split without scenes, or damage to no role.
        """
        if size < SMALLEST or min(train, val, test) < 1:
            raise InputError(
                f"data.size={size}, data.train={train}, data.val={val}, data.test={test}: scenes have at least "
                f"{SMALLEST} pixels per side, and every split at least one"
            )
        if unknown := [role for role in damage or {} if role not in roles]:
            raise InputError(f"data.damage names {', '.join(unknown)}, but the roles are {', '.join(roles)}")
        self.size, self.seed, self.name, self.task, self.roles = size, seed, name, task, tuple(roles)
        self.scene, self.damage = scene, dict(damage or {})
        self.counts = {"train": train, "val": val, "test": test}

    def stems(self, split: str) -> list[str]:
        """Names of the scenes of a split.

        Raises:
            InputError: unknown split.
        """
        if split == "all":
            return [stem for part in self.counts for stem in self.stems(part)]
        if split not in self.counts:
            raise InputError(f"made data has no split '{split}'; it has all, {', '.join(self.counts)}")
        return [f"{split}-{number:03d}" for number in range(self.counts[split])]

    def samples(self, split: str) -> Iterator[Sample]:
        """Scenes as 8 bit pictures `(1, c, size, size)`.

        Raises:
            InputError: unknown split, or a recipe that makes another number of pictures than there are roles.
        """
        yield from map(self.sample, self.stems(split))

    def sample(self, stem: str) -> Sample:
        """The scene of that name.

        Raises:
            InputError: a recipe that makes another number of pictures than there are roles.
        """
        made = self.scene(self.size, seeded(self.seed, stem))
        if len(made.sources) != len(self.roles):
            raise InputError(f"data.scene makes {len(made.sources)} pictures for the roles {', '.join(self.roles)}")
        sources = applied(made.sources, self.roles, self.damage, self.seed, stem)
        return Sample(tuple(map(stored, sources)), stored(made.reference), (stem,), self.roles)

    def identity(self, split: str) -> str:
        """Twelve hex digits that stand for the scenes of a split."""
        told = f"{self.size}/{self.seed}/{self.stems(split)}"
        if self.scene is not focus_pair or self.damage:
            told += (
                f"/{said(self.scene)}/{ {role: [said(harm) for harm in harms] for role, harms in self.damage.items()} }"
            )
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def stored(picture: Tensor) -> Tensor:
    """A picture `(c, h, w)` in [0, 1] as `(1, c, h, w)` of 8 bit."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)[None]


def said(function: Callable[..., object]) -> str:
    """A function and the settings it was given, in words."""
    if isinstance(function, partial):
        return f"{said(function.func)} {sorted(function.keywords.items())}"
    return f"{function.__module__}.{function.__qualname__}"
