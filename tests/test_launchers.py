"""Jobs of a sweep side by side: joblib on one machine, submitit as on a cluster; a GPU for each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ENVIRONMENT, TINY
from hydra.types import RunMode
from omegaconf import OmegaConf

from fuse import lock
from fuse.multirun import Table, own_gpu, visible_gpus

GPUS = {"CUDA_VISIBLE_DEVICES": "4,6"}  # what a machine with GPUs would say; here nothing wakes them up
LAUNCHERS = {  # package, words, GPUs that the two jobs see: submitit gives every local job those from 0 on
    "joblib": ("hydra_joblib_launcher", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["4", "6"]),
    "slurm": (
        "hydra_submitit_launcher",
        ["hydra/launcher=submitit_local", "hydra.launcher.gpus_per_node=2"],
        ["0", "1"],
    ),
}
MEETING = """
import os, time
from pathlib import Path

def together(fused, sample):
    Path(f"here.{os.getpid()}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    until = time.monotonic() + 120
    while len(list(Path().glob("here.*"))) < 2:
        if time.monotonic() > until:
            raise TimeoutError("the other job never came")
        time.sleep(0.05)
    return fused.square().mean()
"""
LOSS = """
range: [0, 1]
meeting: {weight: 1, term: {_target_: meeting.together}}
"""


def sweep(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`fuse-train -m` in a process of its own, warnings being errors, with a loss that waits for a second process."""
    (here / "meeting.py").write_text(MEETING)
    (here / "own" / "loss").mkdir(parents=True, exist_ok=True)
    (here / "own" / "loss" / "meeting.yaml").write_text(LOSS)
    paths = os.pathsep.join([str(here), ENVIRONMENT["PYTHONPATH"]])
    start = [sys.executable, "-c", "from fuse.cli import train; train()", "-m", "--config-dir", "own"]
    quick = [*TINY, "model=densefuse", "loss=meeting", "run.steps=2", "run.evaluate=false", "run.dir=s"]
    return subprocess.run(
        [*start, *quick, *words],
        cwd=here,
        env=ENVIRONMENT | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"} | GPUS,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_jobs_run_side_by_side(launcher: str, tmp_path: Path) -> None:
    package, words, gpus = LAUNCHERS[launcher]
    pytest.importorskip(f"hydra_plugins.{package}", reason=f"the extra {launcher} is not installed")
    done = sweep(tmp_path, *words, "run.seed=0,1")
    assert done.returncode == 0, done.stderr
    seen = [path.read_text() for path in tmp_path.glob("here.*")]  # of two processes, which waited for each other
    assert sorted(seen) == gpus
    for job, seed in (("0", 0), ("1", 1)):
        folder = tmp_path / "s" / job
        assert json.loads((folder / "last" / "config.json").read_text())["step"] == 2
        assert OmegaConf.load(folder / "config.yaml").run.seed == seed
    table = (tmp_path / "s" / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["0", "1"]
    assert table in done.stdout


@pytest.fixture
def _locks_let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locks last as long as a process; here as long as a test."""
    files: list[int] = []
    taken = lock.taken

    def kept(path: Path) -> int | None:
        file = taken(path)
        assert file is not None
        files.append(file)
        return file

    monkeypatch.setattr(lock, "taken", kept)
    yield
    for file in files:
        os.close(file)


@pytest.mark.usefixtures("_locks_let_go")
def test_every_gpu_is_given_once_before_one_is_given_twice(tmp_path: Path) -> None:
    assert [own_gpu(tmp_path, ["0", "2", "7"], job) for job in (5, 5, 9, 1, 1)] == ["0", "2", "7", "0", "2"]


def test_the_gpu_of_a_process_that_ended_is_free(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from fuse.multirun import own_gpu; "
    code += "print([own_gpu(Path(sys.argv[1]), ['0', '1'], 0) for _ in range(2)][0])"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, tmp_path], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.stdout == "0\n", done.stderr


def test_without_locks_the_number_of_the_job_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "taken", lambda path: None)
    assert [own_gpu(tmp_path, ["0", "1", "2"], job) for job in range(5)] == ["0", "1", "2", "0", "1"]


@pytest.mark.parametrize(("said", "seen"), [("1, 3", ["1", "3"]), ("", []), (None, ["0", "1", "2"])])
def test_what_is_visible_is_what_the_environment_says_else_all(
    said: str | None, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert visible_gpus() == seen


def started(monkeypatch: pytest.MonkeyPatch, folder: Path, launcher: str, mode: RunMode, **run: Any) -> str:
    """What a job that begins leaves in CUDA_VISIBLE_DEVICES, of the GPUs 4 and 6."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    target = f"hydra_plugins.{launcher}"
    hydra = {"mode": mode, "launcher": {"_target_": target}, "sweep": {"dir": str(folder)}, "job": {"num": 1}}
    config = OmegaConf.create({"hydra": hydra, "run": {"device": "auto"} | run})
    Table().on_job_start(config)
    first = os.environ["CUDA_VISIBLE_DEVICES"]
    Table().on_job_start(config)  # the next job of this process
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first
    return first


@pytest.mark.usefixtures("_locks_let_go")
def test_jobs_side_by_side_get_a_gpu_unless_devices_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = RunMode.MULTIRUN
    assert started(monkeypatch, tmp_path, "JoblibLauncher", many) == "4"
    assert started(monkeypatch, tmp_path, "LocalLauncher", many, device="cuda", devices=1) == "6"
    assert started(monkeypatch, tmp_path, "JoblibLauncher", many, device="cuda:1") == "4,6"
    assert started(monkeypatch, tmp_path, "JoblibLauncher", many, devices=2) == "4,6"
    assert started(monkeypatch, tmp_path, "BasicLauncher", many) == "4,6"
    assert started(monkeypatch, tmp_path, "JoblibLauncher", RunMode.RUN) == "4,6"
