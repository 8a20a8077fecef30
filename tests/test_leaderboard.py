"""scripts/leaderboard: what it measures by hand, what it measures once, and its pages of made evaluations."""

import csv
import json
from html.parser import HTMLParser
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from commands import ROOT
from test_report_browser import CHROMIUM, DRIVER, Browser
from torch import Tensor, nn

from fuse import methods, ranking, report, shipped
from fuse.data import io
from fuse.data.sample import Sample
from fuse.metrics import METRICS

STEMS = ("one", "two", "three")


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


@pytest.fixture
def pages(leaderboard: ModuleType) -> ModuleType:
    return import_module("leaderboard_page")


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
    told = {"metrics": ["q_g"], "methods": {"runs-a": twin, "runs-b": other, "focus": focus}}
    (judged / "evaluation.json").write_text(json.dumps(told))
    (judged / "results.csv").write_text("method,pair,q_g\nruns-a,1,0.5\nruns-b,1,0.25\nfocus,1,0.5\nruns-b,2,0.")
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


def evaluation(pages: ModuleType) -> tuple[dict[str, object], list[dict[str, str]]]:
    """Four directions, and `en`, which noise leads; `bad` is called like markup."""
    cards = {name: METRICS["q_g"]._replace(name=name, better=b) for name, b in WAYS.items()}
    table = {
        "good": (0.9, 30, -0.5, 6, 5),
        "<b>bad|": (0.8, 10, 0.7, 7, 6),
        "even": (0.5, 20, 0.1, 5, 4),
        "average": (0.3, 50, 0.9, 3, 3),
        "noise": (0.1, 90, 1.0, 8, 2),
    }
    scores = {
        name: dict(zip(WAYS, (np.array([v, v, v + 0.01]) for v in row), strict=True)) for name, row in table.items()
    }
    methods = {
        "good": {"kind": "checkpoint", "step": 1200, "parameters": 1234567},
        "<b>bad|": {"kind": "folder"},
        "even": {"kind": "rule", "parameters": 0},
        "average": {"kind": "rule", "parameters": 0},
        "noise": {"kind": "trivial"},
    }
    about = {"data": {"name": "made", "pairs": 3}, "methods": methods, "failures": ["even, one: *too* small"]}
    about |= {"protocol": {"name": "fuse-1"}, "versions": {"fuse": "9.9"}}
    rows = [
        {"method": name, "pair": stem} | {m: repr(float(v[i])) for m, v in row.items()}
        for name, row in scores.items()
        for i, stem in enumerate(STEMS)
    ]
    return report.summary(ranking.rank(scores, WAYS, {"average", "noise"}), cards, about), rows


WAYS = {"q_g": 1, "mse": -1, "shift": 0, "en": 1, "mean": None}


@pytest.fixture
def board(pages: ModuleType, measuring: ModuleType) -> object:
    summary, rows = evaluation(pages)
    costs = {
        "good": measuring.Costs(2.5, 300 * 2**20, 48.5, 0.25),
        "even": measuring.Costs(0.0124, 2**20, None, 0.0),
        "average": measuring.Costs(0.001, 2**19, None, 0.00001),
    }
    values = pages.intervals(summary, rows)
    return pages.table(summary, values, costs, {"good": "MIT"}, STEMS)


def texts(board: object, row: str, part: str = "shown") -> dict[str, object]:
    found = next(r for r in board.rows if r.name == row)
    return {c.name: getattr(cell, part) for c, cell in zip(board.columns, found.cells, strict=True)}


def test_table_by_hand(board: object) -> None:
    assert [row.name for row in board.rows][3:] == ["average", "noise"]
    assert [row.place for row in board.rows] == ["1", "2", "3", "", ""]
    assert list(texts(board, "good").items())[:9] == [
        ("mean rank", "2.0"), ("beats the average", "4 of 5"), ("steps", "1200"),
        ("parameters", "1,234,567"), ("GFLOP", "48.5"), ("ms", "2,500"), ("MiB", "300"),
        ("order", "0.2500"), ("licence", "MIT"),
    ]  # fmt: skip
    assert texts(board, "even")["ms"] == "12"
    assert texts(board, "even")["order"] == "0"
    assert texts(board, "average")["order"] == "<0.0001"
    assert [texts(board, "noise")[name] for name in ("parameters", "ms", "order", "mean rank")] == [""] * 4
    assert texts(board, "noise")["beats the average"] == "1 of 5"
    assert texts(board, "good")["mse"] == "30.00"
    assert texts(board, "good", "interval")["mse"] == "[30.00, 30.01]"
    assert texts(board, "good", "interval")["licence"] == ""


def test_best_of_a_column_by_its_direction(board: object) -> None:
    best = {
        column.name: [row.name for row in board.rows if row.cells[i].best] for i, column in enumerate(board.columns)
    }
    assert {name for name, rows in best.items() if rows} == {"q_g", "mse", "shift", "ms", "MiB", "mean rank"}
    assert best["q_g"] == ["good"]
    assert best["mse"] == ["<b>bad|"]  # smaller is better
    assert best["shift"] == ["even"]  # nearest to zero, of -0.5, 0.7 and 0.1
    assert best["ms"] == best["MiB"] == ["even"]  # the average fuses nothing
    assert {column.name for column in board.columns if not column.ranked} == {"en", "mean"}
    column = {column.name: i for i, column in enumerate(board.columns)}
    losses = {
        name: [row.cells[column[name]].loss(board.columns[column[name]].better) for row in board.rows]
        for name in ("q_g", "mse", "shift", "steps", "mean rank")
    }
    by = {row.name: i for i, row in enumerate(board.rows)}
    for name, winner in (("q_g", "good"), ("mse", "<b>bad|"), ("shift", "even"), ("steps", "good")):
        assert float(losses[name][by[winner]]) == min(float(x) for x in losses[name] if x)
    assert losses["mean rank"][3:] == ["", ""]


def test_markdown(pages: ModuleType, board: object) -> None:
    page = pages.as_markdown("Focus", [board], {"order": "told"})
    assert page.startswith("# Focus\n\nMade by `scripts/leaderboard focus`.\n\n* `order`: told\n\n## made, 3 pairs\n")
    assert "Protocol fuse-1; fuse 9.9; Pairs one, two, three." in page
    lines = {line.split(" | ")[1]: line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")}
    assert len(lines) == 1 + 5
    assert set(lines) == {"method", "good", "&lt;b&gt;bad\\|", "even", "*average*", "*noise*"}
    head = lines.pop("method")
    assert [head[-2], head[-1]] == ["(en)", "(mean)"]
    good = dict(zip(head, lines["good"], strict=True))
    assert good["q_g"] == "**0.9033**"
    assert good["mse"] == "30.00"
    assert good["ms"] == "2,500"
    assert "[" in good["mean rank"]
    assert dict(zip(head, lines["even"], strict=True))["shift"] == "**0.1033**"
    assert page.endswith("* even, one: \\*too\\* small\n")


class Parsed(HTMLParser):
    """Tags with their attributes, and cells of the bodies of tables by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if any(tag in self.open for tag in ("td", "th")):
            self.rows[-1][-1] += data


def test_html_has_every_row_and_needs_nothing_else(pages: ModuleType, board: object) -> None:
    parsed = Parsed(page := pages.as_html("Focus", [board, board._replace(data="more")], {"order": "told"}))
    assert len(parsed.rows) == 2 * (1 + 5)
    head, *rows = parsed.rows[:6]
    assert [row[1] for row in rows] == [row.name for row in board.rows]
    assert all(len(row) == len(head) == 2 + len(board.columns) for row in rows)
    assert rows[[r[1] for r in rows].index("good")][head.index("mse↓")] == "30.00[30.00, 30.01]"
    buttons = [attributes["data-sort"] for tag, attributes in parsed.tags if tag == "button"]
    assert buttons[: len(head)] == ["place", "name", *["metric"] * 8, "name", *["metric"] * 5]
    assert sum(attributes.get("class") == "trivial" for tag, attributes in parsed.tags if tag == "tr") == 4
    links = [a.get("src") or a.get("href") for tag, a in parsed.tags if "src" in a or "href" in a]
    assert links == ["#made", "#more", "made.csv", "made_methods.csv", "more.csv", "more_methods.csv"]
    assert not {"img", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    sheet = Parsed(pages.as_html("Focus", [board], {}, {"made": "made.png"}))
    assert [attributes["src"] for tag, attributes in sheet.tags if tag == "img"] == ["made.png"]


def test_csv(pages: ModuleType, board: object) -> None:
    rows = {row["method"]: row for row in csv.DictReader(pages.methods_csv(board).splitlines())}
    assert set(rows) == {"good", "<b>bad|", "even", "average", "noise"}
    assert rows["good"]["kind"] == "checkpoint"
    assert rows["average"]["kind"] == rows["noise"]["kind"] == "trivial"
    assert (rows["good"]["ms"], rows["good"]["parameters"], rows["good"]["licence"]) == ("2500", "1234567", "MIT")
    assert rows["even"]["order"] == "0"
    summary, results = evaluation(pages)
    lines = pages.scores_csv(pages.intervals(summary, results)).splitlines()
    assert len(lines) == 1 + 5 * 5
    assert "even,shift,0.103333,0.1,0.11,3" in lines


@pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="needs the programs chromium and chromedriver")
def test_a_click_sorts_one_table(pages: ModuleType, board: object, tmp_path: Path) -> None:
    (tmp_path / "focus.html").write_text(pages.as_html("Focus", [board, board._replace(data="more")], {}))
    browser = Browser()
    try:
        browser.call("POST", "/url", url=(tmp_path / "focus.html").as_uri())
        names = "return [...document.querySelectorAll('#' + arguments[0] + ' tbody th')].map(e => e.textContent)"
        before = browser.js(names, "made")
        place = {column.name: i + 3 for i, column in enumerate(board.columns)}
        browser.click(f"#more thead th:nth-child({place['shift']}) button")
        assert browser.js(names, "more") == ["even", "good", "<b>bad|", "average", "noise"]
        browser.click(f"#more thead th:nth-child({place['shift']}) button")
        assert browser.js(names, "more") == ["noise", "average", "<b>bad|", "good", "even"]
        browser.click(f"#more thead th:nth-child({place['ms']}) button")
        assert browser.js(names, "more")[:3] == ["average", "even", "good"]
        assert browser.js(names, "made") == before
        seen = "return [...document.querySelectorAll('#made ' + arguments[0])].filter(e => e.offsetParent).length"
        for box, what, count in (("trivial", "tr.trivial", 2), ("grey", "th.grey", 2), ("costs", "th.fact", 7)):
            assert browser.js(seen, what) == count
            browser.click(f"#{box}")
            assert browser.js(seen, what) == 0
        assert [entry for entry in browser.call("POST", "/se/log", type="browser") if entry["level"] == "SEVERE"] == []
    finally:
        browser.close()


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
