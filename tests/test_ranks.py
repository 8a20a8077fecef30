"""Several processes that train as one: the same weights as one, one set of files, and one end whatever happens."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ENVIRONMENT, TINY
from pairs import Pairs, adversarial, pictures
from safetensors.torch import load_file
from test_resume import RATES, resumed, same, step_of

from fuse import launch, ranks, train
from fuse.config import Run
from fuse.errors import InputError
from fuse.log import read_rows
from fuse.shares import WholeBatch, share

Tiny = Callable[..., tuple[dict[str, Any], Path]]
SHORT = ("model=densefuse", "run.steps=10", "run.val_every=5", "run.save_every=4", "run.evaluate=false")
LONGER = ("run.steps=20", "run.val_every=20", "model.patches.batch=4")
ROUNDING = 1e-6  # of weights in float32 after twenty steps; 1.4e-7 when measured


@pytest.fixture(scope="module")
def pairs() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    made.process.communicate()


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """||x - y|| / ||x|| over all tensors."""
    assert one.keys() == other.keys()
    gaps = sum(float((one[key].double() - other[key].double()).square().sum()) for key in one)
    return float(gaps / sum(float(x.double().square().sum()) for x in one.values())) ** 0.5


def near(one: Path, other: Path) -> None:
    """Two runs came to the same, but for rounding."""
    files = sorted(str(path.relative_to(one)) for path in one.rglob("*.safetensors"))
    assert files == sorted(str(path.relative_to(other)) for path in other.rglob("*.safetensors"))
    assert files
    for name in files:
        assert apart(load_file(one / name), load_file(other / name)) < ROUNDING, name
    tables = [read_rows(folder / "metrics.csv") for folder in (one, other)]
    assert len(tables[0]) == len(tables[1])
    for row, its in zip(*tables, strict=True):
        assert row.keys() == its.keys()
        for key in row.keys() - set(RATES):
            assert float(row[key]) == pytest.approx(float(its[key]), rel=1e-3, abs=1e-5), key


def names(out: Path) -> list[str]:
    """All files of a run; those of TensorBoard bear clock and process."""
    found = (str(path.relative_to(out)) for path in out.rglob("*"))
    return sorted("events" if name.startswith("events.") else name for name in found)


def test_two_processes_come_to_the_weights_of_one_and_write_the_same_files(tiny: Tiny, pairs: Pairs) -> None:
    whole, one = tiny("one", *SHORT, *LONGER)
    best = train.run(whole, one)
    cfg, two = tiny("two", *SHORT, *LONGER, "run.devices=2")
    first, second = pairs("trained", cfg, str(two))
    assert first == pytest.approx(best, abs=1e-4)
    assert second is None
    assert names(one) == names(two)
    near(one, two)


def test_a_run_goes_on_with_another_number_of_processes(tiny: Tiny, pairs: Pairs) -> None:
    whole, one = tiny("whole", *SHORT)
    train.run(whole, one)
    both, unbroken = tiny("both", *SHORT, "run.devices=2")
    pairs("trained", both, str(unbroken))
    near(one, unbroken)
    for before, after in ((1, 2), (2, 1), (2, 2)):
        cfg, out = tiny(f"{before}-{after}", *SHORT, "run.steps=5", f"run.devices={before}")
        pairs("trained", cfg, str(out), count=before)
        pairs("trained", resumed(cfg, steps=10, devices=after), str(out), count=after)
        near(one, out)
    same(unbroken, out)  # byte for byte where the number did not change


def test_a_gan_with_labels_penalty_dropout_and_batch_norm_is_that_of_one_process(pairs: Pairs) -> None:
    """In float64, so that rounding, which a GAN makes grow, hides nothing."""
    one = adversarial()
    for found in (*pairs("adversarial"), *pairs("adversarial", count=4)):
        for kind in ("weights", "terms"):
            assert one[kind].keys() == found[kind].keys()
        assert apart(one["weights"], found["weights"]) < 1e-12
        for name, value in one["terms"].items():
            assert float(value) == pytest.approx(float(found["terms"][name]), rel=1e-6), name


def test_all_processes_have_the_same_bits(pairs: Pairs) -> None:
    first, *others = pairs("adversarial", count=4)
    for other in others:
        assert all(torch.equal(value, other["weights"][key]) for key, value in first["weights"].items())


def test_what_is_no_number_in_one_process_stops_the_update_of_all(pairs: Pairs) -> None:
    for found in pairs("spoiled"):
        assert torch.equal(found["before"], found["after"])
        assert found["bad"] == 1
        assert found["loss"].isnan()


def test_the_pictures_lie_in_memory_once(pairs: Pairs) -> None:
    alone = pictures()
    for found in pairs("pictures"):
        assert torch.equal(found["near"], alone["near"])
        assert found["pixels"].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("batch", "words"), [(3, "set it to 2 or 4"), (1, "set it to 2$"), (5, "batch=5 cannot be divided among run.dev")]
)
def test_a_batch_that_cannot_be_divided_is_refused(batch: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "size", lambda: 2)
    with pytest.raises(InputError, match=words):
        share(lambda sample, step, generator: {}, batch)


def test_draws_are_rows_of_those_of_the_whole_batch() -> None:
    def draw(count: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        return [
            torch.rand(2 * count, 3, generator=generator),
            torch.rand((4 * count,), generator=generator),  # two sources, one after the other
            torch.randint(5, (2 * count, 1), generator=generator),
            torch.randint(2, 9, size=(2 * count,), generator=generator),
            torch.rand(3, generator=generator),  # of no picture
        ]

    whole = draw(2)
    with WholeBatch(2, 1, 2):
        mine = draw(1)
    rows = [[2, 3], [2, 3, 6, 7], [2, 3], [2, 3], [0, 1, 2]]
    assert all(torch.equal(a[i], b) for a, b, i in zip(whole, mine, rows, strict=True))


def test_settings_and_processes_must_agree(tiny: Tiny) -> None:
    cfg, out = tiny("r", *SHORT, "run.devices=2")
    with pytest.raises(InputError, match=r"run\.devices=2, but this process trains as one of 1"):
        train.run(cfg, out)
    with pytest.raises(InputError, match=r"run\.device=cuda:1 is one device and run\.devices=2"):
        Run("r", 1, device="cuda:1", devices=2)
    with pytest.raises(InputError, match=r"run\.devices=0: must be at least 1"):
        Run("r", 1, devices=0)


@pytest.mark.parametrize(
    ("codes", "reports", "received", "words"),
    [
        ([75, -9], [{}, {}], [], "process 2 of 2 was ended by SIGKILL, and the others with it; there is no checkpoint"),
        ([75, 2], [{}, {"problem": "bad"}], [], "^bad$"),
        ([75, 75], [{}, {}], [], "process 1 of 2 ended with code 75"),
    ],
)
def test_what_one_process_died_of_is_said_once(
    codes: list[int], reports: list[dict[str, str]], received: list[int], words: str, tmp_path: Path
) -> None:
    for i, told in enumerate(reports):
        (tmp_path / f"{i}.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=words):
        launch.outcome(codes, [0, 1], tmp_path, tmp_path / "run", received)


def test_faults_and_signals_keep_their_codes(tmp_path: Path) -> None:
    for codes, received, code in (([75, 1], [], 1), ([-15, 75], [signal.SIGTERM], 143)):
        with pytest.raises(SystemExit) as stop:
            launch.outcome(codes, [0, 1], tmp_path, tmp_path, received)
        assert stop.value.code == code
    (tmp_path / "0.json").write_text('{"stopped": "after step 3"}')
    with pytest.raises(KeyboardInterrupt, match="after step 3"):
        launch.outcome([130, 130], [], tmp_path, tmp_path, [signal.SIGINT])
    (tmp_path / "0.json").write_text('{"best": 0.5}')
    assert launch.outcome([0, 0], [], tmp_path, tmp_path, []) == 0.5


def members(process: int) -> dict[int, int]:
    """The processes of a run by rank, as Linux knows them."""
    found = {}
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        words = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {int(word[5:]): int(child) for word in words if word.startswith(b"RANK=")}
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of a run are found in /proc")
@pytest.mark.parametrize(("victim", "number"), [(1, signal.SIGKILL), (None, signal.SIGTERM)])
def test_one_killed_or_all_told_to_stop_ends_the_run_with_one_message(
    tiny: Tiny, victim: int | None, number: signal.Signals
) -> None:
    settings = ("model=densefuse", "run.steps=4000", "run.save_every=2", "run.val_every=3000", "run.evaluate=false")
    cfg, out = tiny("r", *settings)
    words = [*TINY, *settings, "run.devices=2", f"run.dir={out}"]
    command = [sys.executable, "-c", "from fuse.cli import train; train()", *words]
    said = out.parent / "said"
    with said.open("w") as file, subprocess.Popen(command, cwd=out.parent, env=ENVIRONMENT, stderr=file) as process:
        deadline = time.monotonic() + 120
        while step_of(out) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        processes = members(process.pid)
        assert sorted(processes) == [0, 1], said.read_text()
        os.kill(process.pid if victim is None else processes[victim], number)
        code = process.wait(timeout=60)
    lines, done = said.read_text().splitlines(), step_of(out)
    assert not [line for line in lines if "Traceback" in line]
    assert not any(Path(f"/proc/{child}").exists() for child in processes.values())
    assert not (out / "run.lock").exists()
    if victim is None:
        assert code == 130
        assert lines[-1] == f"stopped after step {done}; go on with: fuse-train run.resume=true run.dir={out}"
    else:
        assert code == 2
        assert [line for line in lines if line.startswith("fuse-train: ")] == [
            f"fuse-train: process 2 of 2 was ended by SIGKILL, and the others with it; go on from the last checkpoint "
            f"with: fuse-train run.resume=true run.dir={out}"
        ]
    logging.getLogger().handlers.clear()
    train.run(resumed(cfg, steps=done + 1), out)
    assert step_of(out) == done + 1
