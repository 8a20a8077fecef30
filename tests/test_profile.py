"""What a watched run tells about its steps."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fuse import profile, train

Tiny = Callable[..., tuple[dict[str, Any], Path]]


def slow(count: int) -> Iterator[int]:
    """Batches that take 4 ms each."""
    for number in range(count):
        time.sleep(0.004)
        yield number


def test_a_run_says_where_its_time_goes(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    steps = f"run.steps={profile.WARM_UP + profile.WATCHED + 1}"
    cfg, out = tiny("run", steps, "run.profile=true", "run.val_every=25")
    with caplog.at_level(logging.INFO):
        train.run(cfg, out)
    text = (out / "profile.txt").read_text()
    assert text in caplog.text
    lines = text.splitlines()
    assert len(lines) < 20
    assert lines[0].startswith(f"profile of {profile.WATCHED} steps, ")
    shares = {line.split()[0]: float(line.split()[1].rstrip("%")) for line in lines[1:8]}
    assert list(shares) == ["data", "forward", "backward", "optimiser", "logging", "validation", "checkpoint"]
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    assert all(value > 0 for value in shares.values())
    assert lines[-1].startswith("bottleneck: ")
    names = {event.get("name") for event in json.loads((out / "profile.json").read_text())["traceEvents"]}
    assert {"fuse.step", "fuse.data", "fuse.backward", "fuse.optimiser", "fuse.logging"} <= names


def test_watching_changes_no_weights(tiny: Tiny) -> None:
    found = []
    for watch in ("false", "true"):
        cfg, out = tiny(watch, "run.steps=12", f"run.profile={watch}")
        train.run(cfg, out)
        found.append((out / "last" / "fuser.safetensors").read_bytes())
    assert found[0] == found[1]


def test_slow_data_are_named(tmp_path: Path) -> None:
    count = profile.WARM_UP + profile.WATCHED + 3
    assert list(profile.watched(slow(count), tmp_path, torch.device("cpu"))) == list(range(count))
    text = (tmp_path / "profile.txt").read_text()
    assert "bottleneck: data, " in text
    assert f"profile of {profile.WATCHED} steps" in text


@pytest.mark.parametrize("left", [0, 1, profile.WARM_UP, profile.WARM_UP + 2])
def test_a_run_that_ends_early_is_watched_as_long_as_it_lasts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    assert list(profile.watched(slow(left), tmp_path, torch.device("cpu"))) == list(range(left))
    if left > profile.WARM_UP:
        assert (tmp_path / "profile.txt").read_text().startswith("profile of 2 steps")
    else:
        assert not (tmp_path / "profile.txt").exists()


def test_the_shares_by_hand() -> None:
    parts = {"fuse.step": 4000.0, "fuse.data": 400.0, "fuse.backward": 2000.0, "fuse.optimiser": 600.0}
    text = profile.summary(2, parts, {"conv": 900.0, "add": 100.0}, {})
    lines = text.splitlines()
    assert lines[0] == "profile of 2 steps, 2.00 ms each"
    assert [line.split() for line in lines[1:5]] == [
        ["data", "10.0%"], ["forward", "25.0%"], ["backward", "50.0%"], ["optimiser", "15.0%"],
    ]  # fmt: skip
    assert lines[-1] == "bottleneck: backward, 50% of the time; costliest operation conv"


def test_a_device_that_waits_and_one_that_does_not() -> None:
    parts = {"fuse.step": 1000.0, "fuse.data": 700.0}
    assert profile.summary(1, parts, {}, {"gemm": 200.0}).splitlines()[-1] == (
        "bottleneck: the processor: the device computes in 20% of the time and waits for data in the rest"
    )
    assert profile.summary(1, parts, {}, {"gemm": 500.0, "norm": 400.0}).splitlines()[-1] == (
        "bottleneck: the device, busy 90% of the time, above all with gemm"
    )
