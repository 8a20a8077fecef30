"""Freed memory between PyTorch and the system, where glibc manages it: kept for the next picture, or given back.

Elsewhere neither does anything.
"""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's names for them
LARGEST = 2**25  # bytes of a block that can be kept; the largest that glibc allows
MOST = 2**29  # bytes that are kept
NOT_GLIBC = OSError, AttributeError, TypeError


def keep() -> None:
    """Keep what is freed, up to half a gigabyte: else the system clears every page of every tensor anew.

    Judging takes a tenth to a fifth less time so (scripts/bench/heap).
    """
    with suppress(*NOT_GLIBC):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, LARGEST)
        library.mallopt(TRIM_THRESHOLD, MOST)


def give_back() -> None:
    """Return to the system what was freed, also from between what is still held.

    What a tile leaves lies in pieces that do not fit what the next one asks for, so a run of many outgrows its plan.
    """
    with suppress(*NOT_GLIBC):
        ctypes.CDLL(None).malloc_trim(0)
