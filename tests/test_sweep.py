"""Searches: trials are ordinary runs, the study survives kills, what collapses is given up, the front is the front."""

import csv
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from commands import ENVIRONMENT, TINY, Outcome
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fuse import sweep, sweep_study
from fuse.config import Run
from fuse.errors import InputError
from fuse.log import read_rows
from fuse.sweep_trial import hold

optuna.logging.set_verbosity(optuna.logging.WARNING)

WORDS = (*TINY, "run.steps=2", "sweep.trials=3", "sweep.objectives=[psnr_inner,brightness_shift]", "sweep.dir=s")
Sweep = Callable[..., Outcome]


def started(*words: str) -> Outcome:
    """`fuse-sweep` in this process."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "0")
        patch.setattr(sys, "argv", ["fuse-sweep", *words])
        try:
            sweep.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            GlobalHydra.instance().clear()
            root.setLevel(before[0])
            root.handlers[:] = before[1]
    return Outcome(code, "", "")


@pytest.fixture
def run_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sweep:
    """`fuse-sweep` in an empty folder, with what it prints."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: Outcome(started(*words).code, *capsys.readouterr())


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of three trials."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert started(*WORDS, "sweep.workers=2").code == 0
    return folder / "s"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_first_trial_is_the_recipe_and_the_others_stay_within_the_factor(swept: Path) -> None:
    rows = table(swept)
    assert [row["state"] for row in rows] == ["judged"] * 3
    assert (float(rows[0]["intensity"]), float(rows[0]["gradient"])) == (1, 5)
    for row in rows[1:]:
        assert 0.1 <= float(row["intensity"]) <= 10
        assert 0.5 <= float(row["gradient"]) <= 50
    assert len({row["gradient"] for row in rows}) == 3


def test_a_trial_is_an_ordinary_run_of_the_weights_it_says(swept: Path) -> None:
    for row in table(swept):
        folder = swept / row["folder"]
        cfg = OmegaConf.load(folder / "config.yaml")
        assert cfg.loss.gradient.weight == float(row["gradient"])
        assert cfg.loss.intensity.weight == float(row["intensity"])
        assert {"best", "last", "metrics.csv", "report.html", "train.log", "val"} <= {p.name for p in folder.iterdir()}


def test_scores_are_those_of_the_run_on_its_validation_pictures(swept: Path) -> None:
    for row in table(swept):
        last = read_rows(swept / row["folder"] / "metrics.csv")[-1]
        assert float(row["psnr_inner"]) == pytest.approx(float(last["val/psnr_inner"]), rel=1e-9)
        assert float(row["brightness_shift"]) == pytest.approx(abs(float(last["val/brightness_shift"])), rel=1e-9)


def test_tensorboard_has_the_weights_and_the_scores_of_a_trial(swept: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    row = table(swept)[1]
    events = EventAccumulator(str(swept / row["folder"]))
    events.Reload()
    (score,) = events.Scalars("sweep/psnr_inner")
    assert score.value == pytest.approx(float(row["psnr_inner"]), rel=1e-6)
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"loss.gradient.weight" in content


def test_the_page_needs_nothing_but_itself_and_shows_the_front(swept: Path) -> None:
    page = (swept / "sweep.html").read_text()
    front = [row["trial"] for row in table(swept) if row["front"] == "True"]
    assert front
    pictures = re.findall(r'<img src="([^"]{30})[^"]*" alt="([^"]*)"', page)
    assert all(source.startswith("data:image/") for source, _ in pictures)
    names = ["near", "far", "reference", *(f"trial {number}" for number in front)]
    assert sorted(alt for _, alt in pictures) == sorted(f"{name} of val-000" for name in names)
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script", page)
    assert page.count("<circle") == 3 * (1 + 2 * 2)  # trials, on the front and on every weight by objective
    assert page.count('class="front"') == len(front) * 5


def test_the_same_command_adds_nothing_however_it_is_logged(
    swept: Path, run_sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept.parent)
    before = table(swept)
    outcome = run_sweep(*WORDS, "run.log_every=1")  # how often a run is logged changes no result
    assert outcome.code == 0
    assert [row | {"front": ""} for row in table(swept)] == [row | {"front": ""} for row in before]
    assert "Pareto front" in outcome.out
    assert "rank correlation" in outcome.out
    assert outcome.out.splitlines()[-1] == "s"
    assert not list(swept.glob("trials/0003"))


def test_another_study_in_the_folder_is_refused(swept: Path, run_sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.parent)
    outcome = run_sweep(*WORDS, "loss.gradient.weight=7")
    assert outcome.code == 2
    assert "holds another study" in outcome.err
    assert "loss.gradient.weight 5 there, 7 here" in outcome.err
    assert len(table(swept)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep.objectives=[psnr_iner]"], "psnr_iner is not a metric; did you mean psnr_inner"),
        (["sweep.objectives=[mean]"], "mean is neither better high nor low"),
        (["sweep.objectives=[q_g,q_g]"], "name different metrics"),
        (["sweep.parameters=[gradent]"], "there is no 'gradent'; did you mean gradient"),
        (["sweep.parameters=[optim.lr]", "optim.lr=0"], "optim.lr=0 is no positive number"),
        (["sweep.parameters=[]"], "name at least one"),
        (["sweep.factor=1", "sweep.trials=0"], "sweep.trials=0: must be a whole number, at least 1\nsweep.factor=1"),
        (["run.dir=elsewhere"], "trials lie in the folder of the sweep"),
        (["run.objective=q_g"], "by the first of sweep.objectives"),
        (["sweep=loss_weight"], "did you mean loss_weights"),
        (["sweep.trals=3"], "did you mean sweep.trials"),
        (["-m"], "use fuse-train -m"),
        (["run.steps=0"], "run.steps=0"),
        (["data=lytro", "data.root=nowhere"], "lytro"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(words: list[str], said: str, run_sweep: Sweep) -> None:
    given = [word for word in WORDS if not (words[0] == "data=lytro" and word.startswith("data."))]
    outcome = run_sweep(*given, *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert list(Path().iterdir()) == []


def test_a_setting_that_only_training_refuses_ends_the_sweep(run_sweep: Sweep) -> None:
    outcome = run_sweep(*WORDS, "model.patches.size=64")
    assert outcome.code == 2
    assert "fuse-sweep: train-000 is 40x40, smaller than a patch of 64" in outcome.err
    assert "Traceback" not in outcome.err
    assert not Path("s/trials/0001").exists()


def test_what_stops_being_a_number_is_given_up_and_told(run_sweep: Sweep) -> None:
    words = ("sweep.trials=1", "sweep.parameters=optim.lr", "optim.lr=1e30", "run.steps=5", "run.log_every=1")
    outcome = run_sweep(*WORDS, *words)
    assert outcome.code == 0
    assert re.search(r"trial 0 stopped: step \d: .* is not a finite number", outcome.out)
    (row,) = table(Path("s"))
    assert (row["state"], row["psnr_inner"], row["front"]) == ("stopped", "", "False")
    assert "No trial was judged" in Path("s/sweep.html").read_text()


def test_a_killed_sweep_goes_on_by_the_same_command(run_sweep: Sweep) -> None:
    words = [*WORDS, "run.steps=15", "run.save_every=1", "run.log_every=1", "sweep.trials=1"]
    script = "from fuse.sweep import main; main()"
    process = subprocess.Popen([sys.executable, "-c", script, *words], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    folder = Path("s/trials/0000")
    deadline = time.monotonic() + 120
    while len(read_rows(folder / "metrics.csv")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(read_rows(folder / "metrics.csv")) < 15
    outcome = run_sweep(*words)
    assert outcome.code == 0
    assert "trial 0 was cut off and is tried again" in outcome.out
    first, second = table(Path("s"))
    assert (first["state"], second["state"]) == ("tried again", "judged")
    assert second["folder"] == "trials/0000"
    assert [first[name] for name in ("intensity", "gradient")] == [second[name] for name in ("intensity", "gradient")]
    assert [int(row["step"]) for row in read_rows(folder / "metrics.csv")] == list(range(1, 16))
    told = Path("s/trials/0000.log").read_text()
    assert told.count("15 steps of 2 patches") == 2  # it went on: no step was done twice
    assert len(re.findall(r"step 1/15", told)) == 1


def test_an_interrupted_sweep_saves_and_says_how_to_go_on(run_sweep: Sweep) -> None:
    def interrupt() -> None:
        while not Path("s/trials/0000/metrics.csv").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = run_sweep(*WORDS, "run.steps=100000", "run.log_every=1")
    thread.join()
    assert outcome.code == 130
    assert "same command goes on" in outcome.err
    assert json.loads(Path("s/trials/0000/last/config.json").read_text())["step"] < 100000
    study = optuna.load_study(study_name="sweep", storage="sqlite:///s/study.db")
    assert [trial.state.name for trial in study.trials] == ["FAIL"]
    assert not sweep_study.settled(study.trials)
    study._storage._backend.engine.dispose()


def plan(folder: Path, trials: int = 4) -> sweep.Plan:
    (folder / "trials").mkdir()
    space = {"loss.a.weight": (1.0, 0.1, 10.0), "optim.lr": (1e-3, 1e-4, 1e-2)}
    return sweep.Plan(
        folder, "made", {"run": vars(Run(dir="x", steps=9))}, [], [], ["q_g", "mse_ref"], space, trials, 1
    )


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[sweep.Plan], Any]]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", {"connect_args": {"timeout": 60}})
    yield lambda planned: sweep_study.opened(planned, storage)
    storage.remove_session()
    storage.engine.dispose()


def test_a_trial_that_ends_while_another_is_chosen_stays_as_it_ended(
    tmp_path: Path, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(tmp_path, 3)
    study = opened(planned)
    first = sweep_study.claim(planned, study)
    assert first is not None
    trial, lock = first
    original = sweep_study.hold

    def late(path: Path, **settings: Any) -> Any:
        if path.name == f"worker-{trial.number:04d}.lock":  # after the list of running trials was read
            study.tell(trial, [1.0, 1.0])
            lock.close()
        return original(path, **settings)

    monkeypatch.setattr(sweep_study, "hold", late)
    second = sweep_study.claim(planned, study)
    assert second is not None
    assert [t.state.name for t in study.get_trials(deepcopy=False)] == ["COMPLETE", "RUNNING"]
    second[1].close()


def test_several_workers_never_take_the_same_trial_nor_too_many(tmp_path: Path, opened: Callable[..., Any]) -> None:
    planned = plan(tmp_path, 6)
    study = opened(planned)

    def take(_: int) -> list[tuple[int, float]]:
        taken = []
        while claimed := sweep_study.claim(planned, study):
            trial, lock = claimed
            taken.append((trial.number, trial.params["optim.lr"]))
            study.tell(trial, [1.0, 1.0])
            lock.close()
        return taken

    with ThreadPoolExecutor(3) as pool:
        taken = sorted(itertools.chain.from_iterable(pool.map(take, range(3))))
    assert [number for number, _ in taken] == list(range(6))
    assert len({rate for _, rate in taken}) == 6


def test_a_process_that_dies_is_tried_three_times_and_a_dead_worker_does_not_count(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    planned = plan(tmp_path, 1)
    study = opened(planned)
    seen = []
    for attempt in range(5):
        claimed = sweep_study.claim(planned, study)
        if claimed is None:
            break
        trial, lock = claimed
        seen.append((trial.user_attrs.get("first", trial.number), trial.params))
        lock.close()  # as when the worker dies: the trial stays running with nobody holding its lock
        if attempt:
            trial.set_user_attr("died", "code 1")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert len(seen) == 4
    assert seen == [(0, {"loss.a.weight": 1.0, "optim.lr": 1e-3})] * 4


def test_a_trial_that_is_being_worked_on_is_left_alone(tmp_path: Path, opened: Callable[..., Any]) -> None:
    planned = plan(tmp_path, 1)
    study = opened(planned)
    claimed = sweep_study.claim(planned, study)
    assert claimed is not None
    assert sweep_study.claim(planned, study) is None
    claimed[1].close()
    assert sweep_study.claim(planned, study) is not None


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"from fuse.sweep_trial import hold; h = hold({str(path)!r}); print('held', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert hold(path) is None
    process.kill()
    process.communicate()
    lock = hold(path)
    assert lock is not None
    lock.close()


def test_a_trial_below_the_median_of_the_others_is_pruned() -> None:
    study = optuna.create_study(direction="minimize", pruner=optuna.pruners.MedianPruner())
    space = {"w": optuna.distributions.FloatDistribution(0.1, 10, log=True)}
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        trial = study.ask(space)
        assert not sweep_study.pruning(trial, "brightness_shift")(value, 10)
        study.tell(trial, value)
    assert not sweep_study.pruning(study.ask(space), "brightness_shift")(-2.5, 10)  # closer to zero than the median, 3
    assert sweep_study.pruning(study.ask(space), "brightness_shift")(-3.5, 10)


def test_what_is_searched_is_every_positive_weight_or_what_is_named() -> None:
    cfg = {"loss": {"range": [0, 1], "a": {"weight": 2}, "off": {"weight": 0}}, "optim": {"lr": 0.1, "fused": True}}
    assert sweep.searched(cfg, None) == {"loss.a.weight": 2}
    assert sweep.searched(cfg, ["a", "optim.lr"]) == {"loss.a.weight": 2, "optim.lr": 0.1}
    for wrong in (["off"], ["optim.fused"], ["loss.range"], ["b"]):
        with pytest.raises(InputError):
            sweep.searched(cfg, wrong)


def test_a_trial_is_a_command_that_can_be_typed(tmp_path: Path) -> None:
    planned = plan(tmp_path)._replace(words=["model=mffgan"])
    words = sweep_study.command(planned, {"loss.a.weight": 0.25}, Path("/a b/it's"), resume=False)
    chosen = ["model=mffgan", "run.objective=q_g", "loss.a.weight=0.25", r"run.dir='/a b/it\'s'"]
    assert words == ["run.evaluate=false", *chosen]
    assert sweep_study.command(planned, {}, Path("/x"), resume=True) == ["run.dir='/x'", "run.resume=true"]
