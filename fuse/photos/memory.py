"""How much memory fusing takes, found by a small trial, and how large the tiles may be that a limit allows."""

import math
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from fuse import infer
from fuse.errors import InputError

PROGRAM = 600 * 2**20  # what the interpreter and the libraries take before any picture is there, rather more
SPARE = 1.3  # of what a trial says: workspace inside of operations, and memory that is free but in pieces
BLOCK = 16  # channels that lie together in copies that convolutions make on CPUs with AVX-512; elsewhere 8
TILES = (1024, 768, 512, 384, 256, 192, 128, 64)  # sides, of which the largest that fits is taken
OF_RULES = 512  # the largest on a CPU, where larger tensors are slower: the system hands their pages out one by one
SENSIBLE = 256  # pictures go to a file rather than that the tiles become smaller
TRIAL = (64, 128)  # sides of the pictures a trial fuses
MOST = 4 * 2**30
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class Plan(NamedTuple):
    """Side of the tiles (None: the whole picture at once), whether the pictures wait in a file, bytes at the peak."""

    tile: int | None
    spooled: bool
    peak: int


def parse(text: str) -> int:
    """Bytes that `2G`, `512 MiB`, `1.5gb` or a plain number of bytes mean; units are powers of 1024.

    Raises:
        InputError: anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise InputError(f"'{text}' is no amount of memory; write 2G, 512M or a number of bytes")
    return size


def shown(size: float) -> str:
    """Bytes in words: `3.2 GB`, where 1 GB is 1024 MB."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{-(-size // 2**20):.0f} MB"


def default_limit() -> int:
    """Half of the memory that is free now, at most 4 GB."""
    return min(MOST, available() // 2)


def available() -> int:
    """Bytes that programs can still get: what is available to Linux and its control group, else all there is."""
    free = MOST * 2
    try:
        with open("/proc/meminfo") as lines:
            told = dict(line.split(":") for line in lines)
        free = int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(most) as all_of_it, open(used) as taken:
                free = min(free, max(0, int(all_of_it.read()) - int(taken.read())))
        except (OSError, ValueError):
            continue
    return free


def plan(
    fuser: nn.Module,
    count: int,
    height: int,
    width: int,
    channels: int,
    depth: torch.dtype,
    limit: int,
    masked: bool = False,
    device: torch.device | str = "cpu",
    others: Mapping[str, Callable[[], nn.Module]] | None = None,
) -> Plan:
    """How `count` pictures of `channels` (1 or 3) can be fused within `limit` bytes of memory, decoding included.

    Pictures stay in memory where tiles of 256 pixels still fit beside them, else they wait in a file. `masked`: they
    come with masks of what is valid. `others`: methods to name if it cannot be (None: the rules). On a GPU tiles take
    its own memory, of which they may have four fifths of what is free.

    Raises:
        InputError: not even the smallest tiles fit, or a method that must see the whole picture does not, or there is
            no room for the file.
    """
    facts, pixels = infer.traits(fuser), height * width
    frame = pixels * (channels * depth.itemsize + masked)
    result = pixels * (channels * depth.itemsize + (1 if count <= 256 else 2))
    each = cost(fuser, count, channels, depth, device)
    margin = None if facts.margin is None or facts.resizes else margin_of(fuser, infer.FOLLOWS)

    gpu = torch.device(device).type == "cuda"
    room = 0.8 * torch.cuda.mem_get_info(device)[0] if gpu else math.inf

    def window(side: int | None) -> int:
        return count * (pixels if side is None or margin is None else min(pixels, (side + 2 * margin) ** 2))

    def needed(side: int | None, spooled: bool) -> int:
        held = 0 if spooled else count * frame
        work = window(side) * ((0 if gpu else each) + spooled * channels * depth.itemsize)
        decoding = 3 * frame  # the file, its pixels as decoded, and put in order
        return int(PROGRAM + max(held + decoding, held + result + work, result + decoding))

    most = TILES[0] if gpu or trained(fuser) else OF_RULES
    sides = [None] if margin is None else [on(side, facts.multiple) for side in TILES if side <= most]
    kept = [side for side in sides if gpu or side is None or side >= min(SENSIBLE, max(height, width))]
    choices = [(side, False) for side in kept] + [(side, True) for side in sides]
    for side, spooled in choices:
        if (peak := needed(side, spooled)) <= limit and window(side) * each <= room:
            if spooled:
                room_for(count * frame)
            return Plan(side, spooled, peak)
    least = min(needed(*choice) for choice in choices)
    what = f"{count} pictures of {width}x{height} by {type(fuser).__name__}"
    if margin is None:
        why = f", which sees the whole picture at once{f' ({facts.everywhere})' if facts.everywhere else ''},"
    else:
        why = f" in tiles of {sides[-1]} pixels"
    if window(sides[-1]) * each > room:
        raise InputError(
            f"{what}{why} needs {shown(window(sides[-1]) * each)} on the GPU, which has {shown(room)} to spare; "
            "use the CPU, or another method"
        )
    raise InputError(
        f"{what}{why} needs {shown(least)} of memory, {shown(limit)} are allowed; allow more"
        + able(count, height, width, channels, depth, limit, masked, others)
    )


def able(
    count: int,
    height: int,
    width: int,
    channels: int,
    depth: torch.dtype,
    limit: int,
    masked: bool,
    others: Mapping[str, Callable[[], nn.Module]] | None,
) -> str:
    """The end of the message: which methods can do it within the limit."""
    if others is None:
        from fuse.methods import RULES  # here, since that knows every method

        others = RULES
    if not others:
        return ""
    can = []
    for name, make in others.items():
        if infer.traits(fuser := make()).margin is not None:  # the others need more than any that is local
            with suppress(InputError):
                plan(fuser, count, height, width, channels, depth, limit, masked, others={})
                can.append(name)
    return f", or choose a method that can: {', '.join(can)}" if can else "; no rule can do with less"


def margin_of(fuser: nn.Module, more: int = 0) -> int:
    """Margin of a fuser that is local, and so much more, as a multiple of what its tiles must begin at.

    Of networks also of 32: convolutions handle so many pixels of a row together, and round alike only where these
    begin at the same places as in the whole picture.
    """
    return on((infer.traits(fuser).margin or 0) + more, grid(fuser))


def grid(fuser: nn.Module) -> int:
    """What the places are multiples of at which its tiles may begin."""
    return math.lcm(infer.traits(fuser).multiple, 32 if trained(fuser) else 1)


def trained(fuser: nn.Module) -> bool:
    """Whether it is a network and no rule."""
    return any(True for _ in fuser.parameters())


def on(side: int, multiple: int) -> int:
    """The next multiple."""
    return -(-side // multiple) * multiple


def room_for(size: int) -> None:
    """
    Raises:
        InputError: the folder for temporary files has not that much room.
    """
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < size:
        raise InputError(
            f"the pictures need {shown(size)} in {folder} meanwhile, which has {shown(free)}; allow more memory, or "
            "set TMPDIR to a folder with more room"
        )


def cost(fuser: nn.Module, count: int, channels: int, depth: torch.dtype, device: torch.device | str = "cpu") -> float:
    """Bytes of memory per pixel and source that a fuser takes at its peak, by what two small trials differ in."""
    few = min(count, 8)
    small, large = (on(side, infer.traits(fuser).multiple) for side in TRIAL)
    peaks = [peak_of(trial(fuser, few, channels, depth, side, device)) for side in (small, large)]
    return SPARE * (peaks[1] - peaks[0]) / (large**2 - small**2) / few


def trial(
    fuser: nn.Module, count: int, channels: int, depth: torch.dtype, side: int, device: torch.device | str
) -> Callable[[], object]:
    """What fuses noise."""
    from fuse.photos import stack  # which plans by this module

    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, 1, channels, side, side, generator=generator)
    white = 1.0 if depth.is_floating_point else float(torch.iinfo(depth).max)
    stored = [(x * white).to(depth).to(device) for x in noise]
    return partial(stack.piece, fuser, stored, white, "mix", channels == 3, want_map=True)


class Watch(TorchFunctionMode):
    """Counts the bytes of all tensors that calls of PyTorch return while they are alive, and of the copies that
    convolutions make meanwhile of what goes in and out, and remembers the most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.users: dict[int, int] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor):
                self.count(tensor)
        if func in (F.conv2d, F.conv_transpose2d):
            self.peak = max(self.peak, self.alive + blocked(args[0]) + blocked(made))
        return made

    def count(self, tensor: Tensor) -> None:
        """One more tensor in its storage."""
        place, size = tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes()
        if place not in self.users:
            self.users[place] = 0
            self.alive += size
            self.peak = max(self.peak, self.alive)
        self.users[place] += 1
        weakref.finalize(tensor, self.forget, place, size)

    def forget(self, place: int, size: int) -> None:
        """One less; with the last the storage is free again."""
        self.users[place] -= 1
        if not self.users[place]:
            del self.users[place]
            self.alive -= size


def blocked(x: Tensor) -> int:
    """Bytes of a copy of `(b, c, h, w)` in which channels lie together in blocks."""
    return x.nbytes // x.shape[-3] * on(x.shape[-3], BLOCK)


def peak_of(run: Callable[[], object]) -> int:
    """Bytes of tensors alive at the most while something runs, and of copies that convolutions make."""
    with torch.inference_mode(), Watch() as watch:
        run()
    return watch.peak
