"""The data sets that come with the project: what `conf/data/*.yaml` says about them."""

from pathlib import Path
from typing import Any, cast

from fuse.config import CONF, near
from fuse.data.sets import Folders
from fuse.errors import InputError

FOLDERS = "fuse.data.sets.Folders"


def read(path: Path) -> dict[str, Any]:
    """The settings that a file of `conf/data/` hands to `Folders`; nothing if it is no set that lies in folders."""
    from omegaconf import OmegaConf

    node = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
    return {key: value for key, value in node.items() if key != "_target_"} if node.get("_target_") == FOLDERS else {}


def paths() -> dict[str, Path]:
    """The files of `conf/data/` by name."""
    return {path.stem: path for path in sorted(Path(CONF, "data").glob("*.yaml"))}


def load(name: str, root: str | None = None) -> Folders:
    """The set of that name, below `root`.

    Raises:
        InputError: there is none.
    """
    known = paths()
    node = read(known[name]) if name in known else {}
    if not node:
        raise InputError(f"there is no data set '{name}'; {near(name, known)}")
    return Folders(**node | {"root": root})


def load_all(root: str | None = None) -> list[Folders]:
    """Every set, in the order of their names."""
    nodes = (read(path) for path in paths().values())
    return [Folders(**node | {"root": root}) for node in nodes if node]
