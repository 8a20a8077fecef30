"""What a search watches and finds: trials that collapse, scores handed on, the front, rank correlation."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy import stats

from fuse import sweep_page, sweep_trial
from fuse.sweep_trial import Watch, collapse

CONFIG = {"model": {"fuser": {"_target_": "fuse.models.X"}}, "run": {"steps": 100}}


def picture(level: float, height: int = 8) -> torch.Tensor:
    ramp = torch.arange(height * height).reshape(1, 1, height, height) % 16
    return (ramp + level).to(torch.uint8)


def test_collapse_is_of_all_pictures_not_of_one() -> None:
    a, b, white = picture(60), picture(90), torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert collapse([(a, [a, b]), (a, [a, b])]) == "every picture is source 1 alone"
    assert collapse([(a, [a, b]), (b, [a, b])]) is None  # each a copy, but not of the same source
    assert collapse([(a, [a, b]), (picture(75), [a, b])]) is None
    assert "saturated" in (collapse([(white, [a, b]), (white, [b, a])]) or "")
    assert collapse([(white, [a, b]), (picture(75), [a, b])]) is None
    assert collapse([]) is None


def test_a_grid_on_every_picture_is_a_collapse() -> None:
    flat = torch.full((1, 1, 32, 32), 100, dtype=torch.uint8)
    a, b = flat + picture(0, 32) * 2, flat + picture(0, 32).transpose(-1, -2) * 2
    middle = (a.float() + b) / 2
    board = 4 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2)
    gridded = (middle + board).to(torch.uint8)
    found = "every picture has a grid; one repeats 1.7 levels every 2 pixels"
    assert collapse([(gridded, [a, b]), (gridded, [b, a])]) == found
    assert collapse([(gridded, [a, b]), (middle.to(torch.uint8), [a, b])]) is None


def test_two_collapsed_checkpoints_in_a_row_end_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = picture(60), picture(90)
    made: list[torch.Tensor] = []
    monkeypatch.setattr(sweep_trial.methods, "fuser", lambda *_: (torch.nn.Identity(), {}))
    monkeypatch.setattr(sweep_trial.infer, "fuse", lambda *_: made[-1])
    samples: Any = [sweep_trial.Sample((near, far), None, ("x",), ("near", "far"))]
    watch = Watch(tmp_path, CONFIG, samples)
    assert watch.verdict("q_g", None) is None  # no checkpoint yet
    (tmp_path / "last").mkdir()

    def saved(step: int, fused: torch.Tensor) -> str | None:
        made.append(fused)
        (tmp_path / "last" / "config.json").write_text(json.dumps({"step": step}))
        return watch.verdict("q_g", None)

    assert saved(1, near) is None
    assert watch.verdict("q_g", None) is None  # the same checkpoint seen again
    assert saved(2, picture(75)) is None
    assert saved(3, near) is None
    assert saved(4, near) == "every picture is source 1 alone, at step 4 as at the checkpoint before"


def test_validation_scores_are_handed_on_once_each(tmp_path: Path) -> None:
    watch = Watch(tmp_path, CONFIG, [])
    seen: list[tuple[float, int]] = []

    def report(value: float, step: int) -> bool:
        seen.append((value, step))
        return step >= 20

    (tmp_path / "metrics.csv").write_text("step,a,val/q_g\n5,1,\n10,1,0.5\n")
    assert watch.verdict("q_g", report) is None
    (tmp_path / "metrics.csv").write_text("step,a,val/q_g\n5,1,\n10,1,0.5\n20,1,0.4\n")
    os.utime(tmp_path / "metrics.csv", (0, 0))
    assert watch.verdict("q_g", report) == "worse than the median of the other trials at step 20"
    assert seen == [(0.5, 10), (0.4, 20)]


def judged(*values: tuple[float, ...]) -> list[Any]:
    return [SimpleNamespace(number=i, values=list(v)) for i, v in enumerate(values)]


def test_the_front_is_what_nothing_beats() -> None:
    trials = judged((0.5, 10.0), (0.6, 20.0), (0.4, 12.0), (0.6, 20.0), (0.6, 25.0), (0.3, 9.0))
    found = sweep_page.front(trials, ["q_g", "mse_ref"])  # q_g: higher, mse_ref: lower is better
    assert [trial.number for trial in found] == [1, 3, 0, 5]
    assert [trial.number for trial in sweep_page.front(judged((1.0,), (3.0,), (2.0,)), ["q_g"])] == [1]
    assert sweep_page.front([], ["q_g"]) == []


def test_rank_correlation_is_that_of_scipy() -> None:
    x, y = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0]
    assert sweep_page.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert sweep_page.spearman([1, 2, 3], [1, 8, 27]) == 1
    assert sweep_page.spearman([1, 2], [5, 5]) != sweep_page.spearman([1, 2], [5, 5])  # NaN
    assert sweep_page.spearman([1], [5]) != sweep_page.spearman([1], [5])
