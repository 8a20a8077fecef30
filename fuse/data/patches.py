"""Patches for training: every picture in one uint8 tensor on the training device, a batch is one gather."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import ranks
from fuse.data import color
from fuse.data.bank import bank
from fuse.data.sample import Sample
from fuse.errors import InputError


def stored(picture: Tensor, channels: int, luma: color.Luma) -> Tensor:
    """A picture `(1, c, h, w)` as the network will see it, 8 bit: luma (channels = 1) or RGB (channels = 3)."""
    full = 65535 if picture.dtype == torch.uint16 else 255
    values = picture.float() / full
    if channels == 1:
        values = color.split(values, luma)[0] if picture.shape[1] == 3 or luma == "limited" else values
    elif picture.shape[1] == 1:
        values = values.expand(-1, 3, -1, -1)
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


class Patches:
    """Batches of square patches, the same window cut from all sources (and the reference) of a sample.

    `order="random"` draws windows uniformly over all positions of all pictures. `order="grid"` walks windows at
    multiples of `stride`, as papers cut them, each once an epoch: shuffled anew every epoch, or in file order with
    `shuffle=False`; the last incomplete batch of an epoch is dropped. `augment` flips and turns by right angles.
    `swap` exchanges the sources of every second window, at random, for recipes that name no role. `shrink` names roles
    whose patches come out smaller by a whole factor (bicubic, low-passed): sensors of unequal resolution. `balanced`
    draws scenes alike, where a random window otherwise falls the more often into a scene the larger it is. Above
    `budget` GiB the pictures lie on disk, mapped into memory (`fuse.data.bank`).
    What a step draws depends on `seed` and the step alone, so a resumed run sees what an unbroken one would.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        size: int,
        batch: int,
        order: Literal["random", "grid"] = "random",
        stride: int = 1,
        shuffle: bool = True,
        augment: bool = True,
        swap: bool = False,
        shrink: Mapping[str, int] | None = None,
        balanced: bool = False,
        budget: float = 4.0,
        channels: int = 1,
        luma: color.Luma = "full",
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            InputError: no pictures, sources of unequal size or number, pictures smaller than a patch, or an unusable
                setting.
        """
        if order not in ("random", "grid") or min(size, batch, stride) < 1:
            raise InputError(
                f"model.patches: order={order}, size={size}, batch={batch}, stride={stride}; order is random or grid, "
                "the others are at least 1"
            )
        self.size, self.batch, self.shuffle, self.augment = size, batch, shuffle, augment
        self.swap, self.shrink = swap, dict(shrink or {})
        self.roles, self.referenced = tuple[str, ...](), False
        self.channels, self.device = channels, torch.device(device)
        starts: list[list[int]] = []
        extents: list[tuple[int, int]] = []

        def planes() -> Iterator[Tensor]:
            """Every picture flat, as it will be seen; where it begins is noted on the way."""
            offset = 0
            for sample in samples:
                pictures = self._checked(sample, first=not starts)
                flat = [stored(picture, channels, luma).flatten() for picture in pictures]
                starts.append([offset + i * flat[0].numel() for i in range(len(flat))])
                offset += len(flat) * flat[0].numel()
                extents.append((pictures[0].shape[-2], pictures[0].shape[-1]))
                yield from flat

        self.bank = bank(planes(), self.device, budget)
        starts, extents, self.roles, self.referenced = ranks.from_neighbour(
            lambda: (starts, extents, self.roles, self.referenced)
        )
        if not starts:
            raise InputError("there are no pictures to train on; choose another split or data set")
        for role, factor in self.shrink.items():
            if role not in self.roles or factor < 1 or size % factor:
                raise InputError(
                    f"model.patches.shrink.{role}={factor}: the role must be one of {', '.join(self.roles)} and the "
                    f"factor a divisor of size={size}"
                )
        self.starts = torch.tensor(starts, device=self.bank.device)
        self.extents = torch.tensor(extents, device=self.bank.device)
        self.offsets, self.sides = [start[0] for start in starts], extents
        free = self.extents - size + 1 if order == "random" else (self.extents - size) // stride + 1
        self.stride = 1 if order == "random" else stride
        self.columns = free[:, 1]
        self.ends = free.prod(1).cumsum(0)  # windows are numbered through; picture i holds those below ends[i]
        self.windows = int(self.ends[-1])
        self.grid, self.balanced = order == "grid", balanced
        if self.grid and self.windows < batch:
            raise InputError(f"{self.windows} windows on the grid do not fill a batch of {batch}; set a smaller batch")

    def __call__(self, step: int, seed: int, generator: torch.Generator) -> Sample:
        """Patches `(batch, c, size, size)` in [0, 1] for one step, on the device of the run, as the generator is."""
        device = self.bank.device
        if self.grid:
            per_epoch = self.windows // self.batch
            epoch, place = divmod(step, per_epoch)
            number = torch.arange(place * self.batch, (place + 1) * self.batch, device=device)
            if self.shuffle:
                number = self._shuffled(epoch, seed)[number]
        elif self.balanced:
            share = torch.rand((2, self.batch), generator=generator, device=self.device).to(device)
            chosen = (share[0] * len(self.ends)).long()
            begin = torch.where(chosen > 0, self.ends[chosen - 1], 0)
            number = begin + (share[1].double() * (self.ends[chosen] - begin)).long()
        else:
            number = torch.randint(self.windows, (self.batch,), generator=generator, device=self.device).to(device)
        picture = torch.searchsorted(self.ends, number, right=True)
        number = number - torch.where(picture > 0, self.ends[picture - 1], 0)
        top, left = number // self.columns[picture] * self.stride, number % self.columns[picture] * self.stride

        y, x = inside(self.size, self.batch, self.augment, generator, self.device)
        cut = self._sliced if device.type == "cpu" else self._gathered
        pixels = cut(picture, top, left, y.to(device), x.to(device)).to(self.device)
        pictures = list(pixels.float().div_(255).unbind(1))
        reference = pictures.pop() if self.referenced else None
        return finished(pictures, reference, self.roles, self.swap, self.shrink, generator)

    def _gathered(self, picture: Tensor, top: Tensor, left: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The windows `(batch, pictures, c, size, size)` in one gather: on a GPU nothing else is as fast."""
        height, width = self.extents[picture].unbind(1)
        place = (top.view(-1, 1, 1) + y) * width.view(-1, 1, 1) + left.view(-1, 1, 1) + x
        plane = torch.arange(self.channels, device=self.bank.device) * (height * width).view(-1, 1, 1)
        index = (self.starts[picture].unsqueeze(2) + plane)[..., None, None] + place[:, None, None]
        return self.bank[index]

    def _sliced(self, picture: Tensor, top: Tensor, left: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The same, window by window: on a CPU copying lines beats gathering pixels (`scripts/bench/patches`)."""
        size, count = self.size, self.starts.shape[1]
        windows = []
        for scene, row, column in zip(picture.tolist(), top.tolist(), left.tolist(), strict=True):
            height, width = self.sides[scene]
            whole = self.bank[self.offsets[scene] :][: count * self.channels * height * width]
            windows.append(
                whole.view(count, self.channels, height, width)[..., row : row + size, column : column + size]
            )
        cut = torch.stack(windows)
        if not self.augment:
            return cut
        place = (y * size + x).view(self.batch, 1, 1, -1).expand(-1, count, self.channels, -1)
        return cut.flatten(3).gather(3, place).view_as(cut)

    def _checked(self, sample: Sample, first: bool) -> list[Tensor]:
        """The pictures of a scene, reference last.

        Raises:
            InputError: they cannot share windows with each other, or batches with the scenes before.
        """
        pictures = [*sample.sources, *([sample.reference] if sample.reference is not None else [])]
        sizes = {tuple(picture.shape[-2:]) for picture in pictures}
        height, width = pictures[0].shape[-2:]
        if len(sizes) > 1:
            raise InputError(f"{sample.names[0]}: sources of sizes {sorted(sizes)} cannot share windows; align them")
        if min(height, width) < self.size:
            raise InputError(
                f"{sample.names[0]} is {width}x{height}, smaller than a patch of {self.size}; lower model.patches.size"
            )
        if not first and (sample.roles, sample.reference is not None) != (self.roles, self.referenced):
            raise InputError(f"{sample.names[0]} has other sources or references than the scenes before it")
        self.roles, self.referenced = sample.roles, sample.reference is not None
        return pictures

    def _shuffled(self, epoch: int, seed: int) -> Tensor:
        """The order of all windows in one epoch, kept until the epoch changes."""
        if getattr(self, "_epoch", None) != (epoch, seed):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**31)
            self._permutation = torch.randperm(self.windows, generator=generator).to(self.bank.device)
            self._epoch = (epoch, seed)
        return self._permutation


def inside(
    size: int, batch: int, augment: bool, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Row and column inside the window that each pixel of each patch is read from: `(batch or 1, size, size)`."""
    last, steps = size - 1, torch.arange(size, device=device)
    y, x = steps.view(1, -1, 1), steps.view(1, 1, -1)
    if not augment:
        return y.expand(1, size, size), x.expand(1, size, size)
    coin = torch.randint(2, (3, batch, 1, 1), generator=generator, device=device).bool()
    y, x = torch.where(coin[0], last - y, y), torch.where(coin[1], last - x, x)
    return torch.where(coin[2], x, y), torch.where(coin[2], y, x)


def finished(
    pictures: list[Tensor],
    reference: Tensor | None,
    roles: Sequence[str],
    swap: bool,
    shrink: Mapping[str, int],
    generator: torch.Generator,
) -> Sample:
    """Patches of a batch as a sample, sources exchanged and shrunk as told."""
    if swap:
        turn = torch.randint(2, (len(pictures[0]), 1, 1, 1), generator=generator, device=pictures[0].device).bool()
        pictures = [torch.where(turn, b, a) for a, b in zip(pictures, pictures[::-1], strict=True)]
    for role, factor in shrink.items():
        i = roles.index(role)
        side = pictures[i].shape[-1] // factor
        pictures[i] = F.interpolate(pictures[i], (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return Sample(tuple(pictures), reference, (), tuple(roles))
