"""The page about one set of pictures: what it says, and that it works in a real browser."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fuse.data import io
from fuse.photos import page
from fuse.photos.check import Doubt
from fuse.photos.page import Shown, Story
from fuse.photos.task import Guess

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"><b>&amp;"


def flat(level: int, size: tuple[int, int] = (40, 60)) -> Tensor:
    return torch.full((3, *size), level, dtype=torch.uint8)


def story(count: int = 2, **changes: object) -> Story:
    sources = [
        Shown(f"{i}.jpg", flat(5 * i + 20), "60 × 40, 8 bit", "ir" if i == 0 else "vi", "by 3 pixels", 3.25, 0.5, 0.9)
        for i in range(count)
    ]
    sources[0] = sources[0]._replace(moved="", before=float("nan"), after=None, confidence=None)
    whole = Story(
        "sharp.png",
        flat(120),
        sources,
        "gff",
        "because",
        "fuse a b -o sharp.png",
        Guess("focus", "likely", "each is sharper somewhere", ("ir", "vi")),
    )
    return whole._replace(**changes)


def pictures(html: str) -> list[dict[str, str]]:
    data = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.DOTALL)
    assert data
    return json.loads(data[1])["pairs"][0]["pictures"]


def test_all_pictures_are_in_the_page_and_nothing_is_fetched() -> None:
    html = page.render(story())
    assert [(p["label"], p["kind"]) for p in pictures(html)] == [
        ("0.jpg", "source"),
        ("1.jpg", "source"),
        ("sharp.png (result)", "method"),
    ]
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html) + [p["src"] for p in pictures(html)]
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "default-src 'none'" in html


def test_what_was_done_is_said() -> None:
    html = page.render(
        story(
            said=["moved onto 0.jpg"],
            refused=["2.jpg shows another scene"],
            warnings=["it looks flat"],
            doubts=[
                Doubt("halo", "rings", 6.0, (8, 16, 24, 32), "try gff"),
                Doubt("soft", "it is soft", 0.5, None, "so"),
            ],
            seconds={"reading": 1.0, "fusing": 3.0},
            peak=512 * 2**20,
            kept=[("Metadata", "EXIF of 0.jpg")],
            versions={"torch": "2.15"},
        )
    )
    for words in (
        "60 × 40 pixels",
        "multi-focus (likely): each is sharper somewhere",
        "gff: because",
        "fuse a b -o sharp.png",
        "moved onto 0.jpg",
        "2.jpg shows another scene",
        "4 things to look at",
        "it looks flat",
        "x&nbsp;16–32, y&nbsp;8–24",
        "3.25",
        "90%",
        "EXIF of 0.jpg",
        "512 MiB",
        'style="width: 75.0%"',
        "4.00",
        "No map was made",
    ):
        assert words in html, words
    assert html.count("<rect ") == 1
    assert ">nan" not in html


def test_without_doubts_it_says_so() -> None:
    html = page.render(story())
    assert "Nothing doubtful was found" in html
    assert 'id="doubts"' not in html


def test_the_map_has_a_legend_with_shares() -> None:
    chosen = (torch.arange(60) < 15).int().expand(1, 40, 60)
    html = page.render(story(chosen=chosen))
    assert pictures(html)[-1]["kind"] == "map"
    assert re.findall(r'<i style="background: (#\w+)"></i>(\S+) <b>(\S+)</b>', html) == [
        (page.COLOURS[0], "0.jpg", "75.0%"),
        (page.COLOURS[1], "1.jpg", "25.0%"),
    ]


def test_map_pixels_have_the_colour_of_their_source() -> None:
    colours = page.palette(3)
    address = page.coloured(torch.tensor([[[0, 2], [1, 1]]]), colours)
    pixels = io.decode(base64.b64decode(address.partition(",")[2]))
    shown = ["#" + "".join(f"{int(v):02x}" for v in pixels[:, y, x]) for y in (0, 1) for x in (0, 1)]
    assert shown == [colours[0], colours[2], colours[1], colours[1]]


def test_a_map_of_many_sources_runs_along_a_ramp() -> None:
    colours = page.palette(40)
    assert len(set(colours)) == 40
    assert (colours[0], colours[-1]) == (page.RAMP[0], page.RAMP[-1])
    assert page.shares_of(torch.tensor([[[0, 2], [2, 2]]]), 4) == [0.25, 0, 0.75, 0]


def test_forty_sources_are_embedded_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "SIDE", 60)
    monkeypatch.setattr(page, "PIXELS", 6 * 60 * 60)
    few, many = page.render(story(2)), page.render(story(40))
    assert "sources at" not in few
    assert "sources at 23" in many
    assert len(pictures(many)) == 41
    assert many.count('<td><img src="data:') == 40


@pytest.mark.parametrize("depth", [torch.uint16, torch.float32])
def test_depths_are_shown_as_they_look(depth: torch.dtype) -> None:
    wide = flat(120).to(depth) * 257 if depth == torch.uint16 else flat(120).to(depth) / 255
    assert page.shown(wide, 60) == page.shown(flat(120), 60)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    sources = [Shown(HOSTILE, flat(50), HOSTILE, HOSTILE, HOSTILE), Shown("b", flat(60))]
    doubts = [Doubt(HOSTILE, HOSTILE, 1.0, (0, 0, 9, 9), HOSTILE)]
    html = page.render(
        story(
            title=HOSTILE, sources=sources, command=HOSTILE, method=HOSTILE, why=HOSTILE, doubts=doubts, said=[HOSTILE]
        )
    )
    assert "<img src=x" not in html
    assert html.count("</script>") == 2
    assert pictures(html)[0]["label"] == HOSTILE


@pytest.mark.skipif(not CHROMIUM, reason="needs the program chromium")
def test_the_slider_compares_result_and_sources_in_a_browser(tmp_path: Path) -> None:
    """After the page's own script: pictures set, divider in the middle, three choices, and no word of HOSTILE run."""
    chosen = torch.zeros(1, 40, 60, dtype=torch.uint8)
    (tmp_path / "page.html").write_text(page.render(story(title=HOSTILE, chosen=chosen)))
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=3000",
        "--dump-dom",
    ]
    made = subprocess.run([*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=60)
    dom = made.stdout
    assert "<title>broken" not in dom
    assert re.search(r'id="left-picture" alt="0\.jpg"[^>]*src="data:image/png', dom)
    assert re.search(r'id="right-picture" alt="[^"]*\(result\)"[^>]*src="data:image/png', dom)
    assert "clip-path: inset(0px 0px 0px 50%)" in dom
    groups = re.findall(r'<optgroup label="(\w+)"', dom)
    assert set(groups) == {"Sources", "Results", "Map", "Differences"}
