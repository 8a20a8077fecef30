"""Turns what Hydra and OmegaConf say about a command line into one message with the near names."""

import errno
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from fuse.config import CONF, near
from fuse.errors import InputError

NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def explain(problem: BaseException, command: str) -> str | None:
    """The message for a mistake of the user's, or None for a fault of ours."""
    if isinstance(problem, InputError):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno in NO_PLACE:
        return (
            f"{problem.filename or 'a file of the run'} cannot be written or read: {problem.strerror}; "
            f"checkpoints stay as they were. Make room, or name another folder"
        )
    if isinstance(problem, RuntimeError) and "does not have a deterministic implementation" in str(problem):
        return (
            f"run.deterministic=true: {str(problem).partition(', but')[0]}; choose another loss or network, or leave it"
        )
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file:
        group, _, option = problem.missing_cfg_file.rpartition("/")
        if problem.options:
            return f"{group}={option}: there is no such {group}; {near(option, problem.options)}"
        return f"there is no configuration '{problem.missing_cfg_file}' in {CONF}"
    if isinstance(problem, ConfigCompositionException):
        return composition(str(problem), str(problem.__cause__ or ""), command)
    if isinstance(problem, OmegaConfBaseException):
        return (
            f"{problem.full_key}: {str(problem).splitlines()[0]}" if problem.full_key else str(problem).splitlines()[0]
        )
    return str(problem) if isinstance(problem, HydraException) else None


def composition(text: str, cause: str, command: str) -> str:
    """A key or group that does not exist, with the near names; other complaints as Hydra words them."""
    missing = re.search(r"Could not override '([^']+)'", text)
    if not missing:
        return " ".join(f"{text} {cause}".split())
    word = missing.group(1)
    if "not in struct" not in cause and "No match in the defaults list" not in text and cause:
        return f"{word}: {cause.splitlines()[0]}"
    keys = list(known(command))
    parts = word.split(".")
    within = [key for key in keys if "." in word and key.startswith(f"{parts[0]}.")] or keys
    return f"there is no '{word}'; {near(word, within)}"


def known(command: str) -> Iterator[str]:
    """Groups and dotted keys of a command, with the groups that this command line chooses."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    groups = [path.name for path in Path(CONF).iterdir() if path.is_dir()]
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups]
    with initialize_config_dir(CONF, version_base="1.3"):
        try:
            cfg = compose(command, chosen)
        except HydraException:  # one of them is misspelt as well
            cfg = compose(command)
        yield from dotted(OmegaConf.to_container(cfg, resolve=False))


def dotted(node: Any, path: str = "") -> Iterator[str]:
    """Every key of nested mappings, joined by dots."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{path}{key}"
            yield from dotted(value, f"{path}{key}.")
