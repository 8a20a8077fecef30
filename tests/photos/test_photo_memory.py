"""A large picture is never copied more than twice beside itself."""

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
