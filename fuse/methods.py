"""What can be judged: a rule, a checkpoint, a folder of pictures that somebody fused; and the trivial rows."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn

from fuse import checkpoint, infer, shipped
from fuse.config import near
from fuse.data import io
from fuse.data.sample import Sample, enlarged
from fuse.errors import InputError
from fuse.models.average import Average, Maximum
from fuse.models.dctvar import DctVar
from fuse.models.dsift import Dsift
from fuse.models.gaussian import Gaussian
from fuse.models.gff import Gff
from fuse.models.maskblend import MaskBlend
from fuse.models.mertens import Mertens
from fuse.models.pyramid import Contrast, Laplacian
from fuse.models.structure import Structure
from fuse.models.wavelet import Dwt, Swt

RULES: dict[str, type[nn.Module]] = {
    "average": Average,
    "maximum": Maximum,
    "gaussian": Gaussian,
    "laplacian": Laplacian,
    "contrast": Contrast,
    "maskblend": MaskBlend,
    "dwt": Dwt,
    "swt": Swt,
    "gff": Gff,
    "dctvar": DctVar,
    "dsift": Dsift,
    "structure": Structure,
    "mertens": Mertens,
}


class Method(NamedTuple):
    """A way to get a fused picture `(1, c, h, w)`, as stored, of a sample; `facts` say what it is."""

    name: str
    fuse: Callable[[Sample], Tensor]
    facts: Mapping[str, Any]


def fuser(given: str, device: torch.device, trust: Sequence[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The rule or shipped network of that name, or the network of a checkpoint or run folder, and what it is.

    `NAME@0.25` is `NAME` with that balance.

    Raises:
        InputError: none of these, or a balance that cannot be.
    """
    if (asked := re.fullmatch(r"(.+)@(\d*\.?\d+)", given)) and not os.path.exists(given):
        found, facts = fuser(asked[1], device, trust)
        balance(found, asked[1], float(asked[2]))
        return found, facts | {"balance": float(asked[2])}
    if given in RULES:
        return RULES[given]().to(device), {"kind": "rule"}
    if given in shipped.names():
        found, card = checkpoint.load(path := shipped.folder(given))
        return found.to(device), {"kind": "shipped", "weights": checkpoint.digest(path), "step": card.get("step")}
    path = Path(given).expanduser()
    if not path.is_dir():
        known = [*shipped.names(), *RULES]
        raise InputError(f"method '{given}' is neither a rule, a shipped network nor a folder; {near(given, known)}")
    found, card = checkpoint.load(path, trust)
    facts = {"kind": "checkpoint", "path": str(path), "weights": checkpoint.digest(path), "step": card.get("step")}
    if told := recipe(path):
        facts["recipe"] = f"{type(found).__name__} {told}"
    return found.to(device), facts


def balance(fuser: nn.Module, name: str, share: float) -> None:
    """Set the balance of a fuser that has one to set.

    Raises:
        InputError: it has none, or `share` is outside [0, 1].
    """
    if not hasattr(fuser, "balance"):
        raise InputError(
            f"{name} has no balance to set, so {share:g} means nothing to it; thermal and medical have one, and so has "
            "what is trained with model=conditional"
        )
    if not 0 <= share <= 1:
        raise InputError(f"a balance of {share:g} for {name}: must be from 0 to 1")
    vars(fuser)["balance"] = share


def recipe(run_folder: Path) -> str | None:
    """Eight hex digits of all that made a run's weights but the seed and the machine; None if it is no run folder."""
    try:
        cfg = yaml.safe_load((run_folder / "config.yaml").read_text())
        told = {group: cfg[group] for group in ("model", "loss", "optim", "data")}
        told["run"] = {name: cfg["run"][name] for name in ("steps", "ema", "val_every", "objective")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None


def resolve(given: str, device: torch.device, tile: int | None = None, trust: Sequence[str] = ()) -> Method:
    """The method that a word on the command line means: a rule or shipped network, a checkpoint or run folder, a folder
    of pictures.

    Raises:
        InputError: none of these, or a folder that holds neither.
    """
    path, bare = Path(given).expanduser(), given.partition("@")[0]
    named = bare in RULES or bare in shipped.names()
    if not named and path.is_dir() and not checkpoint.present(path):
        return folder(label(path), path)
    found, facts = fuser(given, device, trust)
    return network(given if named else label(path), found, facts, tile, device)


def label(path: Path) -> str:
    """Row name of a folder: its last two parts, which tell runs apart."""
    return "-".join(path.resolve().parts[-2:])


def network(
    name: str,
    fuser: nn.Module,
    facts: Mapping[str, Any],
    tile: int | None = None,
    device: torch.device | None = None,
) -> Method:
    """A fuser as a method, computed on a device; its facts gain class and number of parameters."""
    parameters = sum(p.numel() for p in fuser.parameters())
    facts = {**facts, "class": type(fuser).__name__, "parameters": parameters}
    return Method(name, lambda sample: infer.fuse(fuser.eval(), sample.sources, tile, device), facts)


def folder(name: str, path: Path) -> Method:
    """Pictures somebody else fused, looked up by the stem of the sample, alone or followed by `_` or `-` and a word.

    Raises:
        InputError: the folder has no pictures.
    """
    pictures = io.pictures(path)
    if not pictures:
        raise InputError(f"{path} holds neither a checkpoint nor pictures ({', '.join(io.SUFFIXES)})")

    def fetch(sample: Sample) -> Tensor:
        stem = sample.names[0]
        found = [key for key in pictures if key == stem] or [
            key for key in pictures if key.startswith((f"{stem}_", f"{stem}-"))
        ]
        if len(found) != 1:
            raise InputError(f"{path} has {len(found)} pictures for '{stem}'; exactly one must bear that stem")
        picture = io.read(pictures[found[0]])[None]
        size, wanted = picture.shape[-2:], enlarged(sample).sources[0].shape[-2:]
        if size != wanted:
            raise InputError(
                f"{pictures[found[0]]} is {size[1]}x{size[0]} but its sources are {wanted[1]}x{wanted[0]}; "
                "a resized result cannot be scored"
            )
        return picture

    return Method(name, fetch, {"kind": "folder", "path": str(path), "pictures": len(pictures)})


def trivial(roles: Sequence[str]) -> list[Method]:
    """Rows that no method should lose to: copies of the sources, average, maximum, stretched and noisy average."""
    rules = [network(name, RULES[name](), {"kind": "trivial"}) for name in ("average", "maximum")]
    average = rules[0].fuse
    copies = [Method(f"copy-{role}", methodcaller("role", role), {"kind": "trivial"}) for role in roles]
    rows = [
        *copies,
        *rules,
        Method("stretched-average", lambda sample: stretched(average(sample)), {"kind": "trivial"}),
        Method("noisy-average", lambda sample: noisy(average(sample), sample.names[0]), {"kind": "trivial"}),
    ]
    return [row._replace(fuse=partial(of_equal_size, row.fuse)) for row in rows]


def of_equal_size(fuse: Callable[[Sample], Tensor], sample: Sample) -> Tensor:
    """The result for sources brought to one size, where they differ."""
    return fuse(enlarged(sample))


def stretched(picture: Tensor) -> Tensor:
    """Levels spread so that the darkest becomes 0 and the brightest the largest of the depth."""
    full, levels = torch.iinfo(picture.dtype).max, picture.float()
    low, high = levels.min(), levels.max()
    return ((levels - low) * (full / (high - low).clamp_min(1))).round().to(picture.dtype)


def noisy(picture: Tensor, name: str) -> Tensor:
    """Grey noise of deviation 10/255 added; the same for the same name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    full = torch.iinfo(picture.dtype).max
    noise = torch.randn(picture.shape[-2:], generator=torch.Generator().manual_seed(seed)) * (10 / 255 * full)
    return (picture.float() + noise).round().clamp(0, full).to(picture.dtype)
