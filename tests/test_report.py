"""Tables, summary, pages and pictures made of scores."""

import base64
import csv
import html.parser
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from fuse import report
from fuse.data import io
from fuse.errors import InputError
from fuse.metrics import METRICS, Metric
from fuse.ranking import Ranking, rank
from fuse.report_page import embed
from fuse.report_tables import digits, number

HOSTILE = "<script>alert(1)</script>|$x_1$\n&%"


def card(name: str, better: int | None, unit: str = "") -> Metric:
    return METRICS["q_g"]._replace(name=name, better=better, unit=unit, summary=f"what {name} says", source="ours")


CARDS = {
    "en": card("en", 1, "bit"),
    "mse": card("mse", -1, "level^2"),
    "shift": card("shift", 0, "level"),
    "q_g": card("q_g", 1),
    "mean": card("mean", None, "level"),
}
ROWS = {
    "gff": {"a": [7.0, 10.0, -0.5, 0.80, 100.0], "b": [7.2, 12.0, 0.5, 0.82, 100.0]},
    "7": {"a": [6.0, 20.0, 1.0, 0.70, 90.0], "b": [6.2, 22.0, 1.0, math.nan, 90.0]},
    HOSTILE: {"a": [5.0, 30.0, 2.0, 0.60, 80.0]},
    "noise": {"a": [8.0, 90.0, 9.0, 0.10, 120.0], "b": [8.0, 90.0, 9.0, 0.10, 120.0]},
}
TABLE = {
    method: {pair: dict(zip(CARDS, values, strict=True)) for pair, values in by_pair.items()}
    for method, by_pair in ROWS.items()
}
ABOUT = {
    "protocol": {"name": "fuse-1", "luma": "rgb2gray"},
    "data": {"name": "made", "split": "test", "identity": "1234abcd"},
    "methods": {"gff": {"kind": "rule"}, "7": {"kind": "checkpoint", "weights": "ab12"}},
    "failures": [f"{HOSTILE}, b: too small"],
}


def picture(level: int, channels: int = 3, side: int = 12) -> torch.Tensor:
    return torch.full((channels, side, side), level, dtype=torch.uint8)


def fetch() -> Iterable[tuple[str, dict[str, torch.Tensor]]]:
    for pair in ("a", "b"):
        methods = {"gff": picture(105), "7": picture(110, 1), HOSTILE: picture(120)}
        yield pair, {"near": picture(90), "far": picture(110), **methods}


@pytest.fixture
def ranking() -> Ranking:
    scores = {
        method: {m: np.array([by_pair.get(pair, {}).get(m, np.nan) for pair in ("a", "b")]) for m in CARDS}
        for method, by_pair in TABLE.items()
    }
    return rank(scores, {name: metric.better for name, metric in CARDS.items()}, {"noise"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    (out / "screen.txt").write_text(report.write(out, TABLE, CARDS, {"noise"}, ABOUT, fetch))
    return out


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([0.1234, 0.5], ".4f"),
        ([7.0, -3.0], ".3f"),
        ([45.0], ".2f"),
        ([2458.0], ".0f"),
        ([0.0012], ".6f"),
        ([3e9], ".3e"),
        ([2e-7], ".3e"),
        ([0.0, math.nan], ".4f"),
        ([math.inf, 12.0], ".2f"),
    ],
)
def test_columns_show_four_digits_of_their_largest_value(values, form):
    assert digits(values) == form


def test_numbers():
    assert [number(v, ".2f") for v in (1.234, -0.001, -0.01, math.nan, math.inf, -math.inf)] == [
        "1.23", "0.00", "-0.01", "-", "inf", "-inf",
    ]  # fmt: skip


def test_screen_table(ranking):
    lines = report.table_text(ranking).splitlines()
    assert lines[0].split() == ["mean", "rank", "[95", "%]", "mse", "shift", "q_g", "(en)", "(mean)"]
    assert lines[1].split() == ["down", "to", "0", "up", "up"]
    assert lines[3].split() == ["1", "gff", "1.00", "[1.00,", "1.00]", "11.00*", "0.000*", "0.8100*", "7.100", "100.0"]
    assert lines[7].split()[:2] == ["noise", "90.00"]
    text = " ".join(report.table_text(ranking).split())
    assert "stands alone" not in text
    assert "Not ranked on en: no method beats the trivial row 'noise' (8; best method: 'gff', 7)." in text
    assert "Not ranked on mean: a statistic without direction." in text
    assert "shift: ranked by the mean of |value|" in text
    assert "left out of the mean: q_g of 7 (1), all of <script>alert(1)</script>|$x_1$ &% (1)." in text


def test_screen_table_is_split_into_blocks_that_fit():
    generator = np.random.default_rng(0)
    names = [f"metric_number_{i}" for i in range(30)]
    scores = {f"method{i}" * (1 + i): {m: generator.random(4) for m in names} for i in range(6)}
    text = report.table_text(rank(scores, dict.fromkeys(names, 1)))
    assert max(map(len, text.splitlines())) <= 120
    assert sum(line.count("metric_number_17 ") for line in text.split("Mean rank:")[0].splitlines()) == 1
    assert len(re.findall(r"^ 1 method", text, re.MULTILINE)) > 2  # every block names its rows


def test_screen_table_of_one_method_on_one_pair():
    text = report.table_text(rank({"only": {"q": np.array([0.5])}}, {"q": 1}))
    assert " 1 only" in text
    assert "One pair has no deviation" in text
    assert "stands alone" in text


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_table(ranking):
    lines = report.table_markdown(ranking, CARDS).splitlines()
    assert cells(lines[0]) == ["#", "method", "mean rank [95 %]", "mse ↓", "shift →0", "q_g ↑", "(en ↑)", "(mean)"]
    assert cells(lines[2])[:3] == ["1", "gff", "1.00 [1.00, 1.00]"]
    assert cells(lines[2])[3:] == ["**11.00**", "**0.000**", "**0.8100**", "7.100", "100.0"]
    assert cells(lines[3])[3:6] == ["*21.00*", "*1.000*", "*0.7000*"]
    assert all(len(cells(line)) == 8 for line in lines[:6])
    assert cells(lines[4])[1] == r"&lt;script&gt;alert(1)&lt;/script&gt;\|$x_1$ &amp;%"
    definitions = {cells(line)[0]: cells(line)[1:4] for line in lines if line.startswith(("| mse", "| en"))}
    assert definitions == {
        "mse": ["lower is better", "level^2", "0..1"],
        "en": ["higher is better", "bit", "0..1"],
    }


def test_latex_table(ranking):
    text = report.table_latex(ranking, CARDS)
    assert "gff & 1.00 & \\textbf{11.00} & \\textbf{0.000} & \\textbf{0.8100} & \\textcolor{gray}{7.100}" in text
    assert "7 & 2.00 & \\underline{21.00}" in text
    assert "mse $\\downarrow$ & shift $\\to 0$ & q\\_g $\\uparrow$ & \\textcolor{gray}{en $\\uparrow$}" in text
    assert " & level\\textasciicircum{}2 & level &  & \\textcolor{gray}{bit}" in text
    assert "\\textless{}script\\textgreater{}alert(1)\\textless{}/script\\textgreater{}|\\$x\\_1\\$ \\&\\%" in text
    assert "% mse: lower is better; unit level^2; range 0..1; what mse says; ours" in text
    code = [line for line in text.splitlines() if line and not line.startswith("%")]
    assert code[0] == "\\begin{tabular}{rlrrrrrr}"
    assert code[-1] == "\\end{tabular}"
    assert {len(re.findall(r"(?<!\\)&", line)) for line in code if line.endswith("\\\\")} == {7}
    assert code[code.index("\\bottomrule") - 2] == "\\midrule"  # above the trivial row


def test_latex_minus_signs_and_infinities_are_mathematics():
    scores = {"a": {"q": np.array([-1.0])}, "b": {"q": np.array([-math.inf])}, "c": {"q": np.array([math.nan])}}
    text = report.table_latex(rank(scores, {"q": 1}), {"q": card("q", 1)})
    assert "\\textbf{$-$1.000}" in text
    assert "\\underline{$-$$\\infty$}" in text


def test_summary_is_strict_json_and_says_what_every_number_is(folder):
    told = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert told["scores"]["gff"]["mse"] == {"mean": 11.0, "deviation": math.sqrt(2), "n": 2, "undefined": 0}
    assert told["scores"]["7"]["q_g"] == {"mean": 0.7, "deviation": None, "n": 1, "undefined": 1}
    assert told["scores"][HOSTILE]["mse"]["undefined"] == 1
    assert told["metrics"]["mse"]["direction"] == "lower is better"
    assert told["metrics"]["mse"]["unit"] == "level^2"
    assert told["metrics"]["en"]["ranked_on"] is False
    assert told["metrics"]["en"]["not_ranked_because"].startswith("no method beats the trivial row 'noise'")
    assert told["ranking"]["order"] == ["gff", "7", HOSTILE]
    assert told["ranking"]["mean_rank"]["7"] == {"mean": 2.0, "low": 2.0, "high": 2.0}
    assert told["ranking"]["differences_to_best"]["mse"]["7"]["mean"] == 10.0
    assert told["versions"] == report.versions()
    assert told["versions"]["numpy"] == np.__version__
    assert told["protocol"] == ABOUT["protocol"]
    assert told["data"] == ABOUT["data"]
    assert told["failures"] == ABOUT["failures"]
    assert told["trivial"] == ["noise"]


def test_summary_writes_infinities_as_words():
    ranking = rank({"a": {"psnr": np.array([math.inf, math.inf])}}, {"psnr": 1})
    told = report.summary(ranking, {"psnr": card("psnr", 1, "dB")}, {})
    assert told["scores"]["a"]["psnr"] == {"mean": "inf", "deviation": None, "n": 2, "undefined": 0}


def test_write_leaves_whole_files_and_nothing_else(folder):
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["pairs/a.png", "pairs/b.png", "report.html", "screen.txt", "summary.json", "table.md", "table.tex"]
    for name in ("table.md", "table.tex", "report.html"):
        text = (folder / name).read_text()
        assert "fuse-1" in text  # the protocol
        assert "what mse says" in text  # the definition
        assert "level^2" in text  # the unit
        assert "lower is better" in text
    code = [line for line in (folder / "table.tex").read_text().splitlines() if line and not line.startswith("%")]
    assert code[0].startswith("\\begin{tabular}")


def test_write_keeps_the_old_files_when_it_fails(tmp_path):
    (tmp_path / "report.html").write_text("old")

    def broken() -> Iterable[tuple[str, dict[str, torch.Tensor]]]:
        yield from fetch()
        raise InputError("far/c.png cannot be opened")

    with pytest.raises(InputError, match=r"far/c\.png"):
        report.write(tmp_path, TABLE, CARDS, {"noise"}, ABOUT, broken)
    assert (tmp_path / "report.html").read_text() == "old"
    assert not (tmp_path / "summary.json").exists()


class Page(html.parser.HTMLParser):
    """Tags and addresses of a page, and the texts of its table heads and first cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_page_holds_hostile_names_as_text_and_loads_nothing(folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 3  # ours: scores, the viewer's data, the viewer
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


def test_page_embeds_every_picture_and_its_scores(folder):
    text = (folder / "report.html").read_text()
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, re.DOTALL)[1])
    assert [pair["name"] for pair in data["pairs"]] == ["a", "b"]
    kinds = [(shown["label"], shown["kind"]) for shown in data["pairs"][0]["pictures"]]
    assert kinds == [("near", "source"), ("far", "source"), ("gff", "method"), ("7", "method"), (HOSTILE, "method")]
    assert [metric["name"] for metric in data["metrics"]] == ["mse", "shift", "q_g", "en", "mean"]
    assert data["pairs"][1]["pictures"][3]["values"] == ["22.00", "1.000", "-", "6.200", "90.0"]
    assert data["pairs"][1]["pictures"][4]["values"] == ["-"] * 5  # failed on this pair
    assert data["pairs"][0]["pictures"][0]["src"].startswith("data:image/png;base64,")


def test_page_stops_embedding_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "EMBED_BYTES", 10)
    report.write(tmp_path, TABLE, CARDS, {"noise"}, ABOUT, fetch)
    assert "1 of 2 pairs are embedded" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "pairs" / "b.png").exists()


@pytest.mark.parametrize(("side", "kind"), [(200, "png"), (300, "jpeg")])
def test_embedded_pictures_are_exact_while_small(side, kind):
    noise = torch.randint(0, 256, (3, side, side // 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    address = embed(noise, 640)
    assert address.startswith(f"data:image/{kind};base64,")
    back = io.decode(base64.b64decode(address.split(",")[1]))
    assert back.shape == noise.shape
    assert torch.equal(back, noise) is (kind == "png")


def test_embedded_pictures_are_capped_and_8_bit():
    wide = torch.full((1, 100, 400), 40000, dtype=torch.int32).to(torch.uint16)
    back = io.decode(base64.b64decode(embed(wide, 200).split(",")[1]))
    assert back.shape == (1, 50, 200)
    assert back.unique().tolist() == [40000 >> 8]


def test_side_by_side_pictures_by_hand():
    near, far = np.full((4, 6), 100, np.uint8), np.full((4, 6, 3), 110, np.uint8)
    sheet = report.side_by_side([near, far], {"m": np.full((4, 6), 115, np.uint8), "n": np.full((2, 3), 255, np.uint8)})
    assert sheet.shape == (4 * 3 + 6 * 2, 6 * 2 + 6, 3)
    assert sheet[0, 0].tolist() == [100] * 3
    assert sheet[3, -1].tolist() == [110] * 3
    assert sheet[4, 0].tolist() == [255] * 3  # between the tiles
    assert sheet[10, 0].tolist() == [115] * 3
    assert sheet[13, -1].tolist() == [255] * 3  # enlarged to the size of the others
    assert sheet[20, 0].tolist() == [40] * 3  # 4 |115 - 105|
    assert sheet[20, -1].tolist() == [255] * 3  # clipped
    ideal = report.side_by_side([near, far], {"m": np.full((4, 6), 115, np.uint8)}, np.full((4, 6), 114, np.uint8))
    assert ideal.shape == (24, 6 * 3 + 12, 3)
    assert ideal[0, -1].tolist() == [114] * 3
    assert ideal[20, 0].tolist() == [4] * 3


def test_side_by_side_puts_four_methods_in_a_row():
    grey = np.zeros((2, 2), np.uint8)
    sheet = report.side_by_side([grey, grey], {str(i): grey for i in range(5)})
    assert sheet.shape == (5 * 2 + 4 * 6, 4 * 2 + 3 * 6, 3)


def test_sweep_table_is_aligned_markdown():
    text = report.sweep_table(
        [
            {"loss.gradient.weight": 1, "run.seed": 0, "q_g": 0.61234, "optim": "adam"},
            {"loss.gradient.weight": 10, "run.seed": 0, "q_g": math.nan, "failed": "yes"},
        ]
    )
    assert text.splitlines() == [
        "| loss.gradient.weight | run.seed |    q_g | optim | failed |",
        "| -------------------: | -------: | -----: | ----- | ------ |",
        "|                    1 |        0 | 0.6123 | adam  |        |",
        "|                   10 |        0 |      - |       | yes    |",
    ]
    assert report.sweep_table([]) == ""


def metrics_csv(folder: Path, columns: dict[str, list[object]]) -> Path:
    table = folder / "metrics.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return table


def test_loss_curves_by_hand(tmp_path):
    table = metrics_csv(
        tmp_path,
        {
            "step": [10, 20, 30, 40, 50],
            "gradient": [0.0, 1.0, 0.5, 0.25, 1.0],
            "fast": [1000.0, 10.0, 1.0, 1.0, 1.0],
            "broken": [1.0, 2.0, "nan", 4.0, 5.0],
            "lr": ["", "", 0.5, "", ""],
            "val/q_g": ["", 0.5, "", 0.75, ""],
        },
    )
    text = report.loss_curves(table)
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Loss terms", "Validation", "Optimiser and speed"]
    assert re.findall(r'class="name">(.*?)<', text) == ["gradient", "fast", "broken", "q_g", "lr"]
    assert re.findall(r'polyline points="(.*?)"', text) == [
        "0,84 60,0 120,42 180,63 240,0",
        "0,0 60,56 120,84 180,84 240,84",  # three decades
        "0,84 60,63",
        "180,21 240,0",
        "60,84 180,0",
    ]
    assert text.count(">log<") == 1
    assert "1 not finite" in text
    assert 'x1="120.0" x2="120.0" y1="42.0"' in text  # a single value is a dot


def test_loss_curves_of_many_steps_keep_the_extremes(tmp_path):
    values = [0.5] * 5000
    values[1234], values[4321] = 0.0, 1.0
    text = report.loss_curves(metrics_csv(tmp_path, {"step": range(5000), "gradient": values}))
    assert len(text) < 12000
    band = re.search(r'polygon points="(.*?)"', text)[1]
    heights = [float(point.split(",")[1]) for point in band.split()]
    assert (min(heights), max(heights)) == (0.0, 84.0)


def test_loss_curves_survive_hostile_and_cut_off_tables(tmp_path):
    table = metrics_csv(tmp_path, {"step": [1, 2], HOSTILE: [0.1, 0.2]})
    with table.open("a") as file:
        file.write("3,0.3e\n4,0.")
    text = report.loss_curves(table)
    assert "<script" not in text
    assert "1 not finite" in text  # the whole line; the one cut off by a kill counts for nothing
    (tmp_path / "empty.csv").write_text("")
    assert "Nothing was logged" in report.loss_curves(tmp_path / "empty.csv")
    with pytest.raises(InputError, match=r"metrics\.csv of a run folder"):
        report.loss_curves(tmp_path / "absent.csv")


def test_run_page(tmp_path):
    metrics_csv(tmp_path, {"step": [1, 2], "gradient": [0.1, 0.2]})
    (tmp_path / "config.yaml").write_text("run:\n  dir: <b>here</b>\n")
    assert report.run_page(tmp_path) == tmp_path / "report.html"
    text = (tmp_path / "report.html").read_text()
    assert "dir: &lt;b&gt;here&lt;/b&gt;" in text
    assert "<polyline" in text
    assert "eval/report.html" not in text
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "report.html").write_text("")
    report.run_page(tmp_path)
    assert 'href="eval/report.html"' in (tmp_path / "report.html").read_text()
