"""scripts/does_it_help: its measures by hand and by independent libraries, and the page of a made evaluation."""

import csv
import json
import math
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from commands import ROOT
from scipy import ndimage

from fuse.data import io


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(name.removesuffix(".py"), str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


targets = script("targets.py")
Box, Pair = targets.Box, targets.Pair


def test_contrast_by_hand() -> None:
    within, ring = torch.tensor([12.0, 12, 10, 10]), torch.tensor([5.0, 5, 7, 7])
    assert targets.contrast(within, ring) == pytest.approx(5 / math.sqrt(1 + 1 / 12))
    assert targets.contrast(ring, within) == targets.contrast(within, ring)
    assert targets.contrast(torch.full((9,), 7.0), torch.full((4,), 7.0)) == 0
    assert targets.contrast(torch.full((9,), 8.0), torch.full((4,), 7.0)) == pytest.approx(math.sqrt(12))


def test_roc_area_by_hand() -> None:
    positive, negative = torch.tensor([3.0, 1]), torch.tensor([2.0, 0, 1, 2])
    assert targets.roc_area(positive, negative) == (4 + 1.5) / 8
    assert targets.roc_area(negative, positive) == 1 - (4 + 1.5) / 8
    assert targets.roc_area(positive, positive) == 0.5


def test_rings_end_at_the_border_and_at_other_boxes() -> None:
    like = torch.zeros(40, 60)
    box = Box(20, 10, 8, 12, "person")
    assert targets.inside(box, like).sum() == 8 * 12
    assert targets.surroundings(box, [box], like).sum() == 16 * 20 - 8 * 12
    corner = Box(0, 0, 8, 8, "person")
    assert targets.surroundings(corner, [corner], like).sum() == 12 * 12 - 64
    beside = Box(28, 0, 10, 40, "vehicle")  # touches: takes the 4 columns on the right
    assert targets.surroundings(box, [box, beside], like).sum() == 12 * 20 - 8 * 12
    large = Box(10, 10, 20, 20, "vehicle")  # a quarter of the side
    assert targets.surroundings(large, [large], like).sum() == 30 * 30 - 400


def test_kept_texture_by_hand() -> None:
    ramp = torch.arange(16.0).expand(8, 16) * 4
    where = torch.ones(8, 16, dtype=torch.bool)
    kept = {name: targets.kept_texture(x, ramp, where) for name, x in {
        "copy": ramp, "half": ramp / 2, "twice": ramp * 2, "brighter": ramp + 50, "turned": -ramp, "flat": ramp * 0,
        "across": torch.arange(8.0)[:, None].expand(8, 16) * 9,
    }.items()}  # fmt: skip
    assert kept == {"copy": 1, "half": 0.5, "twice": 1, "brighter": 1, "turned": 0, "flat": 0, "across": 0}
    steps = torch.cat([torch.zeros(8, 8), torch.full((8, 8), 10.0)], 1)
    both = steps.clone()
    both[4:] += 30  # two edges, of energies 7 * 100 and 15 * 900 and one corner pixel that has both
    told = 7 * 100 / (6 * 100 + 14 * 900 + 1000)
    assert targets.kept_texture(steps, both, where) == pytest.approx(told)
    where[3] = False  # without the row of the other edge
    assert targets.kept_texture(steps, both, where) == 1


def test_foreign_gradients_by_hand() -> None:
    ramp, where = torch.arange(16.0).expand(8, 16) * 4, torch.ones(8, 16, dtype=torch.bool)
    sources = [ramp, ramp.flip(1) / 2]
    assert targets.foreign(ramp, sources, where) == targets.foreign(ramp * 0, sources, where) == 0
    assert targets.foreign(sum(sources) / 2, sources, where) == 0
    assert targets.foreign(ramp * 2, sources, where) == 0.75
    cut = torch.cat([torch.zeros(8, 8), torch.full((8, 8), 100.0)], 1)  # one difference of 100 where sources have 4
    assert targets.foreign(cut, sources, where) == pytest.approx(1 - 4**2 / 100**2)
    where[:, 7] = False
    assert targets.foreign(cut, sources, where) == 0


def test_spectral_residual_against_scipy() -> None:
    picture = np.random.default_rng(0).random((48, 64)) * 255
    spectrum = np.fft.fft2(picture)
    level = np.log(np.abs(spectrum))
    residual = level - ndimage.uniform_filter(level, 3, mode="nearest")
    salient = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    aim = ndimage.gaussian_filter(salient, 2.5, mode="nearest", radius=7)
    np.testing.assert_allclose(targets.spectral_residual(torch.from_numpy(picture)).numpy(), aim, rtol=1e-9)


def test_what_differs_is_salient() -> None:
    noise = torch.rand(96, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 60 + 60
    box = Box(80, 40, 12, 16, "person")
    mask = targets.inside(box, noise)
    found = targets.spectral_residual(noise.masked_fill(mask, 220))
    assert found.shape == (96, 128)
    assert mask.flatten()[found.argmax()]
    assert targets.roc_area(found[mask], found[~mask]) > 0.99


def test_overlap_and_hits_by_hand() -> None:
    assert targets.overlap((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(2 / 6)
    assert targets.overlap((0, 0, 2, 2), (5, 5, 2, 2)) == 0
    tall, small, car = Box(10, 10, 40, 100, "person"), Box(100, 10, 20, 50, "person"), Box(200, 10, 50, 50, "vehicle")
    found = [(3.0, (10, 10, 40, 90)), (2.0, (10, 12, 40, 100)), (1.5, (100, 10, 20, 50)), (1.0, (200, 10, 50, 50))]
    assert targets.hits(found, [tall, small, car]) == [(3.0, True), (2.0, False), (1.0, False)]
    assert targets.hits(found, []) == [(score, False) for score, _ in found]


def test_average_precision_by_hand() -> None:
    true = np.array([True, False, True])
    weights, positives = np.array([[1.0, 1, 1], [2, 0, 2], [0, 1, 0]]), np.array([2.0, 4, 0])
    told = targets.average_precision(true, weights, positives)
    np.testing.assert_allclose(told, [(1 + 2 / 3) / 2, 1, np.nan])


def test_agreement_of_orders() -> None:
    rising = np.arange(5.0)[:, None] + np.array([0.0, 10, 20])  # 5 methods, 3 pairs of other scale
    counts = np.random.default_rng(0).multinomial(3, [1 / 3] * 3, 50).astype(float)
    assert targets.agreement(rising, rising**3, counts) == pytest.approx((1, 1, 1))
    assert targets.agreement(rising, -rising, counts) == pytest.approx((-1, -1, -1))
    swapped = rising[[1, 0, 2, 3, 4]]  # 1 - 6 * 2 / (5 * 24)
    swapped[:, 2] = np.nan  # a pair without values
    assert targets.agreement(rising, swapped, counts).mean == pytest.approx(0.9)
    assert math.isnan(targets.agreement(rising, np.full((5, 3), np.nan), counts).mean)


def pair() -> tuple[Pair, Box]:
    """Bright man in the infrared alone, vertical stripes in the visible alone."""
    vi = (torch.arange(64) % 8 * 20.0).expand(48, 64).double()
    box = Box(24, 16, 8, 16, "person")
    ir = torch.zeros(48, 64, dtype=torch.float64).masked_fill(targets.inside(box, vi), 200)
    return Pair("made", "1", vi, ir, [box]), box


def test_judge_tells_the_sources_apart() -> None:
    made, _ = pair()
    visible, infrared, average = (targets.judge(x, made) for x in (made.vi, made.ir, (made.vi + made.ir) / 2))
    assert visible["texture"] == 1
    assert visible["targets"] < 0.01
    assert infrared["targets"] == infrared["ROC"] == 1
    assert infrared["texture"] < 0.02  # at the edge of the box alone
    assert infrared["contrast"] == pytest.approx(200 * math.sqrt(12))
    assert 0.45 < average["texture"] < 0.5  # half, less what the edge of the box turns round
    assert average["both"] == min(average["targets"], average["texture"]) > max(visible["both"], infrared["both"])
    assert average["both_people"] == average["both"]
    assert math.isnan(average["vehicles"])
    van = targets.judge(made.ir, made._replace(boxes=[made.boxes[0]._replace(what="vehicle")]))
    assert math.isnan(van["both_people"])
    assert van["both"] == infrared["both"]
    clearer = targets.judge(made.ir * 1.2, made)
    assert clearer["contrast"] == pytest.approx(240 * math.sqrt(12))
    assert clearer["targets"] == 1
    empty = targets.judge(made.vi, made._replace(boxes=[]))
    assert empty["texture"] == 1
    assert empty["foreign"] == 0
    assert math.isnan(empty["both"])


def test_boxes_lie_in_their_pictures(shared: Path) -> None:
    with (ROOT / "docs" / "does_it_help_boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({tuple(row.values()) for row in rows}) == len(rows) > 40
    for (data, stem), found in targets.boxes(ROOT / "docs" / "does_it_help_boxes.csv").items():
        _, height, width = io.read(io.pictures(shared / "datasets" / data / "ir")[stem]).shape
        for box in found:
            assert box.what in ("person", "vehicle")
            assert min(box.x, box.y) >= 0
            assert min(box.width, box.height) >= 9
            assert box.x + box.width <= width
            assert box.y + box.height <= height


def test_page_of_a_made_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stems, generator = ["03", "04", "10"], torch.Generator().manual_seed(0)
    folder, others = tmp_path / "judged", tmp_path / "tno" / "theirs"
    for stem in stems:
        vi = torch.rand(1, 420, 440, generator=generator) * 120
        ir = 60 + vi.flip(2) / 10
        ir[:, 140:390, 320:400] += 90
        made = {"average": (vi + ir) / 2, "maximum": torch.maximum(vi, ir)}
        places = {tmp_path / "tno" / "vi": vi, tmp_path / "tno" / "ir": ir, others: (vi + 3 * ir) / 4}
        places |= {folder / "fused" / name: x for name, x in made.items()}
        if stem != "10":
            places[folder / "fused" / "half"] = vi
        for place, picture in places.items():
            place.mkdir(parents=True, exist_ok=True)
            io.write(place / f"{stem}.png", picture.byte())
    methods: dict[str, dict[str, str]] = {name: {"kind": "rule"} for name in ("average", "maximum", "half")}
    methods |= {"tno-theirs": {"kind": "folder", "path": str(others)}, "copy-ir": {"kind": "trivial"}}
    (folder / "evaluation.json").write_text(json.dumps({"data": {"name": "tno"}, "methods": methods}))
    lines = [f"{name},{stem},{i},{-i}" for i, name in enumerate([*methods, "copy-vi"]) for stem in stems]
    (folder / "results.csv").write_text("\n".join(["method,pair,q_g,en", *lines]) + "\n")
    monkeypatch.setenv("FUSE_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setattr("sys.argv", ["does_it_help", "--out", str(tmp_path), str(folder)])
    script("does_it_help").main()
    assert capsys.readouterr().out == f"{tmp_path / 'does_it_help.md'}\n"
    page = (tmp_path / "does_it_help.md").read_text()
    assert "## 3 fused rows and the two sources" in page
    assert "Left out, pairs being absent: half (2 of 3 pairs)." in page
    assert "3 pairs, 3 boxes (3 people, 0 vehicles)" in page
    table = [line.split(" | ")[0].strip("| *") for line in page.splitlines() if "[" in line and line.startswith("|")]
    assert set(table[1:6]) == {"visible alone", "infrared alone", "average", "maximum", "theirs"}
    assert table[-2:] == ["en", "q_g"]
    with (tmp_path / "does_it_help.csv").open() as file:
        rows = {(row["method"], row["set"], row["score"]): row for row in csv.DictReader(file)}
    assert float(rows["visible alone", "all", "texture"]["mean"]) == 1
    assert float(rows["average", "tno", "texture"]["mean"]) == pytest.approx(0.5, abs=0.1)
    assert rows["theirs", "all", "people"]["pairs"] == "3"
    assert ("theirs", "all", "vehicles") not in rows
