"""Checkpoint folders: weights without code, state without pickle, and never half a folder.

A folder holds `fuser.safetensors` (what is used to fuse), one file per other network, `config.json` (how to build
the fuser and where it came from), `metrics.json`, `state.pt` (optimisers, step, and what else resuming needs), and
`sha256`, the digests of all of these.
"""

import hashlib
import importlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.profiler import record_function

from fuse import digests
from fuse.errors import InputError

log = logging.getLogger(__name__)
FUSER = "fuser.safetensors"
LARGEST_CONFIG = 2**20  # bytes; ours have a thousand
FORMAT = 1  # of the folder; 0, without digests, was never written down


@record_function("fuse.checkpoint")
def save(
    folder: Path,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any],
    metrics: Mapping[str, float | None],
    state: Mapping[str, Any],
    keep: bool = False,
) -> None:
    """Write a checkpoint folder; whenever the process dies, `folder` or what `settle` makes of it is whole.

    With `keep`, the checkpoint that was in its place stays as `<folder>.old` until the next one.

    Raises:
        InputError: it cannot be written, as when the disk is full; what was in its place is as it was.
    """
    making, ready, old = (folder.with_name(f"{folder.name}.{mark}") for mark in ("making", "ready", "old"))
    settle(folder, keep)
    try:
        making.mkdir(parents=True)
        for name, network in networks.items():
            save_file(
                {key: value.contiguous() for key, value in network.state_dict().items()}, making / f"{name}.safetensors"
            )
        (making / "config.json").write_text(json.dumps({"format": FORMAT, **config}, indent=1))
        (making / "metrics.json").write_text(json.dumps(metrics, indent=1))
        held = io.BytesIO()  # written by us, since torch tells a full disk from a fault of its own in no way
        torch.save(dict(state), held)
        (making / "state.pt").write_bytes(held.getbuffer())
        digests.seal(making)
        for path in (*making.iterdir(), making):
            synchronise(path)
    except (OSError, SafetensorError) as problem:
        shutil.rmtree(making, ignore_errors=True)
        raise InputError(
            f"{folder} cannot be written: {first_line(problem)}; the checkpoint before it is untouched. Make room "
            f"there, then go on with: fuse-train run.resume=true run.dir={folder.parent}"
        ) from problem
    making.rename(ready)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    ready.rename(folder)
    synchronise(folder.parent)
    if not keep:
        shutil.rmtree(old, ignore_errors=True)


def synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and outlast a loss of power."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def settle(folder: Path, keep: bool = False) -> None:
    """Finish or undo a save that was cut off: afterwards `folder` is a whole checkpoint or does not exist."""
    making, ready, old = (folder.with_name(f"{folder.name}.{mark}") for mark in ("making", "ready", "old"))
    shutil.rmtree(making, ignore_errors=True)
    if ready.exists():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        ready.rename(folder)
    elif old.exists() and not folder.exists():
        old.rename(folder)
    if not keep:
        shutil.rmtree(old, ignore_errors=True)


def restore(folder: Path, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Load the networks of a checkpoint in place and return its state, on their device, whichever it was saved from.

    A save that was cut off is settled first. A damaged checkpoint is put aside as `<folder>.damaged`, and what is read
    instead is `<folder>.old`, or the `best` beside it if that is damaged too; the log says so.

    Raises:
        InputError: the checkpoint is not there, of other networks, of a later format, or none is whole.
    """
    settle(folder, keep=True)
    old, best, aside = folder.with_name(f"{folder.name}.old"), folder.with_name("best"), f"{folder.name}.damaged"
    there = [path for path in dict.fromkeys((folder, old, best)) if path.is_dir()]
    if not there:
        raise InputError(f"{folder} is not there: the run stopped before its first checkpoint; start it anew")
    problems = {path: damage(path) for path in there}
    whole = next((path for path in there if problems[path] is None), None)
    if whole is None:
        read(there[0], networks)  # which may know better what is wrong
        raise InputError(f"{there[0]} is damaged: {problems[there[0]]}; nothing beside it is whole, start the run anew")
    state = read(whole, networks)
    if whole != folder:
        why = problems.get(folder) or "it is not there"
        log.warning("%s cannot be used: %s. Going on from %s, step %s", folder, why, whole, state.get("step"))
        if folder.is_dir():
            shutil.rmtree(folder.with_name(aside), ignore_errors=True)
            folder.rename(folder.with_name(aside))
            settle(folder, keep=True)
    return state


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is, or nobody can tell because it is of format 0.

    Raises:
        InputError: it is of a later format.
    """
    try:
        written = known(json.loads((folder / "config.json").read_text()), folder)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return "config.json is missing or damaged"
    if written == 0 and not (folder / digests.NAME).exists():
        return None
    return digests.damage(folder, ("config.json", "metrics.json", "state.pt"))


def known(config: Any, folder: Path) -> int:
    """The format of a checkpoint with this `config.json`.

    Raises:
        InputError: it is none that this version reads.
    """
    written = config.get("format", 0) if isinstance(config, dict) else 0
    if written not in range(FORMAT + 1):
        raise InputError(
            f"{folder} is a checkpoint of format {written}, and this version of fuse reads up to {FORMAT}; "
            f"use the version that wrote it ({config.get('version', 'unknown')}) or a later one"
        )
    return int(written)


def read(folder: Path, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """The state of a checkpoint folder, its networks loaded in place.

    Raises:
        InputError: a file is missing, damaged, or of other networks.
    """
    for name, network in networks.items():
        path = folder / f"{name}.safetensors"
        network.load_state_dict(fitting(weights(path), network, path))
    device = next((p.device for network in networks.values() for p in network.parameters()), torch.device("cpu"))
    try:
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
    except Exception as problem:  # torch gives no common type for a damaged or forbidden pickle
        raise InputError(f"{folder / 'state.pt'} cannot be resumed from: {first_line(problem)}") from problem
    if not isinstance(state, dict):
        raise InputError(f"{folder / 'state.pt'} cannot be resumed from: it holds a {type(state).__name__}")
    return state


def weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(f"{path} cannot be read as weights: {first_line(problem)}") from problem


def fitting(stored: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The weights themselves, if their names and shapes are the network's.

    Raises:
        InputError: they are not.
    """
    own = network.state_dict()
    wrong = [f"{key} is missing" for key in own.keys() - stored.keys()]
    wrong += [f"{key} is unknown" for key in stored.keys() - own.keys()]
    wrong += [
        f"{key} is {tuple(stored[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & stored.keys()
        if own[key].shape != stored[key].shape
    ]
    if wrong:
        raise InputError(f"{path} does not fit {type(network).__name__}: {'; '.join(sorted(wrong)[:3])}")
    return stored


def locate(path: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the `best` (else `last`) of a run folder.

    Where a save was cut off, or is going on, it is the whole checkpoint beside it. Nothing is changed, since a run may
    still be writing here.

    Raises:
        InputError: there is none.
    """
    for folder in (path, path / "best", path / "last"):
        for beside in (folder, *(folder.parent / f"{folder.name}.{mark}" for mark in ("ready", "old"))):
            if (beside / FUSER).is_file():
                return beside
    raise InputError(f"{path} holds no checkpoint; give a run folder or a folder with {FUSER} and config.json")


def present(path: Path) -> bool:
    """Whether a folder is meant as a checkpoint or a run, whole or not."""
    return any((path / name).exists() for name in (FUSER, "config.json", "config.yaml", "best", "last"))


def load(path: Path, trust: Sequence[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """Fuser of a checkpoint or run folder, ready for use, and its `config.json`. Nothing in the folder is executed.

    Raises:
        InputError: no checkpoint, damaged files, or a network class from outside `fuse` and the `trust`ed packages.
    """
    folder = locate(path)
    described = folder / "config.json"
    try:
        if described.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"it has more than {LARGEST_CONFIG} bytes")
        config = json.loads(described.read_text())
        known(config, folder)
        node = dict(config["fuser"])
        target = node.pop("_target_")
        nested = "_target_" in json.dumps(node)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"{described} does not say how to build its fuser: {problem!r}") from problem
    network_class = trusted_class(target, trust)
    if nested:
        raise InputError(f"{described} nests constructors in the arguments of {target}; that is refused")
    stored = weights(folder / FUSER)
    try:
        if target.startswith("fuse."):  # sizes that the file does not have are refused before memory is taken for them
            with torch.device("meta"), Undrawn():
                fitting(stored, network_class(**node), folder / FUSER)
        fuser = network_class(**node)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as problem:
        raise InputError(f"{target} of {folder} cannot be built: {first_line(problem)}") from problem
    fuser.load_state_dict(fitting(stored, fuser, folder / FUSER))
    return fuser.eval(), config


class Undrawn(TorchFunctionMode):
    """Networks are built without drawing weights: on `meta` a normal draw would import the compiler, for seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave the tensor of an initialiser as it is."""
        given = {**(kwargs or {})}
        if func is Tensor.normal_ or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def trusted_class(target: Any, trust: Sequence[str] = ()) -> type[nn.Module]:
    """The `nn.Module` class of that dotted name, only from `fuse` or a trusted package.

    What counts is the object found, not its name: a class is accepted only in the module that defines it, so no name
    reaches through one of our modules to something that it imports.

    Raises:
        InputError: any other name.
    """
    packages = ("fuse", *trust)
    refusal = InputError(
        f"the checkpoint wants to build '{target}', which is not a network of {' or '.join(packages)}; "
        f"if you know and trust its package, name it: trust=[{str(target).split('.')[0]}]"
    )
    if not isinstance(target, str) or target.split(".")[0] not in packages:
        raise refusal
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except (ImportError, ValueError) as problem:  # no such module; a name that no module can have
        raise refusal from problem
    if not (isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module_name):
        raise refusal
    return found


def digest(path: Path) -> str:
    """Twelve hex digits of the weights that are used to fuse."""
    return hashlib.sha256((locate(path) / FUSER).read_bytes()).hexdigest()[:12]


def first_line(problem: BaseException) -> str:
    """What an exception says, without the explanations that PyTorch adds below."""
    return str(problem).partition("\n")[0]
