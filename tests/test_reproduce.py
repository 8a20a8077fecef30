"""scripts/reproduce: what is trained for a card, what its pages say of made rows, and a whole card on made pairs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from commands import ROOT, Outcome
from PIL import Image

from fuse.config import CONF
from fuse.protocol import load


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(name.removesuffix(".py"), str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


pages = script("reproduction_page.py")
reproduce = script("reproduce")
CARDS = sorted((ROOT / "scripts" / "reproduction").glob("*.yaml"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_name_what_exists(path: Path) -> None:
    card = yaml.safe_load(path.read_text())
    assert set(card) <= {"train", "steps", "full", "judge", "switches", "ladder", "seen"}
    experiment = card["train"][0].partition("=")[2]
    assert Path(CONF, "experiment", f"{experiment}.yaml").exists()
    for board in card["judge"]:
        columns = board.get("metrics", list(load(board["protocol"]).metrics))
        for row in [*board.get("printed", []), *board.get("printed_stretched", [])]:
            assert set(row) - {"row", "pairs"} <= set(columns)
    names = [switch["name"] for switch in [*card.get("switches", []), *card.get("ladder", [])]]
    assert len(set(names)) == len(names)
    assert all(("use" in switch) != ("train" in switch) for switch in card.get("switches", []))


def test_planned_runs() -> None:
    card: dict[str, Any] = {
        "train": ["experiment=a"],
        "steps": 7,
        "switches": [{"name": "x", "train": ["x=1"]}, {"name": "y", "use": {"rule": "sum"}}],
        "ladder": [{"name": "p", "train": ["p=1"]}, {"name": "q", "train": ["q=2", "p=3"]}],
    }
    recipe = ["experiment=a", "run.steps=7"]
    planned = {(run.row, run.seed): run.words for run in reproduce.planned(card)}
    assert planned == {
        **{("ours", seed): recipe for seed in (0, 1, 2)},
        ("x", 0): [*recipe, "x=1"],
        **{("y", seed): recipe for seed in (0, 1, 2)},
        **{("p", seed): [*recipe, "p=1"] for seed in (0, 1, 2)},
        **{("q", seed): [*recipe, "p=3", "q=2"] for seed in (0, 1, 2)},
    }
    assert {run.row for run in reproduce.planned(card) if run.use} == {"y"}


def made_card(values: dict[str, list[float | None]]) -> tuple[Any, dict[str, Any]]:
    """A card of rows with a value for every seed, and the summary that holds them."""
    runs = [
        pages.Run(row, seed, [], folder=Path(f"/made/{row}-{seed}"))
        for row, numbers in values.items()
        for seed in range(len(numbers))
    ]
    scores = {
        f"made-{row}-{seed}": {"q_g": {"mean": x}} for row, found in values.items() for seed, x in enumerate(found)
    }
    summary = {"metrics": {"q_g": {}}, "scores": scores, "trivial": []}
    return pages.Card("made", {}, runs, []), summary


def test_a_difference_is_bold_beyond_two_deviations() -> None:
    card, summary = made_card({"ours": [0.4, 0.5, 0.6], "little": [0.59], "much": [0.61], "three": [0.7, 0.71, 0.72]})
    assert pages.change(card, "little", summary, "q_g") == "+0.190"  # to the first seed; the deviation is 0.1
    assert pages.change(card, "much", summary, "q_g") == "**+0.210**"
    assert pages.change(card, "three", summary, "q_g") == "**+0.210**"  # 0.71 to 0.5
    assert pages.spread(pages.values(card, "ours", summary, "q_g")) == "0.5000 ± 0.1"


def test_a_value_that_is_missing_is_no_difference() -> None:
    card, summary = made_card({"ours": [0.4, None, 0.6], "switch": [0.5]})
    assert pages.spread(pages.values(card, "ours", summary, "q_g")) == "-"
    assert pages.change(card, "switch", summary, "q_g") == "+0.100"
    card, summary = made_card({"ours": [0.4, 0.5, 0.6], "switch": [None]})
    assert pages.change(card, "switch", summary, "q_g") == "-"


CARD = """
train: [experiment=densefuse_tno, model.patches.size=32, model.patches.batch=1]
steps: 2
full: many more
judge:
  - data: tno
    pairs: ["03", "05"]
    protocol: fuse-1
    metrics: [q_g, en]
    stretched: cddfuse-2023-stretched
    printed: [{row: somebody, pairs: 25 of TNO, q_g: 0.125}]
    pictures: {theirs: copies}
switches:
  - {name: sum, why: features are added, use: {rule: sum}}
  - {name: no SSIM, why: pixels alone, train: [loss.ssim.weight=0]}
"""


def test_a_card_from_training_to_page(
    run_command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    for folder in ("tno/ir", "tno/vi", "released/tno/copies"):
        (tmp_path / folder).mkdir(parents=True)
        for stem in ("15", "03", "05", "25", "30"):
            levels = generator.integers(0, 256, (8, 8), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
            Image.fromarray(levels).save(tmp_path / folder / f"{stem}.png")
    (tmp_path / "cards").mkdir()
    for name in ("tiny", "twin"):
        (tmp_path / "cards" / f"{name}.yaml").write_text(CARD)
    monkeypatch.setenv("FUSE_DATA", str(tmp_path))
    monkeypatch.setattr(reproduce, "CARDS", tmp_path / "cards")
    monkeypatch.setattr(reproduce, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(reproduce, "SEEDS", (0, 1))
    started: list[str] = []

    def here(words: list[str]) -> subprocess.CompletedProcess[str]:
        command = "train" if "train()" in words[2] else "eval"
        started.append(command)
        done = run_command(command, *words[3:])
        assert done.code == 0, done.err
        return subprocess.CompletedProcess(words, done.code)

    monkeypatch.setattr(reproduce.subprocess, "run", here)
    words = ["reproduce", "--work", "work", "--released", str(tmp_path / "released")]
    monkeypatch.setattr(sys, "argv", [*words, "tiny"])
    reproduce.main()
    assert not (tmp_path / "pages" / "README.md").exists()
    assert started == ["train"] * 3 + ["eval"] * 2
    page = (tmp_path / "pages" / "tiny.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert "| *somebody (25 of TNO)* | 0.125 |  |" in rows
    assert any(row.startswith("| theirs | ") for row in rows)
    assert sum(row.startswith("| **ours** | ") and " ± " in row for row in rows) == 2
    assert any(row.startswith("| sum | features are added (in use) | ") for row in rows)
    assert any(row.startswith("| no SSIM | pixels alone | ") for row in rows)
    assert sum(row.startswith("| copy-vi | ") for row in rows) == 2
    rule = yaml.safe_load(next((tmp_path / "work" / "tiny").glob("*-0-*/config.json")).read_text())["fuser"]["rule"]
    assert rule == "sum"

    started.clear()
    shutil.copytree("work/tiny", "work/twin", ignore=shutil.ignore_patterns("tno-*"))
    monkeypatch.setattr(sys, "argv", words)
    reproduce.main()  # nothing is trained again, nor judged: the same page
    assert started == ["eval"] * 4
    assert (tmp_path / "pages" / "tiny.md").read_text() == page
    assert "[tiny](tiny.md)" in (tmp_path / "pages" / "README.md").read_text()
