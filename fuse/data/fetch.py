"""Fetches a data set by its manifest, file by file, with pooch: what is there and right is left alone."""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from fuse.data.manifest import Entry
from fuse.errors import InputError

BASE = "https://raw.githubusercontent.com"
RETRIES = 2  # after the first attempt; pooch waits 1, then 2 seconds
PATIENCE = 60  # seconds: the longest wait that a server's Retry-After is given
GIVE_UP = 3  # files in a row whose server cannot be reached


class Refused(Exception):
    """The server answered, and asking again would not change the answer."""


def fetch(
    entries: Sequence[Entry], folder: Path, base: str = BASE, advance: Callable[[int], None] = lambda done: None
) -> list[str]:
    """Put every file of a manifest into the folder of its set, under its name only once its SHA-256 is right.

    Returns what failed and why. `advance` is told the bytes of each file that is done. A file that is there with other
    bytes is replaced; one of another ending in its place is left, and named among the failures.

    Raises:
        InputError: the folder cannot be written to.
    """
    failures: list[str] = []
    unreachable = 0
    for number, entry in enumerate(entries):
        if unreachable == GIVE_UP:
            failures.append(f"{len(entries) - number} more were not tried, since {base} cannot be reached")
            break
        why = None if right(folder / entry.place, entry) else one(entry, folder, base)
        if why:
            failures.append(f"{entry.place}: {why}")
        unreachable = unreachable + 1 if why and why.startswith("cannot be reached") else 0
        advance(entry.bytes)
    for place in (*{(folder / entry.place).parent for entry in entries}, folder):
        with suppress(OSError):  # not there, or not empty
            place.rmdir()
    return failures


def right(path: Path, entry: Entry) -> bool:
    """Whether a file is there as its manifest says."""
    return (
        path.is_file()
        and path.stat().st_size == entry.bytes
        and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    )


def in_the_way(path: Path) -> Path | None:
    """A file of the same stem and another ending, which would make the stem ambiguous."""
    others = path.parent.iterdir() if path.parent.is_dir() else ()
    return next((other for other in others if other.stem == path.stem and other.name != path.name), None)


def one(entry: Entry, folder: Path, base: str) -> str | None:
    """Fetch one file; why not, if it failed.

    Raises:
        InputError: the folder cannot be written to.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    if other := in_the_way(folder / entry.place):
        return f"{other} is in its place; move it away"
    store = pooch.create(
        path=folder,
        base_url="",
        registry={entry.place: f"sha256:{entry.sha256}"},
        urls={entry.place: entry.url(base)},
        retry_if_failed=RETRIES,
    )
    try:
        store.fetch(entry.place, downloader=polite)
    except Refused as problem:
        return str(problem)
    except requests.exceptions.HTTPError as problem:
        return f"the server answered {status(problem)}"
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as problem:
        reason = type(problem).__name__
        return f"broken off ({reason})" if "IncompleteRead" in str(problem) else f"cannot be reached ({reason})"
    except requests.exceptions.RequestException as problem:  # a body shorter than it promised, for one
        return f"broken off ({type(problem).__name__})"
    except ValueError:  # what pooch raises at another hash
        return "came with other bytes than the manifest says"
    except OSError as problem:
        raise InputError(f"{folder} cannot be written to: {problem.strerror}") from problem
    return None


def status(problem: Any) -> int:
    """The number that a server answered with, 0 if it gave none."""
    return 0 if problem.response is None else problem.response.status_code


def polite(url: str, output: str | IO[bytes], store: Any) -> None:
    """Download for pooch; waits as long as a busy server asks, and does not ask again for what is not there.

    Raises:
        Refused: the file is not there or may not be had.
    """
    import pooch
    import requests

    try:
        pooch.HTTPDownloader(timeout=30, headers={"User-Agent": "fuse-imaging"})(url, output, store)
    except requests.exceptions.HTTPError as problem:
        if status(problem) in (401, 403, 404, 410, 451):
            raise Refused(f"the server answered {status(problem)}") from problem
        asked = problem.response.headers.get("Retry-After", "") if problem.response is not None else ""
        if asked.isdigit():
            time.sleep(min(int(asked), PATIENCE))
        raise


def show(entries: Sequence[Entry]) -> "tqdm[Any]":
    """A progress bar over the bytes of a set, on a terminal only."""
    return tqdm(total=sum(entry.bytes for entry in entries), unit="B", unit_scale=True, disable=None)
