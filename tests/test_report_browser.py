"""The pages in a real browser: sorting, views and the viewer are clicked, and hostile names stay text."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fuse import report
from fuse.metrics import METRICS

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
METHODS = ("gff", "__proto__", "7", HOSTILE)

pytestmark = pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="needs the programs chromium and chromedriver")


class Browser:
    """Headless Chromium, driven through chromedriver's HTTP interface (W3C WebDriver)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if "successfully on port" in line)
        self.root = f"http://127.0.0.1:{line.rstrip().rstrip('.').rsplit(' ', 1)[1]}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"]
        options = {"binary": CHROMIUM, "args": arguments}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = ""
        self.session = "/session/" + self.call("POST", "/session", capabilities={"alwaysMatch": always})["sessionId"]

    def call(self, method: str, path: str, **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.root + self.session + path, data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def js(self, script: str, *args):
        return self.call("POST", "/execute/sync", script=script, args=list(args))

    def element(self, selector: str) -> str:
        return "/element/" + next(iter(self.call("POST", "/element", using="css selector", value=selector).values()))

    def click(self, selector: str) -> None:
        self.call("POST", f"{self.element(selector)}/click")

    def keys(self, selector: str, text: str) -> None:
        self.call("POST", f"{self.element(selector)}/value", text=text)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the page did not get there within 10 s"
            time.sleep(0.02)

    def close(self) -> None:
        self.call("DELETE", "")
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Path:
    """Four methods and two trivial rows on two pairs of 60 x 40 pixels; `en` is led by noise."""
    cards = {
        name: METRICS["q_g"]._replace(name=name, better=better)
        for name, better in (("en", 1), ("q_g", 1), ("mse", -1), ("shift", 0))
    }
    table = {
        "gff": [[6.0, 0.9, 30.0, -0.5], [6.0, 0.75, 30.0, -0.5]],
        "__proto__": [[5.0, 0.5, 10.0, 0.1], [5.0, 0.5, 10.0, 0.1]],
        "7": [[7.0, 0.8, 20.0, 0.3], [7.0, 0.8, 20.0, 0.3]],
        HOSTILE: [[4.0, 0.2, 40.0, 0.9]],
        "average": [[3.0, 0.3, 50.0, 0.9], [3.0, 0.3, 50.0, 0.9]],
        "noise": [[8.0, 0.1, 90.0, 1.0], [8.0, 0.1, 90.0, 1.0]],
    }
    rows = {
        method: {pair: dict(zip(cards, row, strict=True)) for pair, row in zip(("one", "two"), values, strict=False)}
        for method, values in table.items()
    }

    def fetch():
        for base, pair in ((100, "one"), (50, "two")):
            flat = {name: base + 5 * i for i, name in enumerate(("near", "far", *METHODS))}
            yield pair, {name: torch.full((3, 40, 60), level, dtype=torch.uint8) for name, level in flat.items()}

    folder = tmp_path_factory.mktemp("evaluation")
    about = {"data": {"name": "made"}, "methods": {HOSTILE: {HOSTILE: HOSTILE}}, "failures": [HOSTILE]}
    report.write(folder, rows, cards, {"average", "noise"}, about, fetch, {"gff": "seeds", "7": "seeds"})
    return folder / "report.html"


@pytest.fixture
def page(browser: Browser, evaluation: Path) -> Iterator[Browser]:
    browser.call("POST", "/url", url=evaluation.as_uri())
    browser.wait(lambda: browser.js("return document.getElementById('right-picture').naturalWidth > 0"))
    yield browser
    assert [entry for entry in browser.call("POST", "/se/log", type="browser") if entry["level"] == "SEVERE"] == []


def column(page: Browser, index: int) -> list[str]:
    return page.js(
        "return [...document.querySelectorAll('#board tbody tr')].map(r => r.cells[arguments[0]].textContent)", index
    )


def head(name: str) -> str:
    """Selector of the button that sorts by a column."""
    order = ["#", "Method", "mean rank", "q_g", "mse", "shift", "en"]
    return f"#board thead th:nth-child({order.index(name) + 1}) button"


def shown(page: Browser, side: str) -> list[int]:
    """Colour of the middle pixel of a side's picture."""
    return page.js(
        """const image = document.getElementById(arguments[0] + "-picture");
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].slice(0, 3);""",
        side,
    )


def choose(page: Browser, control: str, value: str) -> None:
    page.js(
        """const control = document.getElementById(arguments[0]);
        control.value = arguments[1];
        control.dispatchEvent(new Event("change"));""",
        control,
        value,
    )


def test_names_are_text_and_run_nothing(page: Browser):
    assert page.js("return document.title") == "Fusion evaluation: made"
    assert page.js("return document.querySelectorAll('img').length") == 2  # the two layers of the viewer
    assert column(page, 1) == ["__proto__", "7", "gff", HOSTILE, "average", "noise"]
    assert (
        page.js("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    )


def test_a_click_on_a_head_sorts_best_first_then_worst_first(page: Browser):
    page.click(head("q_g"))
    assert column(page, 1) == ["gff", "7", "__proto__", "average", HOSTILE, "noise"]
    assert page.js("return document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    page.click(head("q_g"))
    assert column(page, 1) == ["noise", HOSTILE, "average", "__proto__", "7", "gff"]
    page.click(head("mse"))
    assert column(page, 4) == ["10.00", "20.00", "30.00", "40.00", "50.00", "90.00"]
    page.click(head("shift"))
    assert column(page, 1)[:3] == ["__proto__", "7", "gff"]
    page.click(head("en"))
    assert column(page, 1)[0] == "noise"
    page.click(head("Method"))
    assert column(page, 1) == ["__proto__", HOSTILE, "7", "average", "gff", "noise"]
    page.click(head("mean rank"))
    assert column(page, 0) == ["1", "2", "3", "4", "", ""]
    page.click(head("mean rank"))
    assert column(page, 0) == ["4", "3", "2", "1", "", ""]  # what has no rank stays last
    page.click(head("#"))
    assert column(page, 0) == ["1", "2", "3", "4", "", ""]


def test_views_and_filters_of_the_table(page: Browser):
    assert column(page, 4)[:3] == ["10.00", "20.00", "30.00"]
    page.click("input[value=gap]")
    assert column(page, 4)[:3] == ["0.00", "+10.00", "+20.00"]
    page.click("input[value=rank]")
    assert column(page, 4) == ["1", "2", "3", "4", "", ""]
    page.click("input[value=deviation]")
    assert column(page, 3)[:3] == ["0.0000", "0.0000", "0.1061"]
    visible = "return [...document.querySelectorAll(arguments[0])].filter(e => e.offsetParent).length"
    assert page.js(visible, "#board tbody tr") == 6
    page.click("#show-trivial")
    assert page.js(visible, "#board tbody tr") == 4
    assert page.js(visible, "#board th.grey") == 1
    page.click("#show-grey")
    assert page.js(visible, "#board th.grey") == 0


def test_the_metric_of_the_paired_differences_can_be_chosen(page: Browser):
    first = """return [...document.querySelectorAll("table.difference")]
        .filter(table => !table.hidden).map(table => table.rows[1].cells[0].textContent);"""
    assert page.js(first) == ["gff"]
    choose(page, "difference-metric", "1")
    assert page.js(first) == ["__proto__"]


def test_the_viewer_shows_any_two_pictures(page: Browser):
    assert (shown(page, "left"), shown(page, "right")) == ([100] * 3, [115] * 3)
    choose(page, "left", "source:far")
    page.wait(lambda: shown(page, "left") == [105] * 3)
    choose(page, "right", "difference:7")
    page.wait(lambda: shown(page, "right") == [70] * 3)  # 4 |120 - 102.5|
    page.click("#swap")
    page.wait(lambda: shown(page, "left") == [70] * 3 and shown(page, "right") == [105] * 3)
    choose(page, "right", f"method:{HOSTILE}")
    page.wait(lambda: shown(page, "right") == [125] * 3)
    assert page.js("return document.getElementById('right-label').textContent") == HOSTILE
    page.click("#next")
    page.wait(lambda: shown(page, "right") == [75] * 3)
    assert page.js("return document.getElementById('pair').selectedOptions[0].text") == "two"
    page.click("#next")
    page.wait(lambda: shown(page, "right") == [125] * 3)  # round to the first again


def test_values_of_the_pair_stand_beside_the_pictures(page: Browser):
    choose(page, "left", "method:gff")
    choose(page, "right", "method:7")
    rows = """return [...document.querySelectorAll("#values tr")].map(row => [...row.cells].map(
        cell => cell.textContent + (cell.className.includes("best") ? "*" : "")));"""
    assert page.js(rows) == [
        ["q_g", "0.9000*", "0.8000"],
        ["mse", "30.00", "20.00*"],
        ["shift", "-0.500", "0.300*"],
        ["en", "6.000", "7.000*"],
    ]
    page.click("#next")
    page.wait(lambda: page.js(rows)[0] == ["q_g", "0.7500", "0.8000*"])


def test_the_divider_moves_by_range_keys_and_pointer(page: Browser):
    clip = "return document.getElementById('right-layer').style.clipPath"
    assert page.js(clip) == "inset(0px 0px 0px 50%)"
    page.keys("#split", "\ue014")  # arrow right
    assert page.js(clip) == "inset(0px 0px 0px 50.5%)"
    page.keys("#stage", "\ue012\ue012")  # arrow left, twice
    assert page.js(clip) == "inset(0px 0px 0px 46.5%)"
    box = page.js(
        "const b = document.getElementById('stage').getBoundingClientRect(); return [b.left, b.top, b.width, b.height]"
    )
    left, top, width, height = box
    drag = [
        {"type": "pointerMove", "x": round(left + width / 4), "y": round(top + height / 2), "duration": 0},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerMove", "x": round(left + width * 3 / 4), "y": round(top + height / 2), "duration": 50},
        {"type": "pointerUp", "button": 0},
    ]
    page.call("POST", "/actions", actions=[{"type": "pointer", "id": "mouse", "actions": drag}])
    assert float(page.js("return document.getElementById('split').value")) == pytest.approx(75, abs=0.5)


def test_zoom_is_of_whole_pixels_and_can_be_panned(page: Browser):
    transform = "return document.getElementById('left-picture').style.transform"
    assert page.js(transform) == "translate(0px, 0px) scale(1)"
    rendering = "return getComputedStyle(document.getElementById('left-picture')).imageRendering"
    assert page.js(rendering) == "pixelated"  # 60 pixels over the whole width
    page.js("document.getElementById('stage').style.width = '30px'; window.dispatchEvent(new Event('resize'))")
    assert page.js(rendering) == "auto"
    page.click("#in")
    page.click("#in")
    assert page.js("return document.getElementById('zoom').textContent") == "2×"
    assert page.js(rendering) == "pixelated"
    page.js("document.getElementById('stage').style.width = ''")
    x = "return new DOMMatrix(document.getElementById('left-picture').style.transform).e"
    before = page.js(x)
    page.keys("#stage", "\ue008\ue014\ue000")  # shift and arrow right
    assert page.js(x) == pytest.approx(before - 40)
    assert page.js(x.replace("left-", "right-")) == page.js(x)
    page.keys("#stage", "+")
    assert page.js("return document.getElementById('zoom').textContent") == "2.8×"
    page.js("document.getElementById('stage').dispatchEvent(new WheelEvent('wheel', {deltaY: 200, cancelable: true}))")
    assert page.js("return document.getElementById('zoom').textContent") == "1.7×"
    page.keys("#stage", "0")
    assert page.js(transform) == "translate(0px, 0px) scale(1)"


def test_nothing_is_wider_than_a_narrow_window(browser: Browser, page: Browser):
    browser.call("POST", "/window/rect", width=600, height=800)
    try:
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.call("POST", "/window/rect", width=1400, height=900)


def test_the_page_of_a_run(browser: Browser, tmp_path: Path):
    (tmp_path / "metrics.csv").write_text("step,gradient,val/q_g\n1,0.5,\n2,0.25,0.7\n")
    (tmp_path / "config.yaml").write_text("run: {steps: 2}\n")
    browser.call("POST", "/url", url=report.run_page(tmp_path).as_uri())
    line = browser.js(
        "const b = document.querySelector('polyline').getBoundingClientRect(); return [b.width, b.height]"
    )
    assert min(line) > 50
    assert browser.js("return document.querySelector('pre').checkVisibility()") is False
    browser.click("summary")
    assert browser.js("return document.querySelector('pre').checkVisibility()") is True
