"""The processes that `scripts/bench/infer` starts; each prints what it measured as JSON."""

import contextlib
import io as text
import itertools
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fuse import checkpoint, infer
from fuse.config import CONF, build
from fuse.data import io
from fuse.judge import ahead
from fuse.methods import RULES, fuser
from fuse.shipped import names

BATCH = 4


def peak() -> int:
    """Bytes this process has had in memory at the most.

    On Linux not by `getrusage`, which begins with what the process that started this one had.
    """
    with contextlib.suppress(OSError, StopIteration):
        told = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in told if line.startswith("VmHWM:")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def made(method: str) -> nn.Module:
    """A rule, a shipped network, that of a run folder, or a network of `conf/model/` with random weights."""
    bare = method.partition("@")[0]
    if bare in (*RULES, *names()) or checkpoint.present(Path(bare)):
        return fuser(method, torch.device("cpu"))[0].eval()
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    with initialize_config_dir(CONF, version_base="1.3"):
        node = OmegaConf.to_container(compose("train", [f"model={method}"]).model.fuser, resolve=True)
    return build(node).eval()


def scenes(height: int, width: int, pictures: int, sources: int) -> list[list[Tensor]]:
    """Per scene some RGB pictures `(1, 3, h, w)` of 8 bits: structure of several sizes, sharp in one band each."""
    noise, found = np.random.default_rng(0), []
    for _ in range(pictures):
        small = noise.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        scene = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        soft, edges = cv2.GaussianBlur(scene, (0, 0), 3), np.linspace(0, width, sources + 1).astype(int)
        stack = []
        for left, right in itertools.pairwise(edges):
            picture = soft.copy()
            picture[:, left:right] = scene[:, left:right]
            stack.append(torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous())
        found.append(stack)
    return found


def eager(network: nn.Module, stack: list[Tensor]) -> Tensor:
    """The yardstick: the network on float32 of the whole pictures."""
    rgb = infer.traits(network).channels == 3
    with torch.inference_mode():
        return network(*(x.float() / 255 if rgb else grey(x) for x in stack))


def grey(stored: Tensor) -> Tensor:
    red, green, blue = (stored.float() / 255).split(1, 1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def processor(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def times(method: str, height: int, width: int, turns: int, pictures: int = 1, sources: int = 2) -> dict[str, float]:
    """Median processor seconds of ours and of the yardstick, in turns."""
    network, given = made(method), scenes(height, width, pictures, sources)
    ways = {"ours": lambda: [infer.fuse(network, stack) for stack in given]}
    if (pictures, sources) == (1, 2):
        ways["eager"] = lambda: [eager(network, stack) for stack in given]
    taken = [{way: processor(call) for way, call in ways.items()} for _ in range(turns + 1)][1:]
    return {way: statistics.median(turn[way] for turn in taken) for way in ways}


def most(
    method: str, way: str, height: int, width: int, pictures: int = 1, sources: int = 2, turns: int = 1
) -> dict[str, float]:
    """Bytes beyond what the process had with pictures and network in memory, at the most, and processor seconds.

    The shortest of `turns`, unless the first takes two seconds or more; bytes are of the first.
    """
    network, given = made(method), scenes(height, width, pictures, sources)
    call = infer.fuse if way == "ours" else eager
    call(network, [x[..., :64, :64] for x in given[0]])  # what libraries set up once
    with contextlib.suppress(OSError):  # Linux forgets the peak of imports, which small pictures would hide below
        Path("/proc/self/clear_refs").write_text("5")

    def once() -> float:
        return processor(lambda: [call(network, stack) for stack in given])

    before = peak()
    taken, size = [once()], peak() - before
    while len(taken) < turns and taken[0] < 2:
        taken.append(once())
    return {"bytes": size, "seconds": min(taken)}


def pairs(folder: str, count: int) -> dict[str, float]:
    """Write pairs into `near/` and `far/`."""
    for number, stack in enumerate(scenes(480, 640, count, 2)):
        for role, picture in zip(("near", "far"), stack, strict=True):
            io.write(Path(folder, role, f"{number:02d}.png"), picture[0])
    return {}


def folder(folder: str, way: str, turns: int) -> dict[str, float]:
    """Median processor and wall seconds of a folder of pairs, and the peak of the whole process."""
    from fuse import app

    root, network = Path(folder), made("focus")
    roles = [[root / role / path.name for role in ("near", "far")] for path in sorted((root / "near").iterdir())]
    (root / "out").mkdir(exist_ok=True)

    def read(paths: list[Path]) -> list[Tensor]:
        return [torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)[None] for path in paths]

    def mixed(weights: Tensor, stack: list[Tensor]) -> Tensor:
        fused = sum(weights[:, i : i + 1] * x.float() for i, x in enumerate(stack))
        return fused.round().clamp(0, 255).byte()

    def write(picture: Tensor, path: Path) -> None:
        cv2.imwrite(str(root / "out" / path.name), picture.permute(1, 2, 0).contiguous().numpy())

    def loop() -> None:
        for paths in roles:
            stack = read(paths)
            write(mixed(eager(network, stack), stack)[0], paths[0])

    def batched() -> None:
        for first in range(0, len(roles), BATCH):
            some = roles[first : first + BATCH]
            stack = [torch.cat(x) for x in zip(*map(read, some), strict=True)]
            for picture, paths in zip(mixed(eager(network, stack), stack), some, strict=True):
                write(picture, paths[0])

    def stored() -> Iterator[tuple[list[Tensor], Path]]:
        for paths in roles:
            yield [io.read(path)[None] for path in paths], paths[0]

    def one_by_one() -> None:
        for stack, path in stored():
            io.write(root / "out" / path.name, infer.fuse(network, stack)[0])

    def overlapped() -> None:
        with ThreadPoolExecutor(1) as writer:
            waiting = [
                writer.submit(io.write, root / "out" / path.name, infer.fuse(network, stack)[0])
                for stack, path in ahead(stored())
            ]
        for one in waiting:
            one.result()

    def command(*more: str) -> None:
        words = [str(root / "near"), str(root / "far"), "-o", str(root / "out"), "--method", "focus", *more]
        with contextlib.redirect_stdout(text.StringIO()), contextlib.redirect_stderr(text.StringIO()):
            app.main(words)

    ways: dict[str, Callable[[], None]] = {
        "loop": loop,
        "batched": batched,
        "infer": one_by_one,
        "ahead": overlapped,
        "command": lambda: command("--align", "off"),
        "measuring": command,
    }
    taken = []
    for _ in range(turns + 1):
        begun, worked = time.perf_counter(), processor(ways[way])
        taken.append((worked, time.perf_counter() - begun))
    middle = [statistics.median(column) for column in zip(*taken[1:], strict=True)]
    return {"processor": middle[0], "wall": middle[1], "bytes": peak()}


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    doing = {"times": times, "peak": most, "pairs": pairs, "folder": folder}[sys.argv[1]]
    print(json.dumps(doing(**json.loads(sys.argv[2]))))
