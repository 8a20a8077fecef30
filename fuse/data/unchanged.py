"""The data of a run are the same when it goes on: `data.json` in the run folder holds the digest of every file."""

import json
import os
from pathlib import Path
from typing import Any

from fuse.data.sets import Folders
from fuse.errors import InputError

NAME = "data.json"
SHOWN = 5


def record(data: Any, out: Path) -> None:
    """Write down what a run begins with; every file of the splits train and val is read once."""
    making = (out / NAME).with_suffix(".json.new")
    making.write_text(json.dumps(seen(data), indent=0))
    os.replace(making, out / NAME)


def compare(data: Any, out: Path) -> None:
    """The data are those that the run of that folder began with; a run without a record is taken as it is.

    Raises:
        InputError: files were changed, taken away or added, or made data are made otherwise.
    """
    path = out / NAME
    if not path.is_file():
        return
    before: dict[str, str] = json.loads(path.read_text())
    now = seen(data)
    changes = [f"{name} changed" for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
    changes += [f"{name} is gone" for name in sorted(before.keys() - now.keys())]
    changes += [f"{name} is new" for name in sorted(now.keys() - before.keys())]
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        raise InputError(
            f"the data are not those this run began with: {', '.join(changes[:SHOWN])}{more}. Bring them back as "
            f"they were, or start a new run; delete {path} to go on all the same"
        )


def seen(data: Any) -> dict[str, str]:
    """Digests of all that is trained and validated on: by file where there are files, else by split."""
    files = getattr(data, "base", data)  # of photographs that pairs are made from
    if not isinstance(files, Folders):
        return {split: data.identity(split) for split in ("train", "val")}
    return {
        f"{role}/{stem}": digest for split in ("train", "val") for (role, stem), digest in files.digests(split).items()
    }
