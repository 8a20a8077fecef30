"""What scripts/leaderboard measures beside quality: time, memory, operations, and what the order of sources changes."""

import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from fuse import catalog, infer, methods
from fuse.config import CONF, build
from fuse.data import color, io
from fuse.data.sample import Sample, Split
from fuse.errors import InputError

CHILD = Path(__file__).parent / "bench" / "infer_child.py"  # which scripts/bench/infer measures with
CPU = torch.device("cpu")
HEIGHT, WIDTH, TURNS = 480, 640, 3
THREADS = os.environ.get("OMP_NUM_THREADS", "1")
NOISE = 0.01  # grey levels; a smaller mean difference could come of rounding on another machine or thread


class Costs(NamedTuple):
    """None: not measured, or nothing to measure.

    `seconds` of the processor for two colour pictures of 640x480, `bytes` they take at the most beyond what the process
    held with network and pictures in memory, `gflop` of convolutions and matrix products (rules have none), `order`:
    mean of |F(a, b) - F(b, a)| in grey levels.
    """

    seconds: float | None = None
    bytes: float | None = None
    gflop: float | None = None
    order: float | None = None


def costs(given: str, name: str, board: Path, stem: str, folder: Path) -> Costs:
    """Of a rule, a shipped network or a run folder; measured once for all boards, `order` on each anew.

    `name`: of its row; `board`: the folder that fuse-eval judged; `folder` keeps what was measured.
    """
    fuser, facts = methods.fuser(given, CPU)
    of = {"weights": facts.get("weights") or written(fuser), "balance": facts.get("balance")}
    once = kept(
        folder / f"{name}-{WIDTH}x{HEIGHT}.json",
        of | {"threads": THREADS},
        lambda: use(given) | {"gflop": None if facts["kind"] == "rule" else catalog.tried(fuser)[0]},
    )
    data = json.loads((board / "evaluation.json").read_text())["data"]
    exchanged = kept(
        folder / f"{name}-{data['name']}-{stem}.json",
        of | {"pictures": data["identity"]},
        lambda: {"order": order(given, sample(data["name"], stem), board / "fused" / name / f"{stem}.png")},
    )
    return Costs(**once, **exchanged)


def written(rule: nn.Module) -> str:
    """Twelve hex digits of the module that a rule is written in: what it has in place of weights."""
    return hashlib.sha256(inspect.getsource(sys.modules[type(rule).__module__]).encode()).hexdigest()[:12]


def kept(path: Path, of: dict[str, Any], measure: Callable[[], dict[str, float | None]]) -> dict[str, float | None]:
    """What `path` holds if that was measured of the same, else what `measure` returns, which `path` then holds."""
    try:
        held = json.loads(path.read_text())
        if held["of"] == of:
            return {key: value if value is None else float(value) for key, value in held["found"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # none yet, or no longer readable
    print(f"measuring {path.stem}", file=sys.stderr, flush=True)
    found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_bytes(path, json.dumps({"found": found, "of": of}, indent=1).encode())
    return found


def use(given: str) -> dict[str, float | None]:
    """`seconds` and `bytes`, in a process of its own; neither if that could not fuse."""
    asked = {"method": given, "way": "ours", "height": HEIGHT, "width": WIDTH, "turns": TURNS}
    words = [sys.executable, str(CHILD), "peak", json.dumps(asked)]
    done = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": THREADS}, stdout=subprocess.PIPE, text=True)
    found = {} if done.returncode else json.loads(done.stdout.splitlines()[-1])
    return {key: found.get(key) for key in ("seconds", "bytes")}


def sample(data: str, stem: str) -> Sample:
    """One pair of a set of `conf/data/`."""
    node: Any = OmegaConf.to_container(OmegaConf.load(Path(CONF, "data", f"{data}.yaml")))
    node = node.get("data", node)
    node["splits"]["leaderboard"] = [stem]
    return Split(build(node), "leaderboard")[0]


def order(given: str, pair: Sample, stored: Path) -> float | None:
    """Mean over all pixels of |F(a, b) - F(b, a)|, both of 8 bits, in luma of 0..255; None if it cannot fuse them.

    F(a, b) is the `stored` picture, which takes half the time; where little differs it is made anew, for what one
    machine rounds up another rounds down, and 0 must mean 0.
    """
    fuser = methods.fuser(given, CPU)[0].eval()
    try:
        back = fused(fuser, pair.sources[::-1])
        if stored.exists():
            found = apart(io.read(stored)[None], back)
            if found == 0 or found > NOISE:
                return found
        return apart(fused(fuser, pair.sources), back)
    except InputError as problem:
        print(f"{given}: {problem}", file=sys.stderr)
        return None


def fused(fuser: nn.Module, sources: Sequence[Tensor]) -> Tensor:
    return infer.fuse(fuser, list(sources))


def apart(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two stored pictures `(1, c, h, w)` in luma."""
    return float((color.grey_levels(one) - color.grey_levels(other)).abs().mean())
