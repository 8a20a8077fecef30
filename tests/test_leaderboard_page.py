"""The pages of scripts/leaderboard, of a made evaluation: what is best of a column, text, markup and a click."""

import csv
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from commands import ROOT
from test_report_browser import CHROMIUM, DRIVER, Browser

from fuse import ranking, report
from fuse.metrics import METRICS

STEMS = ("one", "two", "three")


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("leaderboard_costs")


@pytest.fixture
def pages(measuring: ModuleType) -> ModuleType:
    return import_module("leaderboard_page")


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
