"""One process at a time in a run folder, and no folder barred by a process that is gone."""

import errno
import fcntl
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ENVIRONMENT, TINY, Outcome

from fuse import lock
from fuse.errors import InputError

HOLDER = """
import sys, time
from pathlib import Path
from fuse import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        with pytest.raises(
            InputError, match=rf"another run is writing to {tmp_path}: process {process.pid} on .* since"
        ):
            lock.held(tmp_path).__enter__()
        process.kill()
        process.wait()
    assert (tmp_path / lock.NAME).exists()  # SIGKILL leaves the file
    with lock.held(tmp_path):  # but not the lock
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_in_the_folder_is_refused_and_changes_nothing(
    run_command: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "r"
    out.mkdir()
    (out / "config.yaml").write_text("the first run's\n")  # all it has written yet
    with another(out):
        outcome = run_command("train", *TINY, "run.steps=1", "run.dir=r")
        assert outcome.code == 2
        assert outcome.err.startswith(f"fuse-train: another run is writing to {out}: process ")
        assert "Traceback" not in outcome.err
        assert (out / "config.yaml").read_text() == "the first run's\n"


def test_the_lock_goes_with_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a fault"), lock.held(tmp_path):
        raise RuntimeError("a fault")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_taken_away_between_opening_and_locking_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def late(file: int, operation: int) -> None:
        if not calls:
            (tmp_path / lock.NAME).unlink()
            (tmp_path / lock.NAME).touch()  # by the next holder
        calls.append(operation)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock.held(tmp_path):
        monkeypatch.undo()
        assert len(calls) == 2
        with pytest.raises(InputError, match="another run is writing"):
            lock.held(tmp_path).__enter__()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING), lock.held(tmp_path):
        assert list(tmp_path.iterdir()) == []
    assert f"{tmp_path} lies on a file system without locks (No locks available)" in caplog.text
