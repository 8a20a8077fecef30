"""What makes a run repeatable, and where it ran: `environment.json` in the run folder."""

import json
import logging
import os
import platform
from pathlib import Path

import torch

import fuse

log = logging.getLogger(__name__)
NAME = "environment.json"


def enforce(deterministic: bool) -> None:
    """Have PyTorch use only algorithms that give the same result every time, or let it choose the fastest.

    With `deterministic`, an operation that has no such algorithm raises a RuntimeError of PyTorch's that names it.
    """
    if deterministic:
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # read when CUDA starts; cuBLAS is fixed by it alone
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic


def record(out: Path, seed: int, device: torch.device, deterministic: bool) -> None:
    """Write down what the weights depend on besides `config.yaml`; say what is other than when the run began."""
    path = out / NAME
    now = {
        "fuse": fuse.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda,
        "deterministic": deterministic,
        "seed": seed,
    }
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = now
    changed = [f"{name} {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
    if changed:
        log.warning("not as when the run began, so weights may differ in their last digits: %s", ", ".join(changed))
        return
    making = path.with_suffix(".json.new")
    making.write_text(json.dumps(now, indent=1))
    os.replace(making, path)
