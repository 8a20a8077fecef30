"""The data sets that come with the project: what `conf/data/*.yaml` says about them."""

from pathlib import Path
from typing import Any, cast

from fuse.config import CONF, near
from fuse.data.sets import Folders
from fuse.errors import InputError

FOLDERS = "fuse.data.sets.Folders"


def nodes() -> dict[str, dict[str, Any]]:
    """Name and content of every set that lies in folders, in the order of their names."""
    from omegaconf import OmegaConf

    found = {}
    for path in sorted(Path(CONF, "data").glob("*.yaml")):
        node = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
        if node.get("_target_") == FOLDERS:
            found[path.stem] = node
    return found


def load(name: str, root: str | None = None) -> Folders:
    """The set of that name, below `root`.

    Raises:
        InputError: there is none.
    """
    known = nodes()
    if name not in known:
        raise InputError(f"there is no data set '{name}'; {near(name, known)}")
    return Folders(**{key: value for key, value in known[name].items() if key != "_target_"} | {"root": root})


def load_all(root: str | None = None) -> list[Folders]:
    """Every set."""
    return [load(name, root) for name in nodes()]
