"""Protocols, and what explains the difference between two of them."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from PIL import Image
from torch import Tensor

from fuse import catalog, explain, judge, mistakes, protocol
from fuse.data import io
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.metrics.variants import VARIANTS, golden

SMALL = ("data.size=48", "data.train=1", "data.val=1", "data.test=1")


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """Fused and two sources, (1, 3, 48, 52): smooth shapes with noise, unlike in every channel."""
    generator = torch.Generator().manual_seed(3)
    ramp = torch.linspace(20, 220, 52).expand(1, 3, 48, 52) * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1)
    first, second = ((ramp + 12 * torch.randn(1, 3, 48, 52, generator=generator)).clamp(0, 255) for _ in range(2))
    second = second.flip(2)
    return ((first + second) / 2).byte(), first.byte(), second.byte()


def rgb(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double()


def test_grey_by_hand() -> None:
    pixels = torch.tensor([[255, 0, 0], [0, 0, 255], [10, 20, 30]]).T.reshape(1, 3, 1, 3).double()
    for convert in protocol.GREYS.values():  # 76.2, 29.1 and 18.2
        assert convert(pixels).flatten().tolist() == [76, 29, 18]


def test_grey_of_pillow_and_opencv() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    assert np.array_equal(protocol.GREYS["pil"](rgb(pixels))[0, 0].numpy(), pillow)
    theirs = np.round(cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2GRAY))
    tie = pixels.astype(int) @ [299, 587, 114] % 1000 == 500  # there the rounding of 32 bits decides
    assert np.array_equal(protocol.GREYS["opencv-rounded"](rgb(pixels))[0, 0].numpy()[~tie], theirs[~tie])


@pytest.mark.parametrize("name", protocol.known())
def test_every_protocol_composes(name: str, composed: Callable[..., dict[str, Any]]) -> None:
    node = composed("eval", f"protocol={name}")["protocol"]
    found = protocol.asked(node)
    assert found == protocol.load(name)
    assert found.name == name
    assert set(found.metrics.values()) <= set(VARIANTS)


def test_there_are_the_published_ones_and_ours_is_the_default(composed: Callable[..., dict[str, Any]]) -> None:
    names = {"fuse-1", "cddfuse-2023", "vifb-2020", "mfifb-2020", "liu-2020", "ivif-zoo-2024"}
    assert names <= set(protocol.known())
    assert composed("eval")["protocol"]["name"] == judge.USUAL_PROTOCOL == "fuse-1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grey": "matlab"}, "matlab-rounded"),
        ({"stretch": "yes"}, "true or false"),
        ({"crop": -1}, "0 or more"),
        ({"metrics": {"ssimm": "SSIM/default"}}, "did you mean .*ssim"),
        ({"metrics": {"ssim": "SSIM/cddfus"}}, "did you mean .*SSIM/cddfuse"),
        ({"colour": "grey"}, "colour"),
    ],
)
def test_a_protocol_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        protocol.read({**protocol.load("fuse-1")._asdict(), **change})


def test_a_changed_protocol_bears_another_name() -> None:
    node = protocol.load("cddfuse-2023")._asdict()
    assert protocol.asked({**node, "stretch": True}).name == "cddfuse-2023 with stretch=True"
    assert protocol.asked({**node, "name": "mine"}).name == "mine"


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"did you mean .*vifb-2020"):
        protocol.load("vifb")
    with pytest.raises(InputError, match="has no column 'ce'"):
        protocol.columns(protocol.load("cddfuse-2023"), ["ce"])
    with pytest.raises(InputError, match=r"cannot give 'vif': zero padding"):
        protocol.columns(protocol.load("ivif-zoo-2024"), ["vif"])


def test_ours_as_a_protocol_is_what_is_measured_without_one(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, *sources = pictures
    names = ["en", "sf", "ag", "mi", "psnr", "ssim", "vif", "q_g"]
    usual = judge.scores(fused, Sample(tuple(sources)), names)
    assert protocol.scores(fused, sources, protocol.load("fuse-1"), names) == pytest.approx(usual, rel=1e-12)


@pytest.mark.parametrize("name", ["vifb-2020", "mfifb-2020"])
def test_channel_by_channel(name: str, pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, colour, source = pictures
    pair = [colour, source[:, :1]]  # a grey source is repeated
    found = protocol.load(name)
    values = protocol.scores(fused, pair, found, ["en", "sf", "q_g", "psnr"])
    arrays = [picture[0].permute(1, 2, 0).numpy() for picture in (fused, colour, source[:, :1].expand(-1, 3, -1, -1))]
    for column, value in values.items():
        metric, form = found.metrics[column].split("/")
        assert value == golden(metric, form if "@" in form else f"{form}@rgb")(*arrays)


def test_stretch_and_crop(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, *sources = (picture[:, :1] for picture in pictures)
    plain, names = protocol.load("cddfuse-2023"), ["en", "sd", "ssim", "q_g"]
    low, high = int(fused.min()), int(fused.max())
    wide = torch.floor((fused.double() - low) / (high - low) * 255 + 0.5).byte()
    stretched = protocol.load("cddfuse-2023-stretched")
    assert stretched._replace(name=plain.name, stretch=False, unstated=plain.unstated) == plain
    assert protocol.scores(fused, sources, stretched, names) == protocol.scores(wide, sources, plain, names)
    inner = [picture[..., 2:-2, 2:-2] for picture in (fused, *sources)]
    cropped = protocol.scores(fused, sources, plain._replace(crop=2), names)
    assert (
        cropped == protocol.scores(inner[0], inner[1:], plain, names) != protocol.scores(fused, sources, plain, names)
    )
    assert np.isnan(protocol.scores(fused, sources, plain._replace(crop=30), ["en"])["en"])  # nothing is left


def test_sixteen_bits_are_rounded_and_sizes_must_agree(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, *sources = pictures
    deep, names = (fused.int() * 257 + 100).to(torch.uint16), ["en", "sd", "mi"]
    found = protocol.load("ivif-zoo-2024")._replace(metrics={"en": "EN/default", "sd": "SD/default", "mi": "MI/nats"})
    assert protocol.scores(deep, sources, found, names) == protocol.scores(fused, sources, found, names)
    with pytest.raises(InputError, match="52x47, 52x48"):
        protocol.scores(fused[..., :47, :], sources, found, names)


def test_columns_say_their_form_and_unit() -> None:
    found = protocol.load("cddfuse-2023")
    assert protocol.card(found, "mi").unit == "nat"
    assert protocol.card(found, "ssim").summary.startswith("SSIM/cddfuse: ")
    assert protocol.card(found, "en").unit == "bit"
    assert protocol.card(protocol.load("vifb-2020"), "rmse").better == -1


@pytest.mark.parametrize("form", explain.SSIM)
def test_ssim_taken_apart_is_ssim(form: str, pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, *sources = (picture[:, :1] for picture in pictures)
    ours, named = explain.ssim(explain.SSIM[form])(fused, sources), VARIANTS[form](fused, sources)
    assert ours.item() == pytest.approx(named.item(), rel=1e-12 if explain.SSIM[form].precision == "float64" else 1e-5)


def test_every_form_of_ssim_leads_to_every_other() -> None:
    for first, second in itertools.permutations(explain.SSIM, 2):
        path = explain.between(first, second)
        assert path[-1][3] is VARIANTS[second]
        changed = {key.replace("_", " ") for key in explain.Ssim._fields}
        assert {convention for convention, *_ in path} <= changed
    words = [step[:3] for step in explain.between("SSIM/cddfuse", "SSIM/default")]
    assert words[0] == ("precision", "float32", "float64")
    assert words[2:] == [("data range", "2", "255"), ("combine", "sum", "mean")]
    assert explain.between("SSIM/sum", "SSIM/sum") == []


def test_parts_add_up_and_each_is_its_own(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    fused, *sources = pictures
    first, second = protocol.load("cddfuse-2023-stretched"), protocol.load("fuse-1")
    names = explain.shared(first, second, None)
    assert names == ["en", "sd", "sf", "ag", "mi", "scd", "vif", "q_g", "ssim"]
    paths = {name: explain.steps(first, second, name) for name in names}
    found = explain.values(fused, sources, paths)
    start, end = (protocol.scores(fused, sources, which, names) for which in (first, second))
    for name, path in paths.items():
        entry = explain.account("m", name, path, [found[name]])
        assert entry.means[0] == start[name]
        assert entry.means[-1] == end[name]
        assert sum(entry.parts()) == pytest.approx(end[name] - start[name], abs=1e-9)
        assert [step.convention for step in path[1:3]] == ["grey", "stretch"]
    nats, bits = found["mi"][-2:]
    assert bits == pytest.approx(nats / np.log(2), rel=1e-12)
    total, mean = found["ssim"][-2:]
    assert mean == pytest.approx(total / 2, rel=1e-12)


def test_pairs_without_a_value_are_counted_out() -> None:
    path = explain.steps(protocol.load("cddfuse-2023"), protocol.load("fuse-1"), "ag")
    entry = explain.account("copy", "ag", path, [[1.0, 1.0, 2.0], [1.0, float("nan"), 2.0]])
    assert (entry.pairs, entry.asked, list(entry.means), entry.parts()) == (1, 2, [1, 1, 2], [0, 1])
    said = explain.table_text([entry], path[0].protocol, protocol.load("fuse-1"))
    assert "ag of copy: undefined on 1 of 2 pairs" in said
    assert "+1.000" in said
    nothing = explain.account("copy", "ag", path, [[1.0, float("nan"), 2.0]])
    assert "<svg" in explain.waterfall([nothing], path[0].protocol, protocol.load("fuse-1"))


def test_command_measures_by_another_protocol(composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("method=average", *SMALL, "trivial=false", f"out={out}", "metrics=[ssim,ei]")
    text, failures = judge.command(composed("eval", *words, "protocol=ivif-zoo-2024"), out)
    assert not failures
    assert "ivif-zoo-2024 without vif: zero padding" in text
    told = json.loads((out / "summary.json").read_text())
    assert told["protocol"]["grey"] == "pil"
    assert told["protocol"]["metrics"] == {"ssim": "SSIM/x255", "ei": "EI/zero-pad"}
    assert told["protocol"]["missing"]["vif"]
    assert told["metrics"]["ssim"]["direction"] == "higher is better"
    assert list(told["scores"]["average"]) == ["ssim", "ei"]
    assert "SSIM/x255" in (out / "table.md").read_text()
    with pytest.raises(InputError, match="another evaluation"):
        judge.command(composed("eval", *words), out)


def test_command_explains(composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("method=[average,maximum]", *SMALL, f"out={out}", "metrics=[ssim,mi,en]")
    cfg = composed("eval", *words, "explain=[cddfuse-2023,fuse-1]")
    text, failures = judge.command(cfg, out)
    assert not failures
    assert text.count("data range: 2 -> 255") == 2
    told = json.loads((out / "explain.json").read_text())
    steps = next(entry["steps"] for entry in told["accounts"] if entry["metric"] == "ssim")
    halves = [step["value"] for step in steps if step["convention"] in ("data range", "combine")]
    assert halves[1] == pytest.approx(halves[0] / 2)
    assert "combine: sum -&gt; mean" in (out / "explain.svg").read_text()
    assert "| average | ssim | cddfuse-2023 |" in (out / "explain.md").read_text()
    with pytest.raises(InputError, match="an explanation already"):
        judge.command(cfg, out)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("protocol=cddfuse", "did you mean .*cddfuse-2023"),
        ("explain=[cddfuse-2023,fuse1]", "did you mean .*fuse-1"),
        ("explain=fuse-1", "two protocols"),
        ("protocol.grey=green", "choose from"),
    ],
)
def test_command_refuses(word: str, said: str, composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises((InputError, HydraException)) as caught:
        judge.command(composed("eval", "method=average", *SMALL, word), tmp_path)
    assert re.search(said, mistakes.explain(caught.value, "eval") or "")
    assert not list(tmp_path.iterdir())


def files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*")) if folder.is_dir() else []
    if not found:
        pytest.skip(f"{folder} is not here")
    return found


def means(name: str, columns: Sequence[str], cases: Iterable[tuple[Tensor, Sequence[Tensor]]]) -> dict[str, float]:
    rows = [protocol.scores(fused, sources, protocol.load(name), columns) for fused, sources in cases]
    return {column: float(np.mean([row[column] for row in rows])) for column in columns}


def test_published_evaluator_on_tno(shared: Path) -> None:
    stems = ["01", "03", "04", "05", "07", "09", "10", "13"]
    known = {path.stem: path for path in files(shared / "datasets/tno/ir")}
    cases = []
    for stem in stems:
        path = known[stem]
        pair = [io.read(path)[None], io.read(next((shared / "datasets/tno/vi").glob(f"{stem}.*")))[None]]
        grey = [protocol.GREYS["opencv-rounded"](p.double()) if p.shape[1] == 3 else p.double() for p in pair]
        cases.append((torch.maximum(*grey).byte(), pair))
    # the row "maximum" as another evaluator gives it
    row = {"en": 6.84, "sd": 39.05, "sf": 11.57, "ag": 3.89, "mi": 4.652, "scd": 1.502, "vif": 0.905, "q_g": 0.531}
    found = means("cddfuse-2023", [*row, "ssim"], cases)
    for column, value in {**row, "ssim": 0.975}.items():
        assert found[column] == pytest.approx(value, abs=0.0051 if column in ("en", "sd", "sf", "ag") else 0.00051)


def test_survey_on_lytro(shared: Path) -> None:
    cases = []
    for path in files(shared / "released/lytro/dwt"):
        sources = [io.read(shared / "datasets/lytro" / role / f"{path.stem}.jpg")[None] for role in ("near", "far")]
        cases.append((io.read(path)[None], sources))
    found = means("liu-2020", ["nmi", "q_ncie", "q_g"], cases)  # the other five take minutes
    assert {name: round(value, 4) for name, value in found.items()} == {"nmi": 0.9019, "q_ncie": 0.8282, "q_g": 0.7357}


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    catalog.main(["protocols", "--json"])
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert set(cards) == set(protocol.known())
    assert cards["cddfuse-2023"]["columns"] == ["en", "sd", "sf", "ag", "mi", "scd", "vif", "q_g", "ssim"]
    assert "vif" in cards["ivif-zoo-2024"]["missing"]
    assert all(card["about"] and card["cite"] for card in cards.values())
