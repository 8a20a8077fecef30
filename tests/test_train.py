"""The loop: what a run leaves, what follows from its seed, and how it stops."""

import csv
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fuse import checkpoint, infer, judge, train
from fuse.data.sample import Sample
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError

Tiny = Callable[..., tuple[dict[str, Any], Path]]
CALLS: list[int] = []


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def poisoned(fused: Tensor, sample: Sample) -> Tensor:
    """A term that is no number from its eighth call on."""
    CALLS.append(1)
    return fused.mean() * (float("nan") if len(CALLS) >= 8 else 1.0)


def terminated(fused: Tensor, sample: Sample) -> Tensor:
    """A term during whose seventh call somebody ends the process."""
    CALLS.append(1)
    if len(CALLS) == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    return 0 * fused.mean()


@pytest.fixture(autouse=True)
def _fresh_calls() -> None:
    CALLS.clear()


def with_term(cfg: dict[str, Any], function: Callable[..., Tensor]) -> dict[str, Any]:
    term = {"weight": 1, "term": {"_target_": f"{function.__module__}.{function.__name__}"}}
    return cfg | {"loss": cfg["loss"] | {function.__name__: term}}


@pytest.mark.parametrize("model", ["mffgan", "densefuse", "fusionnet"])
def test_a_run_leaves_what_the_contract_says(tiny: Tiny, model: str) -> None:
    cfg, out = tiny("run", f"model={model}", "run.steps=7", "run.log_every=2", "run.save_every=3")
    best = train.run(cfg, out)
    made = {path.name.partition(".")[0] for path in out.iterdir()}
    assert made == {"metrics", "last", "best", "events", "data", "environment"}
    networks = {"fuser", "iterate"} | ({"critic"} if model == "mffgan" else set())
    for folder in (out / "last", out / "best"):
        assert {path.stem for path in folder.glob("*.safetensors")} == networks
    table = rows(out)
    assert [row["step"] for row in table] == ["2", "4", "5", "6", "7"]  # 5 is a validation
    terms = {
        "mffgan": ["intensity", "gradient", "adversarial", "critic", "gradient_norm_critic"],
        "densefuse": ["loss", "pixel", "ssim"],
        "fusionnet": ["loss", "mse"],
    }[model]
    for name in (*terms, "gradient_norm_fuser", "lr", "patches_per_second", "data_share"):
        assert all(row[name] for row in table if row["step"] != "5")
    assert [row["val/psnr_ref"] != "" for row in table] == [False, False, True, False, True]
    card = json.loads((out / "last" / "config.json").read_text())
    assert card["step"] == 7
    assert card["fuser"] == cfg["model"]["fuser"]
    assert best is not None


def test_means_of_the_table_are_over_the_steps_since_the_last_line(tiny: Tiny) -> None:
    each, out = tiny("each", "run.steps=6", "run.log_every=1")
    train.run(each, out)
    few, other = tiny("few", "run.steps=6", "run.log_every=3")
    train.run(few, other)
    every = [float(row["intensity"]) for row in rows(out)]
    assert [float(row["intensity"]) for row in rows(other) if row["intensity"]] == pytest.approx(
        [sum(every[:3]) / 3, sum(every[3:]) / 3]
    )


@pytest.mark.parametrize("model", ["mffgan", "densefuse", "fusionnet"])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(tiny: Tiny, model: str) -> None:
    weights = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        cfg, out = tiny(folder, f"model={model}", f"run.seed={seed}", "run.steps=3")
        train.run(cfg, out)
        weights.append((out / "last" / "fuser.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_the_best_is_the_best(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=12", "run.val_every=2", "run.objective=psnr_ref", "optim.lr=0.02")
    best = train.run(cfg, out)
    scores = {int(row["step"]): float(row["val/psnr_ref"]) for row in rows(out) if row["val/psnr_ref"]}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    assert best == max(scores.values())
    card = json.loads((out / "best" / "config.json").read_text())
    assert scores[card["step"]] == best
    assert json.loads((out / "best" / "metrics.json").read_text()) == {"psnr_ref": best}
    fuser, _ = checkpoint.load(out / "best")
    sample = next(Synthetic(**{k: v for k, v in cfg["data"].items() if k != "_target_"}).samples("val"))
    assert judge.scores(infer.fuse(fuser, sample.sources), sample)["psnr_ref"] == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("objective", "choice"), [("mse_ref", min), ("brightness_shift", lambda values: min(values, key=abs))]
)
def test_the_best_follows_the_direction_of_the_objective(
    tiny: Tiny, objective: str, choice: Callable[[list[float]], float]
) -> None:
    cfg, out = tiny("run", "run.steps=8", "run.val_every=1", f"run.objective={objective}", "optim.lr=0.03")
    best = train.run(cfg, out)
    assert best == choice([float(row[f"val/{objective}"]) for row in rows(out)])


def test_validation_is_on_the_running_average_and_it_is_what_is_saved(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=4", "run.ema=0.5")
    train.run(cfg, out)
    average, iterate = (load_file(out / "last" / f"{name}.safetensors") for name in ("fuser", "iterate"))
    assert not torch.equal(average["output.weight"], iterate["output.weight"])
    cfg, out = tiny("off", "run.steps=4", "run.ema=0")
    train.run(cfg, out)
    assert not (out / "last" / "iterate.safetensors").exists()
    last = load_file(out / "last" / "fuser.safetensors")
    assert torch.equal(last["output.weight"], iterate["output.weight"])  # the average changes nothing of the training


def test_the_average_by_hand(tiny: Tiny) -> None:
    """Decay min(0.5, (1 + step) / (10 + step)): 0.1, then 2/11, then 3/12 ..."""
    iterates = []
    for steps in (1, 2, 3):
        cfg, out = tiny(str(steps), f"run.steps={steps}", "run.ema=0.5", "run.val_every=100")
        train.run(cfg, out)
        iterates.append(load_file(out / "last" / "iterate.safetensors")["output.weight"].double())
    averages = load_file(out / "last" / "fuser.safetensors")["output.weight"].double()
    torch.manual_seed(cfg["run"]["seed"])
    from fuse.models.mffgan import Generator

    wanted = Generator().output.weight.detach().double()
    for decay, iterate in zip((1 / 10, 2 / 11, 3 / 12), iterates, strict=True):
        wanted = decay * wanted + (1 - decay) * iterate
    torch.testing.assert_close(averages, wanted, rtol=1e-5, atol=1e-8)


def test_the_rate_follows_the_schedule(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=4", "run.log_every=1", "optim.lr=0.008")
    cfg["optim"]["schedule"] = {"_target_": "fuse.schedules.decay", "factor": 0.5, "every": 2}
    train.run(cfg, out)
    assert [float(row["lr"]) for row in rows(out)] == pytest.approx([0.008, 0.008, 0.004, 0.004])


def test_half_precision_runs_and_differs_a_little(tiny: Tiny) -> None:
    values = []
    for precision in ("float32", "bf16"):
        cfg, out = tiny(precision, "run.steps=3", f"run.precision={precision}", "model.fuser.init_std=null")
        train.run(cfg, out)
        values.append([float(rows(out)[0][name]) for name in ("intensity", "gradient")])
        assert load_file(out / "last" / "iterate.safetensors")["output.weight"].dtype == torch.float32
    assert values[0] != values[1]
    assert values[1] == pytest.approx(values[0], rel=0.05)


def test_a_loss_that_is_no_number_is_named_and_the_last_checkpoint_untouched(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=20", "run.save_every=3", "run.log_every=5")
    with pytest.raises(InputError, match=r"step 8: poisoned.* is not a finite number.*Lower optim\.lr"):
        train.run(with_term(cfg, poisoned), out)
    assert json.loads((out / "last" / "config.json").read_text())["step"] == 6
    state = checkpoint.restore(out / "last", {})
    assert state["step"] == 6
    assert all(torch.isfinite(x).all() for x in load_file(out / "last" / "fuser.safetensors").values())
    assert [row["step"] for row in rows(out)] == ["5"]
    CALLS.clear()
    cfg["run"] |= {"resume": True, "steps": 12}
    train.run(with_term(cfg, poisoned), out)  # from step 6: six more calls
    assert [row["step"] for row in rows(out)] == ["5", "10", "12"]


def test_a_loss_that_is_no_number_is_found_before_it_is_saved(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=20", "run.save_every=8", "run.log_every=100", "run.val_every=100")
    with pytest.raises(InputError, match="step 8: poisoned"):
        train.run(with_term(cfg, poisoned), out)
    assert not (out / "last").exists()


def test_the_end_asked_for_by_a_signal_saves_and_says_how_to_go_on(tiny: Tiny) -> None:
    cfg, out = tiny("run", "run.steps=20", "run.save_every=100")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        KeyboardInterrupt, match=rf"after step 7; go on with: fuse-train run\.resume=true run\.dir={out}"
    ):
        train.run(with_term(cfg, terminated), out)
    assert checkpoint.restore(out / "last", {})["step"] == 7
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["run.objective=psnr_reff"], "run.objective=psnr_reff is not a metric; did you mean psnr_ref"),
        (["run.objective=mean"], "run.objective=mean is neither better high nor low"),
        (["run.device=gpu"], "device 'gpu' cannot be used here"),
        (["run.precision=half"], "run.precision=half: choose auto, float32 or bf16"),
        (["run.steps=0", "run.ema=1"], "run.steps=0: must be at least 1\nrun.ema=1"),
        (["model.patches.size=64"], "train-000 is 40x40, smaller than a patch of 64; lower model.patches.size"),
        (["model.patches.size=30"], "patches of 30 pixels are too small"),
        (["model.patches.batch=99"], "windows on the grid do not fill a batch of 99"),
        (
            ["model.fuser._target_=fuse.models.mffgan.Generatr"],
            "model.fuser: 'fuse.models.mffgan.Generatr' cannot be used",
        ),
        (["+model.fuser.width=3"], "model.fuser.width: fuse.models.mffgan.Generator takes no 'width'; "),
        (["loss=fusionnet", "+loss.mse.term.rolle=x"], "loss.mse.term.rolle: .* takes no 'rolle'; did you mean role"),
        (
            ["loss=fusionnet", "loss.mse.term.role=ir"],
            "compares with the role 'ir', but these data have near, far, reference",
        ),
        (["model=densefuse", "loss=fusionnet"], "role 'reference', but these data have source"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(tiny: Tiny, overrides: list[str], words: str) -> None:
    cfg, out = tiny("run", *overrides)
    with pytest.raises(InputError, match=words):
        train.run(cfg, out)
    assert list(out.iterdir()) == []


def test_what_is_trained_on_is_said(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    cfg, out = tiny("run", "run.steps=5")
    with caplog.at_level(logging.INFO):
        train.run(cfg, out)
    assert "Generator on synthetic, 2 windows of 32 pixels" in caplog.text
    assert "5 steps of 2 patches on cpu in float32" in caplog.text
    assert "step 5: validation" in caplog.text


def test_what_was_logged_reaches_tensorboard_even_if_the_run_is_stopped(tiny: Tiny) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg, out = tiny("run", "run.steps=20", "run.log_every=2")
    with pytest.raises(KeyboardInterrupt):
        train.run(with_term(cfg, terminated), out)
    events = EventAccumulator(str(out))
    events.Reload()
    assert [event.step for event in events.Scalars("intensity")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("val/psnr_ref")] == [5]
    assert events.Tags()["images"] == ["val/val-000"]
