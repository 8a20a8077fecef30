"""Several processes that train as one: each has its share of every batch, and all come to the same weights.

There is no wrapper around networks. Gradients are averaged after `backward` (`fuse.update`), and while a protocol sees
its share (`fuse.shares`), what is drawn or measured over a batch is that of the whole batch.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fuse import launch
from fuse.errors import InputError

PATIENCE = timedelta(days=1)  # others wait while the first validates; that one died is noticed by who started them
APART: ContextVar[bool] = ContextVar("apart", default=False)


class Lost(InputError):
    """Another process of the run is gone."""


def size() -> int:
    """How many processes train together now."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not APART.get() else 1


def first() -> bool:
    """Whether this process is the one that writes."""
    return size() == 1 or dist.get_rank() == 0


def together(settings: dict[str, Any], out: Path) -> float | None:
    """`fuse.train.run` as one of the processes of a run; settings and folder are those of the first.

    Raises:
        InputError: as there, or another process is gone.
    """
    from fuse import train

    if launch.count() == 1:
        return train.run(settings, out)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    meeting = os.environ.get(launch.MEETING, "env://")
    dist.init_process_group(backend, meeting, PATIENCE, launch.count(), launch.rank())
    try:
        settings, folder = from_first(lambda: (settings, str(out)))
        out = Path(folder)
        return train.run(settings, out)
    except Lost as problem:
        raise Lost(f"another of the {launch.count()} processes is gone ({problem}); {launch.advice(out)}") from problem
    finally:
        dist.destroy_process_group()


def claim(devices: int, device: str) -> None:
    """Take the GPU of this process, if it is to have one.

    Raises:
        InputError: there are fewer GPUs than processes, or not as many processes as the settings say.
    """
    if devices != size():
        raise InputError(f"run.devices={devices}, but this process trains as one of {size()}; start it with fuse-train")
    if size() == 1 or device == "cpu" or not torch.cuda.is_available():
        return
    if launch.place() >= torch.cuda.device_count():
        raise InputError(
            f"run.devices={devices}: this machine has {torch.cuda.device_count()} GPUs; set run.devices to that, or "
            f"run.device=cpu"
        )
    torch.cuda.set_device(launch.place())


@contextmanager
def linked() -> Iterator[None]:
    """Raises:
    Lost: an exchange failed, because another process is gone.
    """
    try:
        yield
    except RuntimeError as problem:
        raise Lost(str(problem).partition("\n")[0]) from problem


def summed(x: Tensor) -> Tensor:
    """The tensor, now the sum over all ranks; the same bits on each."""
    with linked():
        dist.all_reduce(x)
    return x


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, all in one exchange."""
    if size() == 1:
        return
    flat = summed(torch.cat([x.detach().flatten() for x in tensors])).div_(size())
    for x, mean in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
        x.detach().copy_(mean.view_as(x))


def mean(x: Tensor) -> Tensor:
    """Mean over the ranks, for what a protocol decides by."""
    found = x.detach().clone()
    average([found])
    return found


def agreed(mark: bool) -> bool:
    """Whether any rank has the mark; every rank waits here for the others."""
    return mark if size() == 1 else bool(summed(torch.tensor(int(mark))))


def accompany(steps: Iterable[Any], advance: Callable[..., Any], interrupted: Callable[[], bool]) -> None:
    """What all ranks but the first do: the same steps, and nothing else.

    Raises:
        KeyboardInterrupt: a rank was told to stop.
    """
    for step in steps:
        advance(*step)
        if agreed(interrupted()):
            raise KeyboardInterrupt


@contextmanager
def in_turn() -> Iterator[None]:
    """The first rank does alone what stands inside, then the others do; what it left on the disk they find."""
    if size() == 1:
        yield
        return
    if not first():
        agreed(False)
    token = APART.set(True)
    try:
        yield
    finally:
        APART.reset(token)
    if first():
        agreed(False)


def from_first(make: Callable[[], Any], device: torch.device | str = "cpu") -> Any:
    """What the first rank makes, on all: tensors, numbers, words and collections of them."""
    if size() == 1:
        return make()
    held = io.BytesIO()
    if first():
        torch.save(make(), held)
    box = [held.getvalue()]
    with linked():
        dist.broadcast_object_list(box, 0)
    return torch.load(io.BytesIO(box[0]), map_location=device, weights_only=True)


def from_neighbour(make: Callable[[], Any]) -> Any:
    """What the first rank of this machine makes, on all ranks of this machine."""
    if size() == 1:
        return make()
    mine, made = make() if launch.place() == 0 else None, [None] * size()
    with linked():
        dist.all_gather_object(made, mine)
    return made[launch.rank() - launch.place()]


def alike(networks: Iterable[nn.Module]) -> None:
    """Give all ranks the weights and buffers of the first."""
    if size() > 1:
        for value in (value for network in networks for value in network.state_dict().values()):
            with linked():
                dist.broadcast(value, 0)
