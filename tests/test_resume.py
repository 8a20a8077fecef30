"""A run that was killed anywhere and resumed is, byte for byte, the run that was not."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fuse import checkpoint, train
from fuse.errors import InputError
from fuse.log import Log

Tiny = Callable[..., tuple[dict[str, Any], Path]]
RATES = ("patches_per_second", "data_share")  # the only columns that follow the clock
MODELS = ["mffgan", "densefuse", "merger"]


def weights(out: Path) -> dict[str, bytes]:
    """Of the checkpoints `last` and `best`."""
    found = [path for folder in ("last", "best") for path in sorted((out / folder).glob("*.safetensors"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def table(out: Path) -> list[list[str]]:
    """`metrics.csv` as written, without the columns that follow the clock."""
    with (out / "metrics.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    kept = [i for i, name in enumerate(lines[0]) if name not in RATES]
    return [[line[i] for i in kept] for line in lines]


def same(one: Path, other: Path) -> None:
    assert table(one) == table(other)
    assert weights(one) == weights(other)
    for folder in ("last", "best"):
        cards = [json.loads((out / folder / "config.json").read_text()) for out in (one, other)]
        assert cards[0] == cards[1]
        metrics = [(out / folder / "metrics.json").read_text() for out in (one, other)]
        assert metrics[0] == metrics[1]


def resumed(cfg: dict[str, Any], **run: Any) -> dict[str, Any]:
    return cfg | {"run": cfg["run"] | {"resume": True} | run}


class Killed(BaseException):
    pass


@contextmanager
def dying(holder: type, method: str, after: int) -> Iterator[None]:
    """The process dies at the call of a method that follows `after` others, before that call has done anything."""
    left, original = [after], getattr(holder, method)

    def counted(*given: Any, **named: Any) -> Any:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return original(*given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(holder, method, counted)
        yield


@pytest.mark.parametrize("model", MODELS)
def test_twenty_steps_are_ten_and_ten(tiny: Tiny, model: str) -> None:
    whole, one = tiny("whole", f"model={model}", "run.steps=20")
    train.run(whole, one)
    half, other = tiny("half", f"model={model}", "run.steps=10")
    train.run(half, other)
    train.run(resumed(half, steps=20), other)
    same(one, other)


@pytest.mark.parametrize(("model", "ema"), [*((model, 0.999) for model in MODELS), ("mffgan", 0)])
def test_killed_twice_and_resumed_is_unbroken(tiny: Tiny, model: str, ema: float) -> None:
    every = ("run.steps=11", "run.log_every=4", "run.save_every=3", "run.val_every=5")
    settings = (f"model={model}", f"run.ema={ema}", *every)
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    cfg, other = tiny("killed", *settings)
    for after in (5, 4):
        with dying(Log, "add", after), pytest.raises(Killed):  # an update is done, nothing of it is written
            train.run(cfg, other)
        cfg = resumed(cfg)
    train.run(cfg, other)
    same(one, other)


def test_killed_during_any_save_and_resumed_is_unbroken(tiny: Tiny) -> None:
    settings = ("run.steps=4", "run.save_every=2", "run.val_every=3", "run.log_every=2")
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    for renames in count():
        cfg, other = tiny(f"cut-{renames}", *settings)
        try:
            with dying(Path, "rename", renames):
                train.run(cfg, other)
        except Killed:
            if renames == 0:  # the first checkpoint never came to be
                with pytest.raises(InputError, match="stopped before its first checkpoint"):
                    train.run(resumed(cfg), other)
                continue
            train.run(resumed(cfg), other)
            same(one, other)
            assert {path.name for path in other.iterdir() if path.is_dir()} == {"last", "last.old", "best"}
        else:
            break
    assert renames > 6


def test_a_finished_run_resumed_does_nothing_more(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=5")
    best = train.run(cfg, out)
    before = weights(out), table(out)
    assert train.run(resumed(cfg), out) == best
    assert (weights(out), table(out)) == before


@pytest.mark.parametrize("half", ["8,0.1", "1", "8"])
def test_what_a_kill_left_of_the_table_is_mended(tiny: Tiny, half: str) -> None:
    settings = ("run.steps=10", "run.log_every=1", "run.save_every=4")
    whole, one = tiny("whole", *settings)
    train.run(whole, one)
    cfg, other = tiny("cut", *settings)
    with dying(Log, "add", 7), pytest.raises(Killed):
        train.run(cfg, other)
    with (other / "metrics.csv").open("a") as file:
        file.write(half)  # of a line; above it stand lines that no checkpoint knows
    train.run(resumed(cfg), other)
    same(one, other)


def test_a_run_of_another_network_is_refused(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=5")
    train.run(cfg, out)
    other, _ = tiny("run", "model=densefuse", "run.steps=10")
    with pytest.raises(InputError, match=r"fuser\.safetensors does not fit DenseFuse"):
        train.run(resumed(other), out)


def step_of(out: Path) -> int:
    """The step of the last checkpoint of a run that may be writing it."""
    try:
        return int(json.loads((checkpoint.locate(out / "last") / "config.json").read_text())["step"])
    except (InputError, OSError, ValueError):
        return 0
