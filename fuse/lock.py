"""One process at a time in a run folder."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuse.errors import InputError

log = logging.getLogger(__name__)
NAME = "run.lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; `run.lock` in it says who does, and goes when the lock goes.

    The lock is the system's (`flock`), so it ends with the process, however that ends: a file that a killed process
    left behind stops nobody. Linux hands it on to the server of a network file system, where it holds between machines;
    where a file system or a system has no such locks, a warning says that nothing is guarded.

    Raises:
        InputError: another process holds it.
    """
    file = taken(folder / NAME)
    try:
        yield
    finally:
        if file is not None:
            (folder / NAME).unlink(missing_ok=True)  # before the lock goes, so that nobody's but ours is taken away
            os.close(file)


def taken(path: Path) -> int | None:
    """The locked file, open; None where there are no locks.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        log.warning("%s: this system has no flock; take care that no second run writes here", path.parent)
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holder = os.pread(file, 1000, 0).decode(errors="replace").strip()
            os.close(file)
            raise InputError(
                f"another run is writing to {path.parent}: {holder or 'just begun'}; wait for it, end it, or name "
                f"another run.dir"
            ) from problem
        except OSError as problem:
            os.close(file)
            path.unlink(missing_ok=True)
            log.warning(
                "%s lies on a file system without locks (%s); take care that no second run writes here",
                path.parent,
                problem.strerror,
            )
            return None
        if same(file, path):
            break
        os.close(file)  # its holder took it away between our opening and our locking it
    os.ftruncate(file, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode(), 0)
    return file


def same(file: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), named)
