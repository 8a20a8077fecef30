"""Sweeps: one folder a job, one table at the end, and jobs that fail do not take the others along."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY, Outcome

from fuse.multirun import flat, means

Run = Callable[..., Outcome]
QUICK = (*TINY, "run.steps=2", "run.dir=s")


def test_a_sweep_over_two_weights_gives_one_table(run_command: Run) -> None:
    outcome = run_command("train", "-m", *QUICK, "loss.gradient.weight=1,5", "data.test=1")
    assert outcome.code == 0
    assert {path.name for path in Path("s").iterdir() if path.is_dir()} == {"0", "1"}
    table = Path("s/table.md").read_text()
    assert table in outcome.out
    assert "loss.gradient.weight" in table
    assert "run.dir" not in table
    rows = [line for line in table.splitlines() if line.lstrip("| ").startswith(("0", "1"))]
    assert len(rows) == 2
    assert outcome.out.splitlines()[-1].endswith("s")
    scores = [means(Path("s", job))["psnr_ref"] for job in ("0", "1")]
    assert all(f"{score:.2f}"[:5] in table for score in scores)


def test_a_job_that_fails_does_not_stop_the_others(run_command: Run) -> None:
    outcome = run_command("train", "-m", *QUICK, "run.evaluate=false", "model.patches.size=32,64,33")
    assert outcome.code == 3
    assert "failed:\njob 1: train-000 is 40x40, smaller than a patch of 64" in outcome.err
    assert "Traceback" not in outcome.err
    for job in ("0", "2"):
        assert json.loads(Path("s", job, "last", "config.json").read_text())["step"] == 2
    assert "yes" in Path("s/table.md").read_text()


def test_a_job_that_fails_before_it_has_settings_is_told_too(run_command: Run) -> None:
    outcome = run_command("train", "-m", *QUICK, "run.evaluate=false", "run.ema=0.9,2")
    assert outcome.code == 3
    assert "failed:\njob 1: run.ema=2.0: must be in [0, 1)" in outcome.err
    table = Path("s/table.md").read_text()
    assert "0.9" in table


def test_what_a_cut_off_sweep_lacks_is_done_by_the_same_command(run_command: Run) -> None:
    command = (*QUICK, "run.evaluate=false", "loss.gradient.weight=1,5,9")
    assert run_command("train", "-m", *command).code == 0
    table = Path("s/table.md").read_text()
    shutil.rmtree("s/1")  # not begun
    Path("s/2/report.html").unlink()  # cut off at the end
    Path("s/2/error.txt").write_text("some fault that is mended now")
    before = {job: os.stat(f"s/{job}/metrics.csv").st_mtime_ns for job in ("0", "2")}
    outcome = run_command("train", "-m", *command, "run.resume=true")
    assert outcome.code == 0, outcome.err
    assert Path("s/table.md").read_text() == table
    assert os.stat("s/0/metrics.csv").st_mtime_ns == before["0"]  # was done: nothing is touched
    assert os.stat("s/2/metrics.csv").st_mtime_ns > before["2"]
    more = run_command("train", "-m", *command, "run.resume=true", "run.steps=3")
    assert more.code == 0
    assert [json.loads(Path("s", job, "last", "config.json").read_text())["step"] for job in "012"] == [3, 3, 3]


def test_a_job_does_not_go_on_with_the_run_of_another_sweep(run_command: Run) -> None:
    command = (*QUICK, "run.evaluate=false", "run.seed=0,1")
    assert run_command("train", "-m", *command).code == 0
    assert "holds a run already" in run_command("train", "-m", *command).err
    outcome = run_command("train", "-m", *QUICK, "run.evaluate=false", "run.seed=0,2", "run.resume=true")
    assert outcome.code == 3
    assert "failed:\njob 1: " in outcome.err
    assert "another sweep (run.seed 1 there, 2 here)" in outcome.err


@pytest.mark.parametrize("words", [["model=mffgann,densefusee"], ["run.stpes=1,2"]])
def test_a_misspelt_sweep_is_a_mistake(run_command: Run, words: list[str]) -> None:
    outcome = run_command("train", "-m", *QUICK, *words)
    assert outcome.code == 2
    assert "did you mean" in outcome.err
    assert "Traceback" not in outcome.err


def test_flat_joins_keys_by_dots() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
    assert flat({}) == {}


def test_a_job_that_was_not_judged_has_no_means(tmp_path: Path) -> None:
    assert means(tmp_path) == {}
