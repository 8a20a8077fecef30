"""What happens to long runs: killed, told to stop, the disk full, files damaged, data changed, other formats."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ENVIRONMENT, TINY, Outcome
from safetensors.torch import save_file
from test_resume import resumed, same, weights

from fuse import checkpoint, train
from fuse.data import io, unchanged
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError
from fuse.log import Log
from fuse.models.mffgan import Generator

Tiny = Callable[..., tuple[dict[str, Any], Path]]
Run = Callable[..., Outcome]

# Starts commands as processes of their own, without the seconds that importing takes each of them.
STARTER = """
import json, os, resource, sys, torch
torch.set_num_threads(1)
import torch.utils.tensorboard
import fuse.judge, fuse.report, fuse.train, fuse.models.mffgan
from fuse.cli import train
for line in sys.stdin:
    words, said, largest = json.loads(line)
    if (pid := os.fork()) == 0:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        if largest:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        sys.argv, code = ["fuse-train", *words], 0
        try:
            train()
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Starter:
    """`fuse-train` as processes; `said` is what the last one wrote to its terminal."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"
        command = [sys.executable, "-c", STARTER]
        self.process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *words: str, largest: int = 0) -> int:
        """The process; `largest`: no file may become larger, in bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([words, str(self.said), largest]) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def code(self) -> int:
        """How the process ended, which is waited for; the negative signal that ended it."""
        return int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    made = Starter(tmp_path)
    try:
        yield made
    finally:
        made.process.communicate()


def step_of(out: Path) -> int:
    try:
        return int(json.loads((out / "last" / "config.json").read_text())["step"])
    except (OSError, ValueError):
        return 0


def wait_for(out: Path, moment: str, chance: random.Random) -> None:
    """Sleep until a random moment of a kind: while starting, after some step, or within the writing of a checkpoint."""
    if moment == "start":
        time.sleep(chance.uniform(0, 0.5))
        return
    until, before, deadline = chance.randint(1, 3), step_of(out), time.monotonic() + 60
    while step_of(out) < before + until and time.monotonic() < deadline:
        time.sleep(0.001)
    if moment == "step":
        time.sleep(chance.uniform(0, 0.06))
        return
    while not (out / "last.making").exists() and time.monotonic() < deadline:
        pass
    time.sleep(chance.uniform(0, 0.008))


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_is_unbroken(starter: Starter, tmp_path: Path, kills: int) -> None:
    """Prints a line for every kill (pytest -s)."""
    settings = [*TINY, f"run.steps={5 * kills + 20}", "run.save_every=1", "run.val_every=7", "run.evaluate=false"]
    starter.start(*settings, "run.dir=whole")
    assert starter.code() == 0
    chance, out = random.Random(7), tmp_path / "killed"
    words, within = settings, 0
    for kill in range(kills):
        process = starter.start(*words, "run.dir=killed")
        moment = ("save", "step", "save", "start", "save")[kill % 5]
        wait_for(out, moment, chance)
        os.kill(process, signal.SIGKILL)
        assert starter.code() == -signal.SIGKILL, starter.said.read_text()
        cut = sorted(path.name for path in out.glob("*") if path.name.endswith((".making", ".ready")))
        within += bool(cut) and moment != "start"  # there, it may be of the kill before
        told = f"kill {kill + 1}: {moment}, last is of step {step_of(out)}, cut off: {' '.join(cut) or 'nothing'}"
        sys.stdout.write(f"{told}\n")
        if step_of(out):
            words = ["run.resume=true"]
    starter.start(*words, "run.dir=killed")
    assert starter.code() == 0, starter.said.read_text()
    same(tmp_path / "whole", out)
    sys.stdout.write(f"{kills} kills, {within} of them within the writing of a checkpoint\n")
    assert within > kills // 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_saves_and_says_so(starter: Starter, tmp_path: Path, number: signal.Signals) -> None:
    settings = [*TINY, "run.steps=400", "run.save_every=3", "run.val_every=300", "run.evaluate=false"]
    process = starter.start(*settings, "run.dir=r")
    wait_for(tmp_path / "r", "step", random.Random(1))
    os.kill(process, number)
    assert starter.code() == 130
    done = step_of(tmp_path / "r")
    end = f"stopped after step {done}; go on with: fuse-train run.resume=true run.dir={tmp_path / 'r'}"
    assert starter.said.read_text().splitlines()[-1] == end
    assert not (tmp_path / "r" / "run.lock").exists()


@pytest.mark.parametrize(
    ("largest", "words"), [(60_000, "cannot be written: "), (300, "cannot be written or read: File too large")]
)
def test_a_file_that_can_grow_no_further_ends_with_one_message(
    starter: Starter, tmp_path: Path, largest: int, words: str
) -> None:
    settings = [*TINY, "run.save_every=3", "run.evaluate=false", "run.log_every=1"]
    starter.start(*settings, "run.dir=r", "run.steps=3")
    assert starter.code() == 0
    before = {path: path.read_bytes() for path in (tmp_path / "r" / "last").iterdir()}
    starter.start("run.resume=true", "run.dir=r", "run.steps=8", largest=largest)
    assert starter.code() == 2, starter.said.read_text()
    said = starter.said.read_text()
    assert words in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith("fuse-train: ")]) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "r" / "last").iterdir()} == before
    assert not (tmp_path / "r" / "last.making").exists()
    starter.start("run.resume=true", "run.dir=r", "run.steps=8")
    assert starter.code() == 0
    assert step_of(tmp_path / "r") == 8


def test_a_table_that_cannot_be_written_ends_with_one_message(
    run_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Log) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "r/metrics.csv")

    with monkeypatch.context() as patched:
        patched.setattr(Log, "_append", full)
        outcome = run_command("train", *TINY, "run.steps=4", "run.dir=r", "run.save_every=1", "run.log_every=3")
    assert outcome.code == 2
    assert "fuse-train: r/metrics.csv cannot be written or read: No space left on device" in outcome.err
    assert "Traceback" not in outcome.err
    assert step_of(Path("r")) == 2
    assert run_command("train", "run.resume=true", "run.dir=r", "run.evaluate=false").code == 0
    assert step_of(Path("r")) == 4


def test_a_folder_that_cannot_be_written_ends_with_one_message(run_command: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    outcome = run_command("train", *TINY, "run.steps=1", "run.dir=file/r")
    assert outcome.code == 2
    assert "file/r cannot be written or read: Not a directory" in outcome.err
    assert "Traceback" not in outcome.err


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit of the middle byte is another."""
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)


def missing(path: Path) -> None:
    path.unlink()


FILES = ("fuser.safetensors", "iterate.safetensors", "config.json", "metrics.json", "state.pt", "sha256")


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_used(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ("run.steps=8", "run.save_every=2", "run.val_every=5", "run.log_every=2")
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    cfg, short = tiny("short", *settings, "run.steps=6")
    train.run(cfg, short)
    kinds = [(spoil, name) for name in FILES for spoil in (cut, flipped, missing)]
    for spoil, name in kinds:
        copy = short.with_name(f"{spoil.__name__}-{name}")
        shutil.copytree(short, copy)
        spoil(copy / "last" / name)
        caplog.clear()
        state = checkpoint.restore(copy / "last", {"fuser": Generator()})
        assert state["step"] == 4, (spoil, name)
        assert f"{copy / 'last'} cannot be used: " in caplog.text
        assert f"Going on from {copy / 'last.old'}, step 4" in caplog.text
        assert (copy / "last.damaged").is_dir()
    flipped(short / "last" / "iterate.safetensors")  # which no other check would notice
    train.run(resumed(cfg, steps=8), short)
    same(one, short)


def test_without_the_one_before_it_the_best_is_gone_on_from(tiny: Tiny) -> None:
    settings = ("run.steps=8", "run.save_every=3", "run.val_every=4", "run.log_every=2")
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    cfg, other = tiny("short", *settings, "run.steps=6")
    train.run(cfg, other)
    flipped(other / "last" / "state.pt")
    cut(other / "last.old" / "state.pt")
    train.run(resumed(cfg, steps=8), other)
    assert weights(one)["last/fuser.safetensors"] == weights(other)["last/fuser.safetensors"]


def test_where_nothing_is_whole_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    checkpoint.save(folder, {"fuser": Generator()}, {}, {}, {"step": 1})
    flipped(folder / "fuser.safetensors")
    with pytest.raises(
        InputError, match=r"last is damaged: fuser\.safetensors is not what was written .* start the run"
    ):
        checkpoint.restore(folder, {"fuser": Generator()})


def old_format(folder: Path) -> None:
    """A checkpoint as versions before format 1 wrote it, file by file."""
    folder.mkdir(parents=True)
    torch.manual_seed(3)
    node = {"_target_": "fuse.models.mffgan.Generator", "init_std": None}
    save_file({key: value.contiguous() for key, value in Generator().state_dict().items()}, folder / checkpoint.FUSER)
    (folder / "config.json").write_text(
        json.dumps({"fuser": node, "data": {}, "version": "0.1.0", "step": 5}, indent=1)
    )
    (folder / "metrics.json").write_text(json.dumps({"q_g": 0.5}, indent=1))
    torch.save({"step": 5, "best": 0.5, "pending": [], "optimisers": {}}, folder / "state.pt")


def test_a_checkpoint_without_format_still_loads(tmp_path: Path) -> None:
    old_format(tmp_path / "last")
    fuser, card = checkpoint.load(tmp_path)
    assert card["step"] == 5
    fresh = Generator()
    assert checkpoint.restore(tmp_path / "last", {"fuser": fresh})["best"] == 0.5
    assert torch.equal(fresh.output.weight, fuser.output.weight)


def test_a_run_of_the_old_format_is_gone_on_with(tiny: Tiny) -> None:
    settings = ("run.steps=8", "run.save_every=4", "run.val_every=5")
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    cfg, other = tiny("old", *settings, "run.steps=4")
    train.run(cfg, other)
    (other / "data.json").unlink()
    for folder in (path for path in other.glob("*/") if (path / "sha256").exists()):
        (folder / "sha256").unlink()
        card = json.loads((folder / "config.json").read_text())
        assert card.pop("format") == 1
        (folder / "config.json").write_text(json.dumps(card, indent=1))
    train.run(resumed(cfg, steps=8), other)
    assert weights(one)["last/fuser.safetensors"] == weights(other)["last/fuser.safetensors"]


@pytest.mark.parametrize("number", [2, "next", None])
def test_a_later_format_is_refused(tmp_path: Path, number: object) -> None:
    old_format(tmp_path / "last")
    card = json.loads((tmp_path / "last" / "config.json").read_text())
    (tmp_path / "last" / "config.json").write_text(json.dumps(card | {"format": number, "version": "9.0"}))
    for use in (checkpoint.load, lambda path: checkpoint.restore(path, {"fuser": Generator()})):
        with pytest.raises(InputError, match=rf"of format {number}, .* reads up to 1; use the version .*\(9\.0\)"):
            use(tmp_path / "last")


def test_changed_data_are_named_when_the_run_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    made = Synthetic(size=40, train=2, val=1, test=1)
    for stem in made.stems("all"):
        sample = made.sample(stem)
        for role, picture in zip(("near", "far"), sample.sources, strict=True):
            (tmp_path / "set" / role).mkdir(parents=True, exist_ok=True)
            io.write(tmp_path / "set" / role / f"{stem}.png", picture[0])
    cfg, out = tiny("r", "run.steps=2", "run.evaluate=false", "run.objective=q_g")
    splits = {"train": ["train-*"], "val": ["val-*"], "test": ["test-*"]}
    cfg["data"] = {
        "_target_": "fuse.data.sets.Folders", "name": "set", "task": "focus", "roles": ["near", "far"],
        "splits": splits, "get": "", "root": str(tmp_path),
    }  # fmt: skip
    train.run(cfg, out)
    train.run(resumed(cfg, steps=3), out)
    shutil.copyfile(tmp_path / "set/near/test-000.png", tmp_path / "set/near/train-001.png")
    (tmp_path / "set/near/train-000.png").unlink()
    before = weights(out)
    with pytest.raises(InputError) as caught:
        train.run(resumed(cfg, steps=4), out)
    assert "near/train-001 changed, far/train-000 is gone, near/train-000 is gone. Bring them" in str(caught.value)
    assert weights(out) == before


def test_made_data_that_would_be_made_otherwise_are_refused(tmp_path: Path) -> None:
    unchanged.record(Synthetic(size=40, train=2, val=1, test=1), tmp_path)
    unchanged.compare(Synthetic(size=40, train=2, val=1, test=1), tmp_path)
    with pytest.raises(InputError, match="began with: train changed, val changed"):
        unchanged.compare(Synthetic(size=48, train=2, val=1, test=1), tmp_path)
