"""`fuse-train` and `fuse-eval` as people meet them: results, mistakes, exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, TINY, Outcome
from omegaconf import OmegaConf
from torch import Tensor

from fuse import train
from fuse.data import io
from fuse.data.sample import Sample
from fuse.data.synthetic import Synthetic

Run = Callable[..., Outcome]
CALLS: list[int] = []
QUICK = (*TINY, "run.steps=2")
SMALL = ("data.size=40", "data.train=1", "data.val=1", "data.test=2")


def summary_of(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "summary.json").read_text())


def modules_after(code: str, *names: str) -> list[bool]:
    """Whether modules were imported by a piece of code in a fresh process."""
    report = f"print([name in sys.modules for name in {names!r}], file=sys.stderr)"
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n{report}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    return json.loads(done.stderr.splitlines()[-1].lower())


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["model=mffgann"]])
def test_answers_that_need_no_pytorch_do_without(words: list[str], tmp_path: Path) -> None:
    code = f"sys.argv = ['fuse-train', *{words!r}, 'run.dir={tmp_path / 'x'}']; from fuse.cli import train; train()"
    assert modules_after(code, "torch", "torchvision", "cv2", "hydra") == [False, False, False, True]


def test_importing_the_package_imports_nothing_slow() -> None:
    names = ("hydra", "torchvision", "torch", "cv2", "omegaconf")
    assert modules_after("import fuse; fuse.__version__", *names) == [False] * 5
    assert modules_after("import fuse; fuse.load, fuse.metrics", *names[:2]) == [False] * 2


def test_help_names_every_group(run_command: Run) -> None:
    outcome = run_command("train", "--help")
    assert outcome.code == 0
    for line in ("model: attentionfgan, cddfuse", "loss: attentionfgan, cddfuse", "critic: gap, gmp", "fuse-train"):
        assert line in outcome.out


@pytest.mark.parametrize(("model", "parameters"), [("mffgan", 40_033), ("densefuse", 74_193), ("fusionnet", 1_702_211)])
def test_a_run_trains_judges_and_says_where(run_command: Run, model: str, parameters: int) -> None:
    outcome = run_command("train", *QUICK, f"model={model}")
    assert outcome.code == 0
    assert outcome.err == ""
    out = Path(outcome.out.splitlines()[-1])
    assert out.parent == Path("outputs/train", f"{model}-synthetic")
    assert {"config.yaml", "train.log", "metrics.csv", "last", "best", "eval", "report.html"} <= {
        path.name for path in out.iterdir()
    }
    config = OmegaConf.to_container(OmegaConf.load(out / "config.yaml"))
    assert isinstance(config, dict)
    assert config["run"]["steps"] == 2
    assert config["run"]["dir"] == str(out.resolve())
    summary = json.loads((out / "eval" / "summary.json").read_text())
    assert {"trained", "laplacian", "average", "maximum", "copy-near", "copy-far"} <= set(summary["scores"])
    facts = summary["methods"]["trained"]
    assert (facts["parameters"], facts["step"]) == (parameters, 2)
    assert summary["data"]["pairs"] == 1
    for name in ("results.csv", "table.md", "table.tex", "report.html", "fused/trained/test-000.png"):
        assert (out / "eval" / name).is_file()
    assert io.read(out / "eval" / "fused" / "trained" / "test-000.png").shape == (3, 40, 40)
    again = run_command("eval", f"ckpt={out}", *SMALL, "out=judged")
    assert again.code == 0
    assert again.out.splitlines()[-1] == "judged"


def test_a_run_can_be_resumed_and_lengthened_and_is_judged_anew(run_command: Run) -> None:
    assert run_command("train", *QUICK, "run.dir=r", "optim.lr=0.02", "run.objective=psnr_ref").code == 0
    before = summary_of("r/eval")
    outcome = run_command("train", "run.resume=true", "run.dir=r", "run.steps=12")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "r"
    assert json.loads(Path("r/last/config.json").read_text())["step"] == 12
    after = summary_of("r/eval")
    assert before["methods"]["trained"]["step"] == 2
    assert after["methods"]["trained"]["step"] > 2
    assert after["scores"]["trained"] != before["scores"]["trained"]
    config = OmegaConf.to_container(OmegaConf.load("r/config.yaml"))
    assert isinstance(config, dict)
    assert (config["run"]["steps"], config["data"]["size"], config["model"]["patches"]["batch"]) == (12, 40, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=densefuse"], "model=densefuse: a resumed run keeps its data, model, loss and seed"),
        (["run.seed=3"], "run.seed=3: a resumed run keeps"),
        (["run.steps=x"], "run.steps: "),
        (["data.size=64", "optim.lr=1"], "data.size=64 optim.lr=1: a resumed run keeps"),
    ],
)
def test_a_resumed_run_stays_the_same_run(run_command: Run, words: list[str], message: str) -> None:
    assert run_command("train", *QUICK, "run.dir=r", "run.evaluate=false").code == 0
    before = Path("r/config.yaml").read_text()
    outcome = run_command("train", "run.resume=true", "run.dir=r", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert Path("r/config.yaml").read_text() == before


def test_a_run_is_not_overwritten(run_command: Run) -> None:
    assert run_command("train", *QUICK, "run.dir=r", "run.evaluate=false").code == 0
    before = {path: path.read_bytes() for path in Path("r/last").iterdir()}
    outcome = run_command("train", *QUICK, "run.dir=r", "run.seed=5")
    assert outcome.code == 2
    assert "holds a run already; add run.resume=true" in outcome.err
    assert {path: path.read_bytes() for path in Path("r/last").iterdir()} == before


MISTAKES = [
    ("train", ["model=mffgann"], "model=mffgann: there is no such model; did you mean mffgan"),
    ("train", ["data=lytor"], "data=lytor: there is no such data; did you mean lytro"),
    ("train", ["loss=zzzz"], "choose from attentionfgan, cddfuse"),
    ("train", ["modle=mffgan"], "there is no 'modle'; did you mean model"),
    ("train", ["loss.gradeint.weight=3"], "there is no 'loss.gradeint.weight'; did you mean loss.gradient.weight"),
    ("train", ["run.stpes=3"], "there is no 'run.stpes'; did you mean run.steps"),
    ("train", ["model=densefuse", "model.fuser.roll=sum"], "did you mean model.fuser.rule"),
    ("train", ["run.steps=abc"], "run.steps: "),
    ("train", ["run.steps=-5"], "run.steps=-5: must be at least 1"),
    ("train", ["run.ema=2", "run.precision=fp8"], "run.ema=2.0: must be in [0, 1)"),
    ("train", ["run.objective=psnrref"], "run.objective=psnrref is not a metric; did you mean psnr_ref"),
    ("train", ["run.device=tpu"], "device 'tpu' cannot be used here"),
    ("train", ["data=lytro", "data.root=nowhere"], "data set lytro is not in nowhere/lytro. Get it with"),
    ("train", ["model.fuser.init_std"], "init_std"),
    ("train", ["model.patches.size=[1"], "[1"),
    ("train", ["loss.gradient.term._target_=fuse.losses.terms.decided"], "loss.gradient.term: 'fuse.losses"),
    ("train", ["model=fusionnet", "data=tno"], "loss.mse compares with the role 'reference'"),
    ("train", ["loss.intensity.weight=heavy", *TINY], "loss.intensity.weight=heavy: must be a number"),
    ("train", ["run.resume=true", "run.dir=nowhere"], "holds no run to resume"),
    ("train", [*TINY, "model.patches.order=gird"], "order=gird"),
    ("train", [*TINY, "data.val=0"], "every split at least one"),
    ("eval", [], "nothing to judge: give ckpt=PATH, method=NAME"),
    ("eval", ["method=avrage"], "neither a rule, a shipped network nor a folder; did you mean average"),
    ("eval", ["ckpt=nowhere"], "nowhere holds no checkpoint"),
    ("eval", ["method=average", "split=tset", *SMALL], "no split 'tset'; it has all, train, val, test"),
    ("eval", ["method=average", "metrics=[psnrr]", *SMALL], "metrics: 'psnrr' is not a metric; did you mean psnr"),
    (
        "eval",
        ["method=average", "data=tno", "metrics=psnr_ref", "data.root=nowhere"],
        "metrics: 'psnr_ref' needs a ref",
    ),
    ("eval", ["mehtod=average"], "there is no 'mehtod'; did you mean method"),
    ("eval", ["method=average", "tile=wide", *SMALL], "tile=wide: must be a side in pixels"),
    ("eval", ["method=average", "tile=-4", *SMALL], "tile=-4: must be a side in pixels"),
    ("eval", ["method=[average,average]", *SMALL], "two methods share a name"),
]


@pytest.mark.parametrize(
    ("command", "words", "message"),
    MISTAKES,
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("unchecked_types")
def test_a_mistake_gets_one_message_and_leaves_nothing(
    run_command: Run, command: str, words: list[str], message: str, tmp_path: Path
) -> None:
    outcome = run_command(command, *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.startswith(f"fuse-{command}: ")
    assert "Traceback" not in outcome.err
    assert len(outcome.err.splitlines()) <= 4
    assert list(tmp_path.iterdir()) == []


def test_our_own_faults_are_shown_whole(run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(train, "run", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_command("train", *QUICK)


def terminated(fused: Tensor, sample: Sample) -> Tensor:
    """A term during whose third call somebody presses Ctrl-C."""
    CALLS.append(1)
    if len(CALLS) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return 0 * fused.mean()


def test_ctrl_c_saves_and_says_how_to_go_on(run_command: Run) -> None:
    CALLS.clear()
    term = "+loss.stop={weight: 1, term: {_target_: test_cli.terminated}}"
    outcome = run_command("train", *TINY, "run.steps=50", "run.dir=r", term)
    assert outcome.code == 130
    assert outcome.err.startswith("stopped after step 3; go on with: fuse-train run.resume=true run.dir=")
    resume = outcome.err.strip().partition("fuse-train ")[2].split()
    assert run_command("train", *resume, "run.steps=4", "run.evaluate=false").code == 0
    assert json.loads(Path("r/last/config.json").read_text())["step"] == 4


def test_a_loss_that_is_no_number_ends_with_a_message(run_command: Run) -> None:
    outcome = run_command("train", *QUICK, "run.dir=r", "loss.intensity.weight=inf")
    assert outcome.code == 2
    assert "is not a finite number" in outcome.err


def test_many_methods_and_a_folder_give_one_table(run_command: Run, tmp_path: Path) -> None:
    sample = next(Synthetic(size=40, train=1, val=1, test=2).samples("test"))
    for number in range(2):
        io.write(tmp_path / "theirs" / "new" / f"test-00{number}_fused.png", sample.sources[number][0])
    outcome = run_command("eval", "method=[average,laplacian,theirs/new]", *SMALL, "out=e", "trivial=false")
    assert outcome.code == 0
    summary = json.loads(Path("e/summary.json").read_text())
    assert set(summary["scores"]) == {"average", "laplacian", "theirs-new"}
    for name in summary["scores"]:
        assert name in outcome.out
    assert outcome.out.splitlines()[-1] == "e"
    assert not Path("e/fused/theirs-new").exists()  # what is theirs is not copied


def test_pictures_that_fail_are_listed_and_the_rest_is_done(run_command: Run, tmp_path: Path) -> None:
    sample = next(Synthetic(size=40, train=1, val=1, test=2).samples("test"))
    io.write(tmp_path / "mine" / "test-000.png", sample.sources[0][0])
    outcome = run_command("eval", "method=[average,mine]", *SMALL, "out=e")
    assert outcome.code == 3
    assert "failed:" in outcome.err
    assert "has 0 pictures for 'test-001'" in outcome.err
    rows = Path("e/results.csv").read_text().splitlines()
    assert sum("average,test-" in row and not row.startswith(("stretched", "noisy")) for row in rows) == 2
    assert outcome.out.splitlines()[-1] == "e"


def test_a_folder_of_which_nothing_fits_is_a_mistake(run_command: Run, tmp_path: Path) -> None:
    io.write(tmp_path / "mine" / "other.png", next(Synthetic(size=40).samples("test")).sources[0][0])
    outcome = run_command("eval", "method=mine", *SMALL, "out=e")
    assert outcome.code == 2
    assert "nothing could be judged" in outcome.err


def test_one_metric_and_another_split(run_command: Run) -> None:
    assert run_command("eval", "method=average", "metrics=[psnr]", "split=val", *SMALL, "out=e").code == 0
    summary = summary_of("e")
    assert set(summary["scores"]["average"]) == {"psnr"}
    assert (summary["data"]["split"], summary["data"]["pairs"]) == ("val", 1)
