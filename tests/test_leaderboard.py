"""scripts/leaderboard: what it measures by hand, what it measures once, and the command on made pictures."""

import json
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import torch
from commands import ROOT
from test_leaderboard_page import Parsed
from torch import Tensor, nn

from fuse import methods, shipped
from fuse.data import io
from fuse.data.sample import Sample


@pytest.fixture
def leaderboard(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    loader = SourceFileLoader("script_leaderboard", str(ROOT / "scripts" / "leaderboard"))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def measuring(leaderboard: ModuleType) -> ModuleType:
    return import_module("leaderboard_costs")


class First(nn.Module):
    channels = 3

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a


class Mean(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) / 2


def pair(a: Tensor, b: Tensor) -> Sample:
    return Sample((a, b), None, ("one",), ("near", "far"))


def test_order_by_hand(measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"first": First(), "mean": Mean()}
    monkeypatch.setattr(methods, "fuser", lambda given, device: (known[given], {}))
    dark = torch.full((1, 1, 8, 10), 10, dtype=torch.uint8)
    split = dark.clone()
    split[..., 5:] = 50  # half of the pixels 40 brighter
    assert measuring.order("first", pair(dark, split), tmp_path / "none.png") == 20
    assert measuring.order("mean", pair(dark, split), tmp_path / "none.png") == 0
    red = torch.zeros(1, 3, 8, 10, dtype=torch.uint8)
    red[:, 0] = 100  # of luma round(29.9)
    assert measuring.order("first", pair(red, torch.zeros_like(red)), tmp_path / "none.png") == 30


def test_order_takes_the_stored_picture_unless_little_differs(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    class Counted(Mean):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            calls.append(1)
            return super().forward(a, b)

    monkeypatch.setattr(methods, "fuser", lambda given, device: (Counted(), {}))
    flat, stored = torch.full((1, 1, 32, 32), 10, dtype=torch.uint8), tmp_path / "one.png"
    io.write(stored, flat[0])
    assert measuring.order("mean", pair(flat, flat), stored) == 0
    assert len(calls) == 1
    io.write(stored, flat[0] + 3)
    assert measuring.order("mean", pair(flat, flat), stored) == 3
    assert len(calls) == 2
    rounded = flat[0].clone()
    rounded[0, 0, 0] += 1  # one pixel of 1024, as another machine may round it
    io.write(stored, rounded)
    assert measuring.order("mean", pair(flat, flat), stored) == 0
    assert len(calls) == 4


def test_costs_are_measured_once(measuring: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, calls = tmp_path / "costs" / "gff-640x480.json", list[int]()

    def measure() -> dict[str, float | None]:
        calls.append(1)
        return {"seconds": len(calls) / 2, "gflop": None}

    def ask(weights: str) -> dict[str, float | None]:
        found: dict[str, float | None] = measuring.kept(place, {"weights": weights}, measure)
        return found

    assert ask("aa") == ask("aa") == {"seconds": 0.5, "gflop": None}
    assert len(calls) == 1
    assert ask("bb") == {"seconds": 1, "gflop": None}  # the weights are others
    whole = place.read_text()
    for damaged in (whole[:-9], "", "[]", '{"of": {"weights": "bb"}, "found": 3}', whole.replace("1.0", '"x"')):
        before = len(calls)
        place.write_text(damaged)
        ask("bb")
        assert len(calls) == before + 1
        assert json.loads(place.read_text())["found"]["seconds"] == len(calls) / 2
    assert set(capsys.readouterr().err.splitlines()) == {"measuring gff-640x480"}


def test_memory_and_time_of_a_process_of_its_own(
    measuring: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ballast = torch.ones(2**27)  # 512 MiB of this process, which are none of the other's
    found = measuring.use("average")
    assert len(ballast) == 2**27
    assert found["seconds"] > 0
    picture = 640 * 480 * 3 * 4  # bytes of one colour picture of float32
    assert 3 * picture < found["bytes"] < 30 * picture
    monkeypatch.setattr(measuring, "CHILD", tmp_path / "nothing.py")
    assert measuring.use("average") == {"seconds": None, "bytes": None}


def test_costs_of_a_rule(measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "use", lambda given: {"seconds": 2.0, "bytes": 3.0})
    monkeypatch.setattr(measuring, "sample", lambda data, stem: pair(*torch.zeros(2, 1, 1, 64, 64).byte()))
    (tmp_path / "evaluation.json").write_text(json.dumps({"data": {"name": "made", "identity": "x"}}))
    asked = (tmp_path, "one", tmp_path / "costs")
    assert measuring.costs("laplacian", "laplacian", *asked) == (2, 3, None, 0)
    seconds, size, gflop, order = measuring.costs("focus", "focus", *asked)
    assert (seconds, size, order) == (2, 3, 0)
    assert gflop == 4.4
    assert {path.name for path in (tmp_path / "costs").iterdir()} == {
        f"{name}-{what}.json" for name in ("laplacian", "focus") for what in ("640x480", "made-one")
    }


def run_folder(place: Path, weights: bytes, task: str = "focus", target: str = "fuse.models.gacn.GACN") -> None:
    (place / "best").mkdir(parents=True)
    (place / "best" / "fuser.safetensors").write_bytes(weights)
    (place / "config.yaml").write_text(json.dumps({"data": {"task": task}, "model": {"fuser": {"_target_": target}}}))


def test_shipped_weights_stand_once(leaderboard: ModuleType, tmp_path: Path) -> None:
    run_folder(tmp_path / "runs" / "a", (shipped.folder("focus") / "fuser.safetensors").read_bytes())
    run_folder(tmp_path / "runs" / "b", b"others")
    run_folder(tmp_path / "runs" / "c", b"others", "infrared")
    assert leaderboard.trained(tmp_path / "runs", "focus") == [str(tmp_path / "runs" / "b")]
    assert leaderboard.trained(tmp_path / "runs", "infrared") == [str(tmp_path / "runs" / "c")]

    judged = tmp_path / "judged"
    (judged / "fused" / "runs-a").mkdir(parents=True)
    (judged / "fused" / "runs-b").mkdir()
    twin, other = ({"kind": "checkpoint", "weights": w} for w in (*leaderboard.twins() & digest("focus"), "0123"))
    focus = {"kind": "shipped", "weights": twin["weights"]}
    before = {"kind": "shipped", "weights": "4567"}
    told = {"metrics": ["q_g"], "methods": {"runs-a": twin, "runs-b": other, "focus": focus, "thermal@0": before}}
    (judged / "evaluation.json").write_text(json.dumps(told))
    (judged / "results.csv").write_text(
        "method,pair,q_g\nruns-a,1,0.5\nruns-b,1,0.25\nthermal@0,1,1\nfocus,1,0.5\nruns-b,2,0."
    )
    leaderboard.forget(judged)
    assert (judged / "results.csv").read_text() == "method,pair,q_g\nruns-b,1,0.25\nfocus,1,0.5\nruns-b,2,0."
    assert json.loads((judged / "evaluation.json").read_text())["methods"] == {"runs-b": other, "focus": focus}
    assert [path.name for path in (judged / "fused").iterdir()] == ["runs-b"]
    leaderboard.forget(tmp_path / "nothing yet")


def digest(name: str) -> set[str]:
    return {str(methods.fuser(name, torch.device("cpu"))[1]["weights"])}


def test_licences(leaderboard: ModuleType, tmp_path: Path) -> None:
    about = {"gacn": {"licence": "LGPL-2.1"}, "conditional": {"licence": "ours"}, "focus": {"licence": "GPL-3.0"}}
    run_folder(tmp_path / "a", b"")
    run_folder(tmp_path / "b", b"", target="fuse.models.conditional.Conditional")
    run_folder(tmp_path / "c", b"", target="mine.Net")
    runs = {name: {"kind": "checkpoint", "path": str(tmp_path / name)} for name in "abc"}
    assert [leaderboard.licence(name, facts, about) for name, facts in runs.items()] == ["LGPL-2.1", "MIT", ""]
    assert leaderboard.licence("laplacian", {"kind": "rule"}, about) == "MIT"
    assert leaderboard.licence("focus@0.5", {"kind": "shipped"}, about) == "GPL-3.0"


def test_pages_from_one_command(
    leaderboard: ModuleType,
    measuring: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    generator = torch.Generator().manual_seed(0)
    for role in ("ir", "vi"):
        for stem in ("01", "03"):
            (tmp_path / "data" / "tno" / role).mkdir(parents=True, exist_ok=True)
            picture = (torch.rand(1, 40, 48, generator=generator) * 255).byte()
            io.write(tmp_path / "data" / "tno" / role / f"{stem}.png", picture)
    (tmp_path / "theirs" / "tno" / "half").mkdir(parents=True)
    io.write(tmp_path / "theirs" / "tno" / "half" / "01.png", picture)
    (tmp_path / "theirs" / "tno" / "whole").mkdir()
    for stem in ("01", "03"):
        io.write(tmp_path / "theirs" / "tno" / "whole" / f"{stem}.png", picture)
    monkeypatch.setenv("FUSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(leaderboard, "PAGES", tmp_path / "docs")
    monkeypatch.setattr(leaderboard, "BOARDS", {"infrared": [leaderboard.Board("tno", ["01", "03"], ["q_g", "en"])]})
    monkeypatch.setattr(methods, "RULES", {name: methods.RULES[name] for name in ("average", "laplacian")})
    monkeypatch.setattr(measuring, "use", lambda given: {"seconds": 1.5, "bytes": 2.0**21})
    work = tmp_path / "work"
    words = ["--runs", str(tmp_path / "runs"), "--released", str(tmp_path / "theirs"), "--work", str(work)]
    monkeypatch.setattr("sys.argv", ["leaderboard", *words, "infrared"])
    leaderboard.main()
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "docs" / "infrared.html")
    shown = {"average", "laplacian", "thermal", "thermal@0", "thermal@1", "tno-whole", "copy-ir", "copy-vi"}
    shown |= {"noisy-average", "stretched-average", "maximum"}
    parsed = Parsed((tmp_path / "docs" / "infrared.html").read_text())
    assert not any(tag == "img" for tag, _ in parsed.tags)  # pictures are others'
    rows = {row[1]: dict(zip(parsed.rows[0], row, strict=True)) for row in parsed.rows[1:]}
    assert set(rows) == shown
    assert rows["thermal"]["ms"] == "1,500"
    assert rows["thermal"]["MiB"] == "2"
    assert rows["thermal"]["licence"] == rows["laplacian"]["licence"] == "MIT"
    assert rows["laplacian"]["order"] == rows["average"]["order"] == "0"
    assert rows["tno-whole"]["ms"] == rows["tno-whole"]["order"] == rows["tno-whole"]["licence"] == ""
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "infrared.html", "infrared.md", "tno.csv", "tno_methods.csv"
    }  # fmt: skip
    assert (work / "tno.png").exists()
    assert 'src="tno.png"' in (work / "infrared.html").read_text()
