"""Offsets of made pictures that are known, of real pairs that are labelled, and the findings of an audit."""

import csv
from pathlib import Path
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from fuse.data import io, offset
from fuse.data.audit import audit
from fuse.data.color import grey_levels
from fuse.errors import InputError


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """Blobs of several sizes, 0..255."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.zeros(1, 1, height, width)
    for cell in (3, 7, 15):
        coarse = torch.rand(1, 1, -(-height // cell), -(-width // cell), generator=generator)
        made += interpolate(coarse, scale_factor=cell, mode="bilinear")[..., :height, :width]
    return (made[0, 0] - made.min()) / (made.max() - made.min()) * 255


def shifted(dx: int, dy: int, height: int = 96, width: int = 112) -> tuple[Tensor, Tensor]:
    """What is at (x, y) in the first is at (x + dx, y + dy) in the second; both cut from one larger scene."""
    scene = texture(height + 80, width + 80)
    return scene[40 : 40 + height, 40 : 40 + width], scene[40 - dy : 40 - dy + height, 40 - dx : 40 - dx + width]


@given(dx=st.integers(-12, 12), dy=st.integers(-12, 12))
@settings(max_examples=12)
def test_whole_pixels_are_found(dx: int, dy: int) -> None:
    found = offset.between(*shifted(dx, dy))
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.3)
    assert found.confidence > 0.3


def test_exchange_turns_the_sign() -> None:
    first, second = shifted(5, -3)
    there, back = offset.between(first, second), offset.between(second, first)
    assert (there.dx, there.dy) == pytest.approx((-back.dx, -back.dy), abs=0.2)


def test_inverted_contrast_and_noise_do_not_matter() -> None:
    """As infrared against visible: a hot thing is bright in one and dark in the other."""
    first, second = shifted(-6, 4)
    noise = torch.randn(second.shape, generator=torch.Generator().manual_seed(1))
    found = offset.between(first, 255 - 0.4 * second + 4 * noise)
    assert (found.dx, found.dy) == pytest.approx((-6, 4), abs=0.3)


def test_parts_of_a_pixel() -> None:
    fine = texture(400, 480)
    first, second = (avg_pool2d(x[None, None], 4)[0, 0] for x in (fine[8:392, 8:472], fine[8:392, 6:470]))
    assert offset.between(first, second).dx == pytest.approx(0.5, abs=0.2)


def test_equal_pictures_have_no_offset_and_the_map_is_green() -> None:
    same = texture(96, 112)
    found = offset.between(same, same)
    assert (found.dx, found.dy, found.spread) == pytest.approx((0, 0, 0), abs=1e-3)
    assert found.confidence > 0.5
    assert found.map[..., 2].min() > offset.TRUSTED
    shown = offset.picture(same, found)
    assert shown.shape == (3, 96, 112)
    assert shown.dtype == torch.uint8
    middle = shown[:, 40:60, 40:70].float().mean((1, 2))
    assert middle[1] > middle[0] + 50
    assert middle[1] > middle[2] + 50


def test_the_map_shows_where_the_shift_is() -> None:
    first, second = shifted(0, 0, 96, 192)
    moved = torch.cat([second[:, :96], shifted(5, 0, 96, 192)[1][:, 96:]], 1)
    found = offset.between(first, moved)
    left, right = found.map[:, 0, 0], found.map[:, -1, 0]
    assert left.abs().max() < 0.6
    assert (right - 5).abs().max() < 0.6
    assert found.spread > 0.5
    shown = offset.picture(first, found)
    assert shown[0, 30:60, 150:180].float().mean() > shown[0, 30:60, 20:50].float().mean() + 50  # red
    assert shown[1, 30:60, 20:50].float().mean() > shown[1, 30:60, 150:180].float().mean() + 50  # green


def test_unrelated_and_flat_pictures_are_not_trusted() -> None:
    assert offset.between(texture(96, 96, 0), texture(96, 96, 5)).confidence < 0.2
    flat = torch.full((96, 96), 7.0)
    found = offset.between(flat, texture(96, 96))
    assert (found.dx, found.dy, found.confidence) == (0, 0, 0)


def test_large_pictures_are_looked_at_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offset, "LARGEST", 100)
    found = offset.between(*shifted(12, -8, 176, 190))
    assert (found.dx, found.dy) == pytest.approx((12, -8), abs=0.6)


def test_quick_lengths() -> None:
    assert [offset.quick(n) for n in (1, 7, 30, 97, 649)] == [1, 8, 30, 100, 675]


def test_labelled_offsets_of_unregistered_pairs(shared: Path) -> None:
    """The median of the labelled points, of pairs that a shift can describe (their points differ by less than 8)."""
    folder = shared / "datasets" / "vis_ir_unreg"
    points: dict[str, list[tuple[float, float]]] = {}
    with (folder / "landmarks.csv").open() as file:
        for row in csv.DictReader(file):
            pair = float(row["ir_x"]) - float(row["vi_x"]), float(row["ir_y"]) - float(row["vi_y"])
            points.setdefault(row["stem"], []).append(pair)
    for stem in ("VI_1", "VI_5", "VI_6"):
        vi, ir = (grey_levels(io.read(folder / role / f"{stem}.png")[None])[0, 0].float() for role in ("vi", "ir"))
        found = offset.between(vi, ir)
        dx, dy = (median(column) for column in zip(*points[stem], strict=True))
        assert abs(found.dx - dx) < 6
        assert abs(found.dy - dy) < 6
        assert found.confidence > offset.TRUSTED


def stored(grey: Tensor, channels: int = 3) -> Tensor:
    return grey.round().to(torch.uint8).expand(channels, -1, -1)


def coloured(grey: Tensor) -> Tensor:
    return torch.stack([grey, grey * 0.6, 255 - grey]).round().to(torch.uint8)


def test_an_audit_finds_what_spoils_fusion(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    first, second = shifted(6, -4)
    place = texture(96, 112, 3)
    io.write(pairs / "ir" / "shifted.png", stored(first, 1))
    io.write(pairs / "vi" / "shifted.png", coloured(second))
    io.write(pairs / "ir" / "swapped.png", coloured(place))
    io.write(pairs / "vi" / "swapped.png", stored(place, 1))
    io.write(pairs / "ir" / "sizes.png", stored(texture(40, 50), 1))
    io.write(pairs / "vi" / "sizes.png", coloured(texture(44, 50)))
    io.write(pairs / "ir" / "white.png", stored((texture(96, 112, 4) * 3).clamp(0, 255), 1))
    io.write(pairs / "vi" / "white.png", coloured(texture(96, 112, 4)))
    io.write(pairs / "ir" / "deep.png", (texture(96, 112, 5) * 16).to(torch.uint16)[None])
    io.write(pairs / "vi" / "deep.png", stored(texture(96, 112, 5)))
    io.write(pairs / "ir" / "alone.png", stored(place, 1))
    io.write(pairs / "ir" / "again.png", stored(first * 0.8 + 20, 1))
    io.write(pairs / "vi" / "again.png", coloured(second))
    io.write(pairs / "ir" / "broken.png", stored(place, 1))
    (pairs / "vi" / "broken.png").write_bytes(b"")
    report = audit(pairs, maps=tmp_path / "maps")
    told = {stem: " | ".join(scene["findings"]) for stem, scene in report.scenes.items()}
    assert report.roles == ["ir", "vi"]
    assert report.unmatched == ["ir/alone"]
    assert report.unreadable[0].startswith("broken: ")
    assert "vi is shifted by +6." in told["shifted"] or "vi is shifted by +5.9" in told["shifted"]
    assert report.scenes["shifted"]["offsets"]["vi"]["dy"] == pytest.approx(-4, abs=0.3)
    assert "the roles may be swapped" in told["swapped"]
    assert "the roles may be swapped" not in told["shifted"]
    assert told["sizes"] == "unequal sizes: ir 50x40, vi 50x44"
    assert "ir is white in" in told["white"]
    assert "ir uses 12 of 16 bits" in told["deep"]
    assert "vi is grey stored as colour" in told["deep"]
    assert "unequal depths: ir 16 bit, vi 8 bit" in told["deep"]
    assert [pair[:2] for pair in report.same] == [("again", "shifted")]
    assert report.equal == [["vi/again", "vi/shifted"]]
    assert io.read(tmp_path / "maps" / "shifted-vi.png").shape == (3, 96, 112)


def test_an_audit_of_good_pairs_has_nothing_to_say(tmp_path: Path) -> None:
    for seed in (0, 1):
        io.write(tmp_path / f"{seed}_A.png", coloured(texture(96, 112, seed)))
        io.write(tmp_path / f"{seed}_B.png", coloured((texture(96, 112, seed) * 0.8).clamp(0, 255)))
    report = audit(tmp_path)
    assert report.roles == ["near", "far"]
    assert [scene["findings"] for scene in report.scenes.values()] == [[], []]
    assert report.same == report.equal == report.unmatched == report.unreadable == []


def test_exposures_in_the_wrong_order_and_copies(tmp_path: Path) -> None:
    place = texture(40, 50)
    io.write(tmp_path / "under" / "a.png", coloured(place * 0.5 + 120))
    io.write(tmp_path / "over" / "a.png", coloured(place * 0.5))
    io.write(tmp_path / "under" / "b.png", coloured(place))
    io.write(tmp_path / "over" / "b.png", coloured(place))
    report = audit(tmp_path, ["under", "over"])
    assert "under is brighter than over: the roles may be swapped" in report.scenes["a"]["findings"]
    assert "over is the same picture as under" in report.scenes["b"]["findings"]


def test_eight_bits_in_sixteen(tmp_path: Path) -> None:
    wide = texture(40, 50).round().to(torch.int32) * 257
    for role in ("near", "far"):
        io.write(tmp_path / role / "a.png", wide.to(torch.uint16)[None])
    assert "near holds 8 bit values in 16 bits" in audit(tmp_path).scenes["a"]["findings"]


def test_nothing_to_audit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        audit(tmp_path / "nowhere")
    io.write(tmp_path / "a.png", torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="no scene is complete"):
        audit(tmp_path)
