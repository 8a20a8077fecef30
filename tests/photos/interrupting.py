"""Runs `fuse` over and over in forked processes, each of which sends itself a signal at another moment.

python interrupting.py SIGINT,SIGTERM FOLDER WORDS...    one line of JSON for each run
FOLDER is copied for each run, which takes place in the copy.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOUCHING = ("open", "replace", "rename", "unlink", "mkdir", "write", "write_bytes", "fsync", "flush", "close", "link")
EVENLY = 8  # moments, besides those at which files are touched
AT_MOST = 12  # of the latter


def watched(stop_at: int | None, number: int, seen: list[int]) -> Callable[[Any, str, Any], None]:
    """A profiler that counts calls, notes those that touch files, and sends the signal at one of them."""
    count = 0

    def profile(frame: Any, event: str, called: Any) -> None:
        nonlocal count
        count += 1
        name = called.__name__ if event.startswith("c_") else frame.f_code.co_name
        if name in TOUCHING:
            seen.append(count)
        seen[0] = count
        if count == stop_at:
            os.kill(os.getpid(), number)

    return profile


def run(folder: Path, words: list[str], stop_at: int | None, number: int) -> dict[str, Any]:
    """One run in a forked process: its exit code, what it said, the calls counted."""
    from fuse.app import main

    told, said = folder.with_suffix(".told"), folder.with_suffix(".said")
    told.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code, seen = 0, [0]
        os.chdir(folder)
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            sys.setprofile(watched(stop_at, number, seen))
            main(words)
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            sys.setprofile(None)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        told.write_text(json.dumps(seen))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    seen = json.loads(told.read_text()) if told.exists() else [0]
    return {"code": os.waitstatus_to_exitcode(status), "said": said.read_text(errors="replace"), "seen": seen}


def main() -> None:
    names, given, words = sys.argv[1].split(","), Path(sys.argv[2]), sys.argv[4:]
    told = Path(sys.argv[3])
    import torch

    from fuse.app import main as fuse

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:

        def once(name: str, stop_at: int | None) -> dict[str, Any]:
            folder = Path(place) / "run"
            shutil.copytree(given, folder)
            (folder / "scratch").mkdir()
            tempfile.tempdir = str(folder / "scratch")  # temporary files that stay behind are seen
            found = run(folder, words, stop_at, getattr(signal, name))
            found["files"] = {
                str(p.relative_to(folder)): p.read_bytes().hex() for p in folder.rglob("*") if p.is_file()
            }
            shutil.rmtree(folder)
            return found

        shutil.copytree(given, Path(place) / "warm")
        os.chdir(Path(place) / "warm")
        fuse(words)  # what is imported late is imported here, once for all forks
        whole = once(names[0], None)
        results = [whole]
        total, *touching = whole["seen"]
        step = max(1, len(touching) // AT_MOST)
        moments = {total * part // EVENLY for part in range(1, EVENLY)} | {at + 1 for at in touching[::step]}
        for name, moment in itertools.product(names, sorted(moments)):
            results.append(once(name, moment) | {"moment": f"{name} at call {moment} of {total}", "name": name})
    told.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
