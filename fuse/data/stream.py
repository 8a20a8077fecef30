"""Patches of a collection of pictures too large to hold, decoded by threads ahead of the training step."""

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from fuse.data import color
from fuse.data.patches import finished, inside, stored
from fuse.data.sample import Sample
from fuse.errors import InputError

TRIES = 20  # scenes in a row that may be too small for a patch

Cut = tuple[list[Tensor], tuple[str, ...]]


class Stream:
    """Batches of square random patches, every patch from another scene, as `fuse.data.patches.Patches` gives them.

    `samples` is read scene by scene, `ahead` steps early, by `workers` threads, since decoding holds no
    lock. Scenes are drawn alike; one smaller than a patch is passed over for the next. What a step draws depends on
    `seed` and the step alone, whatever the number of threads, so a resumed run sees what an unbroken one would.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        batch: int,
        augment: bool = True,
        swap: bool = False,
        shrink: Mapping[str, int] | None = None,
        workers: int = 4,
        ahead: int = 8,
        channels: int = 1,
        luma: color.Luma = "full",
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            InputError: no pictures, or an unusable setting.
        """
        if min(size, batch, workers, ahead) < 1:
            given = f"size={size}, batch={batch}, workers={workers}, ahead={ahead}"
            raise InputError(f"model.patches: {given}; all are at least 1")
        if not len(samples):
            raise InputError("there are no pictures to train on; choose another split or data set")
        self.samples, self.size, self.batch, self.augment = samples, size, batch, augment
        self.swap, self.shrink, self.ahead = swap, dict(shrink or {}), ahead
        self.channels, self.luma, self.device = channels, luma, torch.device(device)
        self.windows = len(samples)
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="fuse-stream")
        self.waiting: dict[tuple[int, int], list[Future[Cut]]] = {}

    def __call__(self, step: int, seed: int, generator: torch.Generator) -> Sample:
        """Patches `(batch, c, size, size)` in [0, 1] for one step, on the device of the run.

        Raises:
            InputError: an unreadable picture, scenes of unlike roles, or hardly any scene as large as a patch.
        """
        for key in [key for key in self.waiting if key[0] != seed or not step <= key[1] < step + self.ahead]:
            for future in self.waiting.pop(key):  # of a step that will not come
                future.cancel()
        for number in range(step, step + self.ahead):
            if (seed, number) not in self.waiting:
                keys = [zlib.crc32(f"{seed}/{number}/{i}".encode()) for i in range(self.batch)]
                self.waiting[seed, number] = [self.pool.submit(self._cut, key) for key in keys]
        cuts = [future.result() for future in self.waiting.pop((seed, step))]
        roles = cuts[0][1]
        if any(cut[1] != roles for cut in cuts):
            raise InputError("scenes have other sources or references than the scenes before; train on one kind")
        y, x = inside(self.size, self.batch, self.augment, generator, self.device)
        place = (y * self.size + x).expand(self.batch, -1, -1).flatten(1)[:, None]
        pictures = []
        for parts in zip(*(cut[0] for cut in cuts), strict=True):
            flat = torch.cat(parts).to(self.device).float().div_(255).flatten(2)
            turned = flat.gather(2, place.expand(-1, flat.shape[1], -1))
            pictures.append(turned.view(self.batch, -1, self.size, self.size))
        reference = pictures.pop() if roles[-1] == "reference" else None
        sources = [role for role in roles if role != "reference"]
        if unknown := [role for role, factor in self.shrink.items() if role not in sources or self.size % factor]:
            raise InputError(
                f"model.patches.shrink.{unknown[0]}={self.shrink[unknown[0]]}: the role must be one of "
                f"{', '.join(sources)} and the factor a divisor of size={self.size}"
            )
        return finished(pictures, reference, sources, self.swap, self.shrink, generator)

    def _cut(self, key: int) -> Cut:
        """One window of one scene, the same from all of its pictures, and their roles."""
        generator = torch.Generator().manual_seed(key)
        for _ in range(TRIES):
            sample = self.samples[int(torch.randint(len(self.samples), (), generator=generator))]
            pictures = [*sample.sources, *([sample.reference] if sample.reference is not None else [])]
            height, width = pictures[0].shape[-2:]
            if any(x.shape[-2:] != (height, width) for x in pictures):
                raise InputError(f"{sample.names[0]}: sources of unequal size cannot share windows; align them")
            if min(height, width) >= self.size:
                top, left = (
                    int(torch.randint(side - self.size + 1, (), generator=generator)) for side in (height, width)
                )
                window = slice(top, top + self.size), slice(left, left + self.size)
                cut = [stored(x[..., window[0], window[1]], self.channels, self.luma) for x in pictures]
                return cut, (*sample.roles, *(["reference"] if sample.reference is not None else []))
        raise InputError(f"{TRIES} scenes in a row are smaller than a patch of {self.size}; lower model.patches.size")
