"""Freed memory stays where it is kept, and goes back where it is given back."""

import platform
import subprocess
import sys

import pytest

from fuse import heap

TRIED = """
import sys, numpy
from pathlib import Path
from fuse import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if sys.argv[1] == "keep":
    heap.keep()
numpy.ones(2**19)  # makes glibc's own limit move, as any picture does
before = resident()
held = [numpy.ones(2**21) for _ in range(20)]  # 16 MB each
last = numpy.ones(1)
del held
kept = resident() - before
heap.give_back()
print(kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc manages memory so")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    kept, usual = (
        [
            int(word)
            for word in subprocess.run(
                [sys.executable, "-c", TRIED, way], capture_output=True, check=True
            ).stdout.split()
        ]
        for way in ("keep", "usual")
    )
    assert kept[0] > 300 > usual[0]
    assert kept[1] < 40


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    heap.keep()
    heap.give_back()
