"""Judging: known pictures give known rows, whoever made them and wherever they lie."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from fuse import infer, judge, methods
from fuse.data import color, io
from fuse.data.sample import Sample
from fuse.data.sets import Folders
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError
from fuse.metrics import METRICS
from fuse.models.average import Average

CPU = torch.device("cpu")
REFERENCED = {"psnr_ref", "ssim_ref", "mse_ref", "psnr_inner"}


def data(test: int = 2) -> Synthetic:
    return Synthetic(size=40, train=1, val=1, test=test)


def table(out: Path) -> dict[tuple[str, str], dict[str, float]]:
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row.pop("method"), row.pop("pair")): {k: float(v) if v else math.nan for k, v in row.items()} for row in rows
    }


def grey(picture: Tensor) -> Any:
    return color.grey_levels(picture)[0, 0].numpy()


def test_scores_are_those_of_stored_grey_levels() -> None:
    sample = next(data().samples("test"))
    fused = infer.fuse(Average(), sample.sources)
    values = judge.scores(fused, sample)
    assert sample.reference is not None
    f, r = grey(fused), grey(sample.reference)
    assert values["psnr_ref"] == pytest.approx(peak_signal_noise_ratio(r, f, data_range=255), rel=1e-12)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    assert values["ssim_ref"] == pytest.approx(structural_similarity(f, r, **window)[1][5:-5, 5:-5].mean(), rel=1e-9)
    assert values["sd"] == pytest.approx(f.std(), rel=1e-9)
    assert values["brightness_shift"] == pytest.approx(f.mean() - sum(grey(x).mean() for x in sample.sources) / 2)


def test_sixteen_bits_are_judged_as_eight() -> None:
    sample = next(data().samples("test"))
    wide = Sample(tuple((x.int() * 257).to(torch.uint16) for x in sample.sources), None, sample.names, sample.roles)
    fused = infer.fuse(Average(), wide.sources)
    near = infer.fuse(Average(), sample.sources)
    assert fused.dtype == torch.uint16
    ours, theirs = judge.scores(fused, wide), judge.scores(near, sample._replace(reference=None))
    assert ours.keys() == theirs.keys()
    assert ours["mi"] == pytest.approx(theirs["mi"], rel=0.02)


def test_a_reference_is_needed_for_some_metrics_only() -> None:
    sample = next(data().samples("test"))
    fused = sample.sources[0]
    assert set(judge.scores(fused, sample)) >= REFERENCED
    assert not set(judge.scores(fused, sample._replace(reference=None))) & REFERENCED
    with pytest.raises(InputError, match="'psnr_ref' needs a reference"):
        judge.scores(fused, sample._replace(reference=None), ["psnr_ref"])
    assert list(judge.scores(fused, sample, ["psnr_ref", "en"])) == ["psnr_ref", "en"]
    assert judge.scores(sample.reference, sample, ["psnr_ref"])["psnr_ref"] == math.inf


def test_one_row_for_every_method_and_pair(tmp_path: Path) -> None:
    chosen = [methods.resolve(name, CPU) for name in ("average", "laplacian")]
    text, failures = judge.run(
        chosen, data(), "test", tmp_path / "e", ["psnr_ref", "en"], methods.trivial(("near", "far"))
    )
    assert failures == []
    rows = table(tmp_path / "e")
    names = {"average", "laplacian", "copy-near", "copy-far", "maximum", "stretched-average", "noisy-average"}
    assert set(rows) == {(name, f"test-00{number}") for name in names for number in (0, 1)}
    for sample in data().samples("test"):
        pair = sample.names[0]
        assert rows["copy-far", pair] == judge.scores(sample.sources[1], sample, ["psnr_ref", "en"])
        written = io.read(tmp_path / "e" / "fused" / "laplacian" / f"{pair}.png")[None]
        assert rows["laplacian", pair] == judge.scores(
            written, sample, ["psnr_ref", "en"]
        )  # what is stored is measured
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    for name in ("average", "laplacian"):
        values = [rows[name, f"test-00{number}"]["en"] for number in (0, 1)]
        cell = summary["scores"][name]["en"]
        assert cell["mean"] == pytest.approx(sum(values) / 2)
        assert cell["n"] == 2
        assert name in text
    assert summary["data"] == {"name": "synthetic", "split": "test", "identity": data().identity("test"), "pairs": 2}
    assert not (tmp_path / "e" / "fused" / "copy-near").exists()


def test_a_folder_of_our_own_pictures_scores_like_the_method(tmp_path: Path) -> None:
    ours = methods.resolve("laplacian", CPU)
    judge.run([ours], data(), "test", tmp_path / "e", ["q_g", "psnr_ref"])
    theirs = methods.resolve(str(tmp_path / "e" / "fused" / "laplacian"), CPU)
    assert theirs.name == "fused-laplacian"
    judge.run([theirs], data(), "test", tmp_path / "again", ["q_g", "psnr_ref"])
    one, other = table(tmp_path / "e"), table(tmp_path / "again")
    for number in (0, 1):
        assert one["laplacian", f"test-00{number}"] == other["fused-laplacian", f"test-00{number}"]


def test_a_picture_that_fails_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    samples = list(data(3).samples("test"))
    io.write(folder / "test-000.png", samples[0].sources[0][0])
    (folder / "test-001.png").write_bytes(b"broken")
    io.write(folder / "test-002.png", samples[2].sources[0][0, :, :30])
    chosen = [methods.resolve(str(folder), CPU), methods.resolve("average", CPU)]
    _, failures = judge.run(chosen, data(3), "test", tmp_path / "e", ["en"])
    assert len(failures) == 2
    assert "test-001" in failures[0]
    assert "cannot be read as a picture" in failures[0]
    assert "is 40x30 but its sources are 40x40" in failures[1]
    assert sum(method == "average" for method, _ in table(tmp_path / "e")) == 3
    assert sum(method != "average" for method, _ in table(tmp_path / "e")) == 1
    assert json.loads((tmp_path / "e" / "summary.json").read_text())["failures"] == failures


def test_an_evaluation_cut_off_goes_on_and_another_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    chosen = [methods.resolve("average", CPU), methods.resolve("laplacian", CPU)]
    original, left = judge.scores_together, [3]
    monkeypatch.setattr(judge, "AT_ONCE", 1)  # every pair by itself

    def dying(*given: Any) -> list[dict[str, float]]:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return original(*given)

    with monkeypatch.context() as patched:
        patched.setattr(judge, "scores_together", dying)
        with pytest.raises(Killed):
            judge.run(chosen, data(), "test", tmp_path / "e", ["en"])
    assert len(table(tmp_path / "e")) == 3
    left[0] = 1  # one row is missing
    with monkeypatch.context() as patched:
        patched.setattr(judge, "scores_together", dying)
        judge.run(chosen, data(), "test", tmp_path / "e", ["en"])
    judge.run(chosen, data(), "test", tmp_path / "whole", ["en"])
    assert table(tmp_path / "e") == table(tmp_path / "whole")
    for other in (["sd"], ["en", "sd"]):
        with pytest.raises(InputError, match="holds another evaluation"):
            judge.run(chosen, data(), "test", tmp_path / "e", other)
    with pytest.raises(InputError, match="holds another evaluation"):
        judge.run(chosen, data(), "val", tmp_path / "e", ["en"])


def test_further_methods_join_an_evaluation_and_none_may_leave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    average, laplacian = methods.resolve("average", CPU), methods.resolve("laplacian", CPU)
    judge.run([average], data(), "test", tmp_path / "e", ["en"])

    def never(sample: Any) -> Any:
        raise AssertionError("judged before")

    judge.run([average._replace(fuse=never), laplacian], data(), "test", tmp_path / "e", ["en"])
    judge.run([average, laplacian], data(), "test", tmp_path / "whole", ["en"])
    assert table(tmp_path / "e") == table(tmp_path / "whole")
    with pytest.raises(InputError, match="holds another evaluation, with other method average; choose"):
        judge.run([laplacian], data(), "test", tmp_path / "e", ["en"])
    other = average._replace(facts={**average.facts, "step": 2})
    with pytest.raises(InputError, match="with other method average; choose"):
        judge.run([other, laplacian], data(), "test", tmp_path / "e", ["en"])
    with pytest.raises(InputError, match="with other metrics, data; choose"):
        judge.run([average, laplacian], data(), "val", tmp_path / "e", ["sd"])
    (tmp_path / "e" / "evaluation.json").unlink()
    with pytest.raises(InputError, match="with other or unknown settings"):
        judge.run([average, laplacian], data(), "test", tmp_path / "e", ["en"])


def test_sets_without_reference_are_judged_without_it(tmp_path: Path) -> None:
    for number, sample in enumerate(data().samples("test")):
        for role, source in zip(("ir", "vi"), sample.sources, strict=True):
            io.write(tmp_path / "toy" / role / f"{number}.png", source[0, :1])
    splits = {"test": ["0"], "train": "rest"}
    toy = Folders("toy", "infrared", ["ir", "vi"], splits, "Ask.", root=str(tmp_path))
    judge.run([methods.resolve("average", CPU)], toy, "all", tmp_path / "e", trivial=methods.trivial(toy.roles))
    rows = table(tmp_path / "e")
    assert {pair for _, pair in rows} == {"0", "1"}
    assert ("copy-ir", "0") in rows
    assert not set(rows["average", "0"]) & REFERENCED


def test_a_strip_shows_everything_side_by_side() -> None:
    sample = next(data().samples("test"))
    fused = sample.sources[0][:, :1]
    strip = judge.strip(fused, sample)
    assert strip.shape == (3, 40, 160)
    assert torch.equal(strip[:, :, 40:80], sample.sources[1][0] / 255)
    assert sample.reference is not None
    assert torch.equal(strip[:, :, 120:], sample.reference[0] / 255)
    flat = Sample(tuple(torch.full((1, 1, 4, 4), level, dtype=torch.uint8) for level in (100, 50)), None, ("x",), ())
    difference = judge.strip(torch.full((1, 1, 4, 4), 80, dtype=torch.uint8), flat)[:, :, 12:]
    torch.testing.assert_close(difference, torch.full((3, 4, 4), 0.5 + 4 * 5 / 255))


def test_pictures_of_one_size_are_measured_together_and_score_as_alone() -> None:
    samples = list(data(4).samples("test"))
    fused = [infer.fuse(Average(), sample.sources) for sample in samples]
    names = [name for name in METRICS if METRICS[name].min_side <= 40]
    both = judge.scores_together(fused, samples, names)
    for picture, sample, row in zip(fused, samples, both, strict=True):
        assert row == pytest.approx(judge.scores(picture, sample, names), rel=1e-9, abs=1e-9, nan_ok=True)


def test_company_is_of_one_size_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(name: str, height: int, reference: bool = False) -> Sample:
        picture = torch.zeros(1, 1, height, 10, dtype=torch.uint8)
        return Sample((picture, picture), picture if reference else None, (name,), ("a", "b"))

    monkeypatch.setattr(judge, "AT_ONCE", 250)
    given = [*(sample(name, 10) for name in "abc"), sample("d", 20), sample("e", 10), sample("f", 10, True)]
    found = [[s.names[0] for s in company] for company in judge.together(given)]
    assert found == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]


def test_reading_ahead_keeps_order_and_errors() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise InputError("a picture cannot be read")

    seen: list[int] = []
    with pytest.raises(InputError, match="cannot be read"):
        seen.extend(judge.ahead(items()))
    found = judge.ahead(iter(range(4)))
    assert list(found) == [0, 1, 2, 3]


def test_a_method_cannot_take_the_name_of_a_source(tmp_path: Path) -> None:
    method = methods.resolve("average", CPU)._replace(name="near")
    with pytest.raises(InputError, match="called near like a picture of these data"):
        judge.run([method], data(), "test", tmp_path / "e")


def test_runs_that_differ_in_their_seed_alone_show_their_spread(tmp_path: Path) -> None:
    runs = [
        methods.resolve(rule, CPU)._replace(name=f"run{i}", facts={"kind": "checkpoint", "recipe": recipe})
        for i, (rule, recipe) in enumerate([("average", "one"), ("laplacian", "one"), ("maximum", "other")])
    ]
    judge.run(runs, data(), "test", tmp_path / "e", ["q_g"])
    spread = json.loads((tmp_path / "e" / "summary.json").read_text())["ranking"]["spread_over_runs"]
    assert list(spread) == ["one"]
    means = [
        sum(row["q_g"] for (name, _), row in table(tmp_path / "e").items() if name == run) / 2
        for run in ("run0", "run1")
    ]
    assert spread["one"]["q_g"]["mean"] == pytest.approx(sum(means) / 2)
    assert spread["one"]["q_g"]["runs"] == 2


def test_recipes_are_told_apart_but_for_seed_and_machine(composed: Any, tmp_path: Path) -> None:
    def told(*words: str) -> str | None:
        OmegaConf.save(OmegaConf.create(composed("train", *words)), tmp_path / "config.yaml")
        return methods.recipe(tmp_path)

    plain = told()
    assert plain is not None
    assert told("run.seed=3", "run.device=cpu", "run.log_every=3") == plain
    assert told("loss.gradient.weight=3") != plain
    assert told("run.steps=3") != plain
    for text in ("a: [", "model: 1", ""):
        (tmp_path / "config.yaml").write_text(text)
        assert methods.recipe(tmp_path) is None


class Unequal:
    """A set whose first source is half as wide and high as its second."""

    name, task, roles, reference, splits = "unequal", "infrared", ("ir", "vi"), None, {"test": ["a"]}

    def stems(self, split: str) -> list[str]:
        return ["a"]

    def samples(self, split: str) -> Iterator[Sample]:
        small, large = (torch.arange(n * n).view(1, 1, n, n).remainder(256).to(torch.uint8) for n in (20, 40))
        yield Sample((small, large), None, ("a",), self.roles)

    def identity(self, split: str) -> str:
        return "0" * 12


def test_sources_of_unequal_size_are_judged_at_the_size_of_the_largest(tmp_path: Path) -> None:
    class Larger(torch.nn.Module):
        resizes = True

        def forward(self, ir: Tensor, vi: Tensor) -> Tensor:
            return vi

    trivial = methods.trivial(Unequal.roles)
    larger = methods.network("larger", Larger(), {"kind": "checkpoint"})
    _, failed = judge.run([larger, methods.resolve("gff", CPU)], Unequal(), "test", tmp_path / "e", ["mse"], trivial)
    assert len(failed) == 1  # a method that cannot is listed, and the others go on
    assert "gff, a: sources of sizes" in failed[0]
    rows = table(tmp_path / "e")
    assert rows["larger", "a"] == rows["copy-vi", "a"]
    assert io.read(tmp_path / "e" / "fused" / "larger" / "a.png").shape == (1, 40, 40)
    assert rows["average", "a"]["mse"] < rows["copy-ir", "a"]["mse"]
