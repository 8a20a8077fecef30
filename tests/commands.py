"""What tests that run commands share: where the project lies, the smallest run, how a command ended."""

import os
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}  # of commands that are started in other folders

# Overrides that make a training run on made data a matter of seconds.
TINY = (
    "data.size=40",
    "data.train=2",
    "data.val=1",
    "data.test=1",
    "model.patches.size=32",
    "model.patches.batch=2",
    "run.log_every=5",
    "run.val_every=5",
    "run.save_every=5",
)


class Outcome(NamedTuple):
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str
