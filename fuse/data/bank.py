"""Where the pictures of a training run lie: one flat uint8 tensor, on the training device or, if too large, on disk."""

import tempfile
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

GIB = 2**30


def bank(planes: Iterable[Tensor], device: torch.device | str, budget: float) -> Tensor:
    """All planes, flat uint8, one after the other.

    Up to `budget` GiB the tensor lies on the device. Beyond, all goes into a file of the temporary folder (`TMPDIR`)
    that is mapped into memory and has no name, so that it vanishes with the process; the tensor is then on the CPU,
    and the system keeps in memory what is used most.
    """
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
