"""Where the pictures of a training run lie: one flat uint8 tensor, on the training device or, if too large, on disk."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fuse import launch, ranks

GIB = 2**30


def bank(planes: Iterable[Tensor], device: torch.device | str, budget: float) -> Tensor:
    """All planes, flat uint8, one after the other.

    Up to `budget` GiB the tensor lies on the device. Beyond, all goes into a file of the temporary folder (`TMPDIR`)
    that is mapped into memory and has no name, so that it vanishes with the process; the tensor is then on the CPU,
    and the system keeps in memory what is used most. Of several processes that train together on a machine only the
    first reads the planes; the others have the same file, from which each GPU takes its own copy.
    """
    if ranks.size() > 1:
        return shared(planes, torch.device(device), budget)
    held: list[Tensor] = []
    total, spilled = 0, False
    with tempfile.TemporaryFile(prefix="fuse-bank-") as file:
        for plane in planes:
            total += plane.numel()
            held.append(plane)
            if spilled or total > budget * GIB:
                for waiting in held:
                    waiting.numpy().tofile(file)
                held, spilled = [], True
        if spilled:
            return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(total,)))
    return torch.cat(held).to(device) if held else torch.empty(0, dtype=torch.uint8, device=device)


def shared(planes: Iterable[Tensor], device: torch.device, budget: float) -> Tensor:
    """The same for all processes of this machine, held by it once: a file that they all map, without a name after."""

    def written() -> str:
        with tempfile.NamedTemporaryFile(prefix="fuse-bank-", delete=False) as file:
            try:
                for plane in planes:
                    plane.numpy().tofile(file)
            except BaseException:
                Path(file.name).unlink()
                raise
        return file.name

    path = Path(ranks.from_neighbour(written))
    found = torch.empty(0, dtype=torch.uint8)
    if path.stat().st_size:
        found = torch.from_numpy(np.memmap(path, np.uint8, "r+"))
    ranks.agreed(False)  # all have opened it
    if launch.place() == 0:
        path.unlink()
    return found if device.type == "cpu" or found.numel() > budget * GIB else found.to(device)
