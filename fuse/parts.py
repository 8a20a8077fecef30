"""Batches that memory does not suffice for: the step is done again in parts, as near to the whole batch as can be."""

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from fuse import ranks
from fuse.data.sample import Sample
from fuse.errors import InputError, ran_out
from fuse.shares import Protocol, WholeBatch, portion
from fuse.steps import Terms
from fuse.update import Autocast, Update

log = logging.getLogger(__name__)


class Parts:
    """The protocol; when memory runs out, the same step is done again in 2, 4, 8 ... equal parts of its batch (the next
    number that divides it), and so are all further steps of the run. One warning says so.

    For every update of the step the protocol runs on each part from its beginning, with all updates before it made and
    left out, and the mean of the parts' gradients is the gradient; updates that were made before memory ran out are not
    made again. At last it runs on the first part once more, for what follows the last update: weights bounded, a
    further update. So every update sees what it sees of a whole batch, at the price of time: the protocol runs once for
    each update and once more on one part. Draws and dropout are the rows of those of the whole batch, as with several
    devices (`fuse.shares.WholeBatch`).

    Not the same: batch norm takes the statistics of each part, its running ones follow their mean (and have counted the
    attempt that failed); losses that are no mean over the pictures are means of those of the parts; terms are
    those before the first update made in parts. A resumed run tries the whole batch first.

    With several devices the step ends with the message instead, since all of them would have to begin again together.

    Raises:
        InputError: one patch is too much, the parts decide for different updates (`fuse.balance`), several devices, or
            an optimiser ran out of memory and weights may be half changed.
    """

    def __init__(self, protocol: Protocol, update: Update, networks: Mapping[str, nn.Module]) -> None:
        self.protocol, self.update, self.networks = protocol, update, list(networks.values())
        self.count = 1

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        self.update.made = 0
        again = beginning(self.networks, generator)
        while True:
            try:
                if self.count > 1:
                    return self.joined(sample, step, generator, again)
                self.update.begin(0)
                return self.protocol(sample, step, generator)
            except (RuntimeError, MemoryError) as problem:
                if not ran_out(problem):
                    raise
            except ValueError as problem:
                if self.count == 1 or "more than 1 value per channel" not in str(problem):
                    raise
                raise InputError(self.ended(sample, step, "batch norm cannot do with single patches")) from problem
            self.divide(sample, step)  # here the tensors of what failed are free
            again()

    def joined(self, sample: Sample, step: int, generator: torch.Generator, again: Callable[[], None]) -> Terms:
        """The step in parts."""
        update, rows = self.update, len(sample.sources[0]) // self.count
        weights = [p for network in self.networks for p in network.parameters() if p.requires_grad]
        aside: list[Tensor] = [p for network in self.networks for p in network.parameters() if not p.requires_grad]
        aside += [x for network in self.networks for x in network.buffers()]
        update.parts, told, start = self.count, list[Terms](), copies(aside)
        after: list[Tensor] | None = None
        while True:
            means, now, terms = Means(aside), copies(weights), list[Terms]()
            for part in range(self.count):
                again()
                put([*now, *start], [*weights, *aside])  # a protocol may bound weights after it updates them
                update.begin(part)
                with Rows(rows, part, self.count):
                    terms.append(self.protocol(portion(sample, part, rows), step, generator))
                means.add(aside)
                if part == 0 and not update.gathered:  # no further update
                    put(after or copies(aside), aside)
                    return told[0] if told else terms[0]
                if len({name for name, _ in update.gathered}) != 1 or len(update.gathered) != part + 1:
                    raise InputError(self.ended(sample, step, "its parts decide for different updates"))
            told.append({name: torch.stack([x[name].float() for x in terms]).mean() for name in terms[0]})
            after = means.values()
            put(now, weights)
            update.step()

    def divide(self, sample: Sample, step: int) -> None:
        """More parts than now, said aloud.

        Raises:
            InputError: it cannot be.
        """
        batch, before = len(sample.sources[0]), self.count
        gc.collect()
        if sample.sources[0].is_cuda:
            torch.cuda.empty_cache()
        if ranks.size() > 1:
            raise InputError(self.ended(sample, step, f"run.devices={ranks.size()} take no parts"))
        if self.update.moving:
            raise InputError(self.ended(sample, step, "an optimiser was at work, which may have moved some weights"))
        if before == batch:
            raise InputError(self.ended(sample, step, "there is nothing smaller than one patch"))
        self.count = next(count for count in range(2 * before, batch + 1) if batch % count == 0)
        norms = any(isinstance(module, _BatchNorm) for network in self.networks for module in network.modules())
        log.warning(
            "%s. This and all further steps take each batch in %d parts of %d, whose gradients are averaged; they take "
            "longer. Not as with the whole batch: %slosses that are no mean over the pictures. To have it whole: "
            "model.patches.batch=%d or smaller model.patches.size in a new run%s",
            self.failed(sample, step, before),
            self.count,
            batch // self.count,
            "batch norm, whose statistics are those of a part, and " if norms else "",
            batch // self.count,
            "" if self.half() else ", or run.precision=bf16",
        )

    def failed(self, sample: Sample, step: int, parts: int) -> str:
        """What was too much."""
        x = sample.sources[0]
        rows = len(x) // parts // ranks.size()
        patches = f"{rows} patches" if rows > 1 else "one patch"
        return f"step {step}: memory of {x.device} ran out with {patches} of {x.shape[-1]}x{x.shape[-2]} pixels"

    def ended(self, sample: Sample, step: int, why: str) -> str:
        """The message with which a run ends."""
        other = "run.device=cpu" if self.half() else "run.precision=bf16"
        return (
            f"{self.failed(sample, step, self.count)}, and {why}; begin anew with smaller model.patches.batch "
            f"(now {len(sample.sources[0])}) or model.patches.size, or with {other}. The last checkpoint is as it was: "
            f"run.resume=true {other} goes on from there"
        )

    def half(self) -> bool:
        """Whether networks run in bfloat16 already."""
        return any(isinstance(network, Autocast) for network in self.networks)


class Rows(WholeBatch):
    """Draws and dropout of the whole batch for one part after the other; batch norm is that of the part."""

    def batch_norm(self, *args: Any, **named: Any) -> Tensor:
        """As it is."""
        return F.batch_norm(*args, **named)


class Means:
    """Means of tensors over parts; where all parts agree, bit for bit what they agree on."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.first: list[Tensor] = []
        self.apart = [torch.zeros_like(x) for x in tensors]
        self.count = 0

    def add(self, tensors: list[Tensor]) -> None:
        """The tensors after one more part."""
        self.first = self.first or copies(tensors)
        self.count += 1
        for apart, x, first in zip(self.apart, tensors, self.first, strict=True):
            apart += x.detach() - first if x.is_floating_point() else 0  # counters are the same in all parts

    def values(self) -> list[Tensor]:
        """The means."""
        return [
            first + apart / self.count if first.is_floating_point() else first
            for first, apart in zip(self.first, self.apart, strict=True)
        ]


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Their values now."""
    return [x.detach().clone() for x in tensors]


def put(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """Bring tensors back to earlier values."""
    with torch.no_grad():
        for x, value in zip(tensors, values, strict=True):
            x.copy_(value)


def beginning(networks: list[nn.Module], generator: torch.Generator) -> Callable[[], None]:
    """What brings back the draws, and which weights learn, as they are now; failing may leave others."""
    device = generator.device
    drawn, own = torch.get_rng_state(), generator.get_state()
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    learns = [(p, p.requires_grad) for network in networks for p in network.parameters()]

    def again() -> None:
        torch.set_rng_state(drawn)
        generator.set_state(own)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, device)
        for parameter, flag in learns:
            parameter.requires_grad_(flag)

    return again
