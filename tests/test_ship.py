"""Weights into the package: the card tells the run, and a run is shipped only with the command that made it."""

from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import torch
from commands import ROOT, TINY, Outcome

from fuse import methods, shipped

PAGE = """# tiny

Two sentences about it. They go on the card.

## What it does not do

Anything well.
"""


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(f"script_{name}", str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_run_becomes_a_method(
    run_command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["model=conditional", *TINY, "run.steps=5", "run.evaluate=false"]
    assert run_command("train", *words, "run.dir=runs/tiny").code == 0
    judged = run_command("eval", "method=[runs/tiny,average]", *TINY[:4], "metrics=[q_g,psnr_ref]", "out=judged")
    assert judged.code == 0
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tiny.md").write_text(PAGE)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    ship = script("ship")
    with pytest.raises(SystemExit, match=r"was not trained by fuse-train model=conditional .*: run.steps is 6 and 5"):
        ship.main("tiny", Path("runs/tiny"), [], ["model=conditional", *TINY, "run.steps=6"], tmp_path / "docs")
    assert not (tmp_path / "weights").exists()
    ship.main("tiny", Path("runs/tiny"), [Path("judged")], words, tmp_path / "docs")
    card = (tmp_path / "weights" / "tiny" / "card.md").read_text()
    assert shipped.about("tiny") == "Two sentences about it. They go on the card."
    assert f"    fuse-train {' '.join(words)}" in card
    header = next(line for line in card.splitlines() if line.startswith("| method |"))
    assert "psnr_ref" in header
    assert "q_g" in header
    assert card.index("| **tiny** |") < card.index("| average |")
    assert "Anything well." in card
    assert "Seed 0; shipped are the weights of step 5" in card
    fuser, facts = methods.fuser("tiny", torch.device("cpu"))
    other, _ = methods.fuser("runs/tiny", torch.device("cpu"))
    assert facts["step"] == 5
    assert all(torch.equal(x, other.state_dict()[name]) for name, x in fuser.state_dict().items())


def test_a_balance_is_shipped_with_it(
    run_command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["model=conditional", *TINY, "run.steps=2", "run.evaluate=false"]
    assert run_command("train", *words, "run.dir=runs/tiny").code == 0
    given = "method=[runs/tiny@0.75,runs/tiny@1,average]"
    assert run_command("eval", given, *TINY[:4], "metrics=[q_g]", "out=judged").code == 0
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tiny.md").write_text(PAGE)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    script("ship").main("tiny", Path("runs/tiny@0.75"), [Path("judged")], words, tmp_path / "docs")
    card = (tmp_path / "weights" / "tiny" / "card.md").read_text()
    assert "Balance 0.75, unless another is asked for." in card
    assert card.index("| **tiny** |") < card.index("| runs-tiny@1 |")
    assert vars(methods.fuser("tiny", torch.device("cpu"))[0])["balance"] == 0.75
