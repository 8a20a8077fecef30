"""Processes of one run on one machine (`run.devices=N`): starts them, watches over them, ends them together.

Who is who stands in the environment as torchrun sets it, so that processes which torchrun started are the same to
`fuse.ranks`. No PyTorch here: this process only waits.
"""

import json
import logging
import logging.config
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fuse.errors import InputError

MEETING = "FUSE_MEETING"  # where the processes that `start` made find each other
STOPPED, LOST = 130, 75  # exit codes
GRACE = 10.0  # seconds in which the others end by themselves when one has failed


def count() -> int:
    """How many processes make up the run this one belongs to."""
    return int(os.environ["WORLD_SIZE"]) if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys() else 1


def rank() -> int:
    """Its number among them."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def place() -> int:
    """Its number among those of this machine."""
    return int(os.environ["LOCAL_RANK"]) if count() > 1 else 0


def under_torchrun() -> dict[str, int]:
    """The settings that torchrun decides."""
    return {"devices": count()} if count() > 1 else {}


def follow(out: Path) -> float | None:
    """What a process of torchrun's that is not the first does: it trains along and writes nothing."""
    from fuse import cli, ranks

    silence()
    best = ranks.together({}, out)
    if not (out / "config.yaml").exists():  # its clock gave it a folder of its own
        cli.discard(out)
    return best


def advice(out: Path) -> str:
    """What to do with a run that ended early."""
    if any((out / name).is_dir() for name in ("last", "last.ready", "last.old")):
        return f"go on from the last checkpoint with: fuse-train run.resume=true run.dir={out}"
    return "there is no checkpoint yet, start the run anew"


def start(settings: Mapping[str, Any], out: Path, told: Mapping[str, Any]) -> float | None:
    """Train in `run.devices` processes, the first of which does all that one process would do besides; its best score.

    `told`: how the first process logs. Ctrl-C and SIGTERM are handed on to the first, which stops all.

    Raises:
        InputError: what one of them says, or that one died.
        KeyboardInterrupt: they were told to stop and did.
        SystemExit: one failed with a traceback, or was ended by a signal that was handed on.
    """
    with tempfile.TemporaryDirectory(prefix="fuse-ranks-") as meeting:
        processes = [child(i, settings["run"]["devices"], Path(meeting)) for i in range(settings["run"]["devices"])]
        try:
            with handed_on(processes[0]) as received:
                for process in processes:
                    assert process.stdin is not None
                    with suppress(BrokenPipeError):  # it died already, which `ended` will see
                        process.stdin.write(pickle.dumps((settings, out, told)))
                        process.stdin.flush()
                died = ended(processes)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        return outcome([process.returncode for process in processes], died, Path(meeting), out, received)


def child(number: int, total: int, meeting: Path) -> "subprocess.Popen[bytes]":
    """One process of the run; it ends when its standard input does, as when this process is gone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = {"OMP_NUM_THREADS": str(max(1, cores // total))}
    if sys.platform == "linux":
        shared["GLOO_SOCKET_IFNAME"] = "lo"  # also where the name of the machine leads nowhere
    own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": total, MEETING: f"file://{meeting / 'meeting'}"}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from fuse.launch import serve; serve()"],
        stdin=subprocess.PIPE,
        env=shared | os.environ | {name: str(value) for name, value in own.items()} | paths,
        start_new_session=True,  # Ctrl-C reaches this process alone, which hands it on once
    )


@contextmanager
def handed_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """While it lasts, Ctrl-C and SIGTERM go to that process; those that came."""
    received: list[int] = []

    def hand_on(number: int, _: Any) -> None:
        received.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ended(processes: "Sequence[subprocess.Popen[bytes]]") -> list[int]:
    """Wait for all processes, no longer than `GRACE` seconds for the others once one has failed; who died, in order."""
    died: list[int] = []
    deadline = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        died += [i for i, p in enumerate(processes) if i not in died and p.poll() not in (None, 0, STOPPED)]
        if (died or processes[0].poll() is not None) and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
        time.sleep(0.02)
    return died + [i for i, p in enumerate(processes) if i not in died and p.poll() not in (None, 0, STOPPED)]


def outcome(
    codes: Sequence[int], died: Sequence[int], meeting: Path, out: Path, received: Sequence[int]
) -> float | None:
    """What the processes came to, as one process would have it."""
    reports = [report(meeting / f"{i}.json") for i in range(len(codes))]
    for i in died:
        if "problem" in reports[i]:
            raise InputError(reports[i]["problem"])
    if any(codes[i] == 1 for i in died):
        sys.exit(1)
    if "stopped" in reports[0]:
        raise KeyboardInterrupt(reports[0]["stopped"])
    if died and received:
        sys.exit(128 + received[0])
    if died:
        i = next((i for i in died if codes[i] != LOST), died[0])
        how = f"was ended by {signal.Signals(-codes[i]).name}" if codes[i] < 0 else f"ended with code {codes[i]}"
        raise InputError(f"process {i + 1} of {len(codes)} {how}, and the others with it; {advice(out)}")
    best: float | None = reports[0]["best"]
    return best


def report(path: Path) -> dict[str, Any]:
    """What a process left behind; nothing if it was killed."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def serve() -> None:
    """The life of a process that `start` made."""
    settings, out, told = pickle.load(sys.stdin.buffer)
    threading.Thread(target=end_with_input, daemon=True).start()
    if rank() == 0 and told:
        logging.config.dictConfig(told)
    elif rank():
        silence()
    from fuse import cli, ranks
    from fuse.mistakes import explain

    said: dict[str, Any]
    try:
        said = {"best": cli.whole(settings, out) if rank() == 0 else ranks.together(settings, out)}
        code = 0
    except KeyboardInterrupt as stop:
        said, code = {"stopped": str(stop)}, STOPPED
    except Exception as problem:
        message = explain(problem, "train")
        if message is None:
            raise
        said, code = ({}, LOST) if isinstance(problem, ranks.Lost) else ({"problem": message}, 2)
    folder = Path(os.environ[MEETING].removeprefix("file://")).parent
    (folder / f"{rank()}.json").write_text(json.dumps(said))
    sys.exit(code)


def end_with_input() -> None:
    """Stop, as by SIGTERM, when the process that started this one is gone."""
    os.read(0, 1)  # not through `sys.stdin`, whose lock Python wants when it ends
    os.kill(os.getpid(), signal.SIGTERM)


def silence() -> None:
    """Have this process log nothing: the first does."""
    logging.getLogger().handlers[:] = [logging.NullHandler()]
