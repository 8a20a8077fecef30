"""Large pictures are never copied more than twice beside themselves, and tiles take no more than a plan says."""

import subprocess
import sys
from pathlib import Path

import pytest

PEAK = Path("/proc/self/clear_refs")
SIDE = 3000
MEASURE = """
import sys, torch
from pathlib import Path
from fuse.photos import photo

def kept(word):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(word))

def begin():
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    return kept("VmRSS")

small = photo.Photo(torch.zeros(3, 8, 8, dtype=torch.uint8), None, photo.Stored(".png"))
row = (torch.arange(SIDE * 3) % 251).to(torch.uint8).reshape(3, 1, SIDE)
pixels = (row + (torch.arange(SIDE) // 7 % 256).to(torch.uint8).reshape(1, SIDE, 1)).contiguous()
for suffix in (".png", ".jpg", ".tif", ".bmp"):
    path = Path(sys.argv[1]) / f"a{suffix}"
    photo.write(path, small); photo.read(path)  # what the libraries need once
    before = begin()
    photo.write(path, small._replace(pixels=pixels))
    wrote = kept("VmHWM") - before
    before = begin()
    back = photo.read(path)
    print(suffix, wrote, kept("VmHWM") - before)
    del back
"""


@pytest.mark.skipif(not PEAK.exists(), reason="needs Linux to measure")
def test_copies(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MEASURE.replace("SIDE", str(SIDE)), str(tmp_path)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 4
    whole = 3 * SIDE * SIDE
    for line in lines:
        suffix, wrote, read = line.split()
        assert int(wrote) <= 2 * whole, suffix
        assert int(read) <= 3 * whole, suffix  # the picture itself and two more


TILES = """
import sys, torch
from pathlib import Path
from fuse import methods
from fuse.photos import memory, stack
from fuse.photos.frames import Frames

network = methods.fuser(sys.argv[1], torch.device("cpu"))[0].eval()
torch.set_num_threads(1)
limit = 1100 * 2**20
plan = memory.plan(network, 2, 1000, 1500, 1, torch.uint8, limit)
with Frames(plan.spooled) as frames:
    for seed in range(2):
        noise = torch.rand(1, 1000, 1500, generator=torch.Generator().manual_seed(seed))
        frames.add((255 * noise).to(torch.uint8))
    stack.fuse_frames(network, frames, limit, plan=plan, want_map=True)
lines = Path("/proc/self/status").read_text().splitlines()
print(plan.tile, limit, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow  # half a minute: small tiles of networks that see far
@pytest.mark.skipif(not PEAK.exists(), reason="needs Linux to measure")
@pytest.mark.parametrize("name", ["thermal", "focus"])
def test_a_network_in_many_tiles_stays_below_the_limit(name: str) -> None:
    words = [sys.executable, "-c", TILES, name]
    tile, limit, peak = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert tile < 1024
    assert peak <= limit
