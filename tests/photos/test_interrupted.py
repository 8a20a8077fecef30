"""What happens when the disk is full, or somebody presses Ctrl-C: no half file, no litter, no traceback."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ENVIRONMENT
from zoo_case import noise, png

from fuse import app

STOPPED = {"SIGINT": {0, 2, 130, -signal.SIGINT}, "SIGTERM": {0, 2, 143, -signal.SIGTERM}}
ONE_THREAD = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SUFFIXES = (".png", ".tif", ".jpg", ".webp", ".bmp")


def put(folder: Path, *names: str, side: int = 40) -> None:
    """Pictures that hardly compress."""
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(noise(side, side, 3) ^ index, 8, 2))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def full_above(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def code(words: list[str]) -> int:
    try:
        app.main([*words, "--method", "average"])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_all_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, there: bool
) -> None:
    put(tmp_path, "a.png", "b.png")
    target = tmp_path / f"out{suffix}"
    if there:
        target.write_bytes(b"old")
    before = contents(tmp_path)
    with full_above(300):
        assert code([str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(target)]) == 2
    said = capsys.readouterr()
    assert f"out{suffix}" in said.err
    assert "cannot be written" in said.err
    assert "Traceback" not in said.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_result_that_cannot_be_moved_to_its_place_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    put(tmp_path, "a.png", "b.png")
    before = contents(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, fail)
    assert code([str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out.png")]) == 2
    assert os.strerror(number) in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("extra", [["--map", "map.png"], ["--report", "page.html"], ["--save-alignment", "moves.json"]])
def test_exit_code_2_means_that_nothing_was_written_beside_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "a.png", "b.png", side=24)
    before, moved, replace = contents(tmp_path), [], os.replace

    def only_once(source: Path, target: Path) -> None:
        if moved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", only_once)
    assert code(["a.png", "b.png", "-o", "out.png", "--align", "off", *extra]) == 2
    said = capsys.readouterr().err
    assert os.strerror(errno.ENOSPC) in said
    left = set(contents(tmp_path)) - set(before)
    assert not left or all(name in said for name in left)  # what is there nevertheless is named


def test_what_still_fits_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "one/a.png", "two/a.png", "one/c.png", "two/c.png", side=8)
    put(tmp_path, "one/b.png", "two/b.png", side=100)
    before = contents(tmp_path)
    with full_above(5000):
        assert code([str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(tmp_path / "out")]) == app.SOME_FAILED
    assert "b" in capsys.readouterr().err.split("failed:")[1]
    assert set(contents(tmp_path)) - set(before) == {"out/a.png", "out/c.png"}


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["stack", "-o", "out.png"], False),
        (["stack", "-o", "out.png"], True),
        (["one", "two", "-o", "results"], False),
    ],
)
def test_a_signal_at_any_moment_leaves_whole_files(tmp_path: Path, words: list[str], there: bool) -> None:
    given = tmp_path / "given"
    put(given, "stack/a.png", "stack/b.png", "stack/c.png", side=24)
    put(given, *(f"{role}/{stem}.png" for role in ("one", "two") for stem in ("a", "b", "c")), side=24)
    if there:
        (given / "out.png").write_bytes(b"old")
    before = {path: data.hex() for path, data in contents(given).items()}
    command = [
        sys.executable,
        str(Path(__file__).with_name("interrupting.py")),
        ",".join(STOPPED),
        str(given),
        str(tmp_path / "told.json"),
    ]
    subprocess.run([*command, *words, "--method", "average"], env=ONE_THREAD, timeout=120, check=True)
    whole, *stopped = json.loads((tmp_path / "told.json").read_text())
    assert whole["code"] == 0, whole["said"]
    results = {path: data for path, data in whole["files"].items() if before.get(path) != data}
    assert results
    assert len(stopped) > 20
    wrong = []
    for one in stopped:
        changed = {path: data for path, data in one["files"].items() if before.get(path) != data}
        fine = (
            one["code"] in STOPPED[one["name"]],
            # Python drops what is raised while it clears an object away, and goes on: then the result is whole.
            "Traceback" not in one["said"] or (one["code"] == 0 and "Exception ignored in" in one["said"]),
            changed.items() <= results.items(),
            set(before) <= set(one["files"]),
            one["code"] != 0 or changed == results,
        )
        if not all(fine):
            wrong.append(f"{one['moment']}: code {one['code']}, {sorted(changed)}, {one['said'][-300:]}")
    assert not wrong, "\n".join(wrong)
    for name in STOPPED:  # some were stopped before they were done
        assert {one["code"] for one in stopped if one["name"] == name} - {0}


@pytest.mark.parametrize("name", STOPPED)
def test_a_running_command_stops_at_once(tmp_path: Path, name: str) -> None:
    put(tmp_path, *(f"stack/{index}.png" for index in range(6)), side=700)
    before = contents(tmp_path)
    words = ["stack", "-o", "out.png", "--method", "laplacian"]
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom fuse.app import main\nprint('.', flush=True)\nmain(sys.argv[1:])",
            *words,
        ],
        cwd=tmp_path,
        env=ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(1)
        running.send_signal(getattr(signal, name))
        _, said = running.communicate(timeout=60)
    assert running.returncode in STOPPED[name] - {0}, said
    assert "Traceback" not in said
    assert contents(tmp_path) == before
