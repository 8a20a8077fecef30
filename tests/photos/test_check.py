"""Doubts about results: none about good ones, each about the picture that was spoiled for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.data import io
from fuse.data.optics import focus_pair
from fuse.methods import RULES
from fuse.photos import cells, check


def stored(picture: Tensor) -> Tensor:
    return picture.round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def scene() -> tuple[Tensor, list[Tensor]]:
    """A focus pair of 128 x 128 in colour, levels 40 to 200, and the truth."""
    sources, truth, _ = focus_pair(128, torch.Generator().manual_seed(3))
    warm = torch.tensor([180.0, 150, 110])[:, None, None]
    return stored(truth * warm + 40), [stored(x * warm + 40) for x in sources]


def blurred(picture: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    return F.avg_pool2d(F.pad(picture.float()[None], [radius] * 4, "reflect"), size, 1)[0]


def found(fused: Tensor, sources: list[Tensor], **how: object) -> list[str]:
    return [doubt.sign for doubt in check.doubts(fused, sources, **how)]


def test_good_results_raise_no_doubt(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    assert check.doubts(truth, sources) == []
    for rule in ("gff", "laplacian"):
        assert found(infer.fuse(RULES[rule](), [x[None] for x in sources])[0], sources) == [], rule


def noise(like: Tensor, strength: float) -> Tensor:
    return strength * torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(1))


def blocks(like: Tensor) -> Tensor:
    y, x = torch.meshgrid(*(torch.arange(side) // 8 for side in like.shape[1:]), indexing="ij")
    return ((y + x) % 2) * 8.0 - 4


SPOILED: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("brightness", lambda x: 255 * (x / 255) ** 0.7),
    ("brightness", lambda x: 255 * (x / 255) ** 1.4),
    ("displaced", lambda x: x.roll((3, 4), (1, 2))),
    ("soft", lambda x: blurred(x, 2)),
    ("harsh", lambda x: x + 1.5 * (x - blurred(x, 2))),
    ("halo", lambda x: x + 1.2 * (blurred(x, 4) - blurred(x, 12))),
    ("noise", lambda x: x + noise(x, 8)),
    ("grid", lambda x: x + blocks(x)),
    ("cast", lambda x: x * torch.tensor([1.1, 1.0, 0.85])[:, None, None]),
    ("pale", lambda x: x.mean(0, keepdim=True).expand(3, -1, -1)),
    ("turned", lambda x: x.flip(-1)),
    ("saturated", lambda x: torch.where(x > x.median(), 255.0, x)),
]


@pytest.mark.parametrize(("sign", "spoil"), SPOILED, ids=[f"{sign}-{i}" for i, (sign, _) in enumerate(SPOILED)])
def test_a_spoiled_result_is_doubted_for_what_was_done(
    scene: tuple[Tensor, list[Tensor]], sign: str, spoil: Callable[[Tensor], Tensor]
) -> None:
    truth, sources = scene
    doubts = check.doubts(stored(spoil(truth.float())), sources)
    assert sign in [doubt.sign for doubt in doubts]
    for doubt in doubts:
        assert len(doubt.what) > 10
        assert len(doubt.advice) > 5
        if doubt.where:
            top, left, bottom, right = doubt.where
            assert 0 <= top < bottom <= 128
            assert 0 <= left < right <= 128


def test_copy_and_average(scene: tuple[Tensor, list[Tensor]]) -> None:
    _, sources = scene
    for i, source in enumerate(sources):
        doubt = next(d for d in check.doubts(source, sources) if d.sign == "ignored")
        assert f"source {2 - i}" in doubt.what
        assert doubt.amount < check.IGNORED
    assert "soft" in found(stored(torch.stack([x.float() for x in sources]).mean(0)), sources)


def test_depths_say_the_same(scene: tuple[Tensor, list[Tensor]]) -> None:
    _, sources = scene
    expected = found(sources[0], sources)
    assert expected
    wide = [x.to(torch.uint16) * 257 for x in sources]
    assert found(wide[0], wide) == expected
    assert found(sources[0].float() / 255, [x.float() / 255 for x in sources]) == expected


def test_where_points_to_the_spoiled_place(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    spoiled = truth.clone()
    spoiled[:, 70:110, 66:100] = 255
    boxes = [doubt.where for doubt in check.doubts(spoiled, sources) if doubt.where]
    assert (64, 64, 128, 128) in boxes


def test_pixels_that_a_source_lacks_are_not_judged(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    spoiled = truth.clone()
    spoiled[:, :, :48] = 255
    assert check.doubts(spoiled, sources)
    valid = torch.ones(1, 128, 128, dtype=torch.bool)
    valid[:, :, :50] = False
    assert not {"outside", "brightness", "halo", "ignored"} & set(found(spoiled, sources, valid=valid))
    assert check.doubts(truth, sources, torch.zeros(1, 128, 128, dtype=torch.bool)) == []


def test_swapped_roles(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, (near, far) = scene
    heat = far.float().mean(0, keepdim=True)
    sources = [stored(heat), near]
    assert "swapped" not in found(truth, sources, roles=("ir", "vi"))
    assert "swapped" in found(truth, sources, roles=("vi", "ir"))
    assert "swapped" not in found(truth, sources, roles=("near", "far"))
    dark, bright = stored(near.float() * 0.4), stored(near.float() * 1.2)
    assert "swapped" in found(truth, [dark, bright], roles=("over", "under"))


def test_a_map_of_single_pixels(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    halves = (torch.arange(128) < 64).long().expand(1, 128, 128)
    assert found(truth, sources, chosen=halves) == []
    random = torch.randint(2, (1, 128, 128), generator=torch.Generator().manual_seed(0))
    assert found(truth, sources, chosen=random) == ["speckled"]
    slope = (torch.arange(128) // 2).expand(1, 128, 128) + torch.randint(3, (1, 128, 128))
    assert found(truth, sources, chosen=slope) == []  # neighbours in a stack of 64


def test_sources_are_read_one_after_the_other_and_may_be_many_and_smaller(
    scene: tuple[Tensor, list[Tensor]],
) -> None:
    truth, sources = scene
    assert check.doubts(truth, (x for x in sources)) == []
    assert "ignored" in found(sources[0], [*sources, *[stored(blurred(x, 3)) for x in sources * 3]])
    half = [F.avg_pool2d(x.float()[None], 2)[0].round().to(torch.uint8) for x in sources]
    assert "brightness" not in found(truth, half)
    assert "brightness" in found(stored(255 * (truth / 255) ** 0.6), half)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 3), (24, 31)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    picture = torch.full((1, *size), 90, dtype=torch.uint8)
    assert check.doubts(picture, [picture, picture], chosen=torch.zeros(1, *size, dtype=torch.int64)) == []


def test_cells_hold_the_means_of_their_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    fused, a, b = (torch.randint(256, (1, 40, 33), generator=generator, dtype=torch.uint8) for _ in range(3))
    found = cells.measured(cells.squares(fused, [a, b]))
    assert found.places.tolist() == [[y, x] for y in (0, 16, 32) for x in (0, 16, 32)]
    assert float(found.mean[4]) == pytest.approx(float(fused[0, 16:32, 16:32].float().mean()), rel=1e-5)
    assert float(found.means[8, 1]) == pytest.approx(float(b[0, 32:, 32:].float().mean()), rel=1e-5)


def test_excess_is_what_goes_beyond_the_sources_nearby() -> None:
    source = torch.full((1, 16, 16), 100, dtype=torch.uint8)
    source[0, 5, 5] = 120
    fused = source.clone()
    fused[0, 5, 7], fused[0, 5, 8] = 130, 130  # two and three pixels from the 120
    found = cells.measured(cells.squares(fused, [source]))
    assert float(found.excess[0]) == pytest.approx((10 + 30) / 256)


def test_squares_of_a_large_picture_are_few_and_where_the_detail_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SQUARE", 16)
    monkeypatch.setattr(cells, "WHOLE", 16 * 256)
    fused = torch.full((1, 200, 160), 90, dtype=torch.uint8)
    fused[0, 30:40, 20:30] = torch.randint(256, (10, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    boxes = cells.boxes(fused)
    assert len(boxes) == 16
    assert all((bottom - top, right - left) == (16, 16) for top, left, bottom, right in boxes)
    top, left, bottom, right = boxes[0]
    assert top <= 30 < 40 <= bottom
    assert left <= 20 < 30 <= right
    kept = cells.squares(fused, (fused for _ in range(40)))
    assert len(kept) * 40 <= cells.MOST
    assert len(kept[0].sources) == 40
    assert torch.equal(kept[0].sources[3], fused[:, top:bottom, left:right])
    assert len(cells.boxes(fused[:, :48, :60])) == 12  # small ones whole
    assert sum((b - t) * (r - x) for t, x, b, r in cells.boxes(fused[:, :48, :60])) == 48 * 60


def test_a_source_of_another_size_is_stretched() -> None:
    ramp = (torch.arange(32) * 8).to(torch.uint8).expand(1, 16, 32)
    half = F.avg_pool2d(ramp.float()[None], 2)[0].round().to(torch.uint8)
    part = cells.cut(half, (4, 6, 12, 26), (16, 32))
    assert torch.allclose(part * 255, ramp[:, 4:12, 6:26].float(), atol=1)


def test_a_grid_stands_out_but_not_that_of_the_sources() -> None:
    flat = torch.rand(96, 96, generator=torch.Generator().manual_seed(0)) * 4 + 100
    grid = flat + 5 * (torch.arange(96) // 8 % 2)
    assert check.lines(grid, flat[None])[8] == pytest.approx(5 - 4 / 3, abs=0.5)  # less the mean step of the noise
    assert check.lines(grid.T, flat.T[None])[8] == check.lines(grid, flat[None])[8]
    assert check.lines(grid, grid[None])[8] < 0.5
    assert check.lines(flat, flat[None])[8] < 0.5


@pytest.mark.parametrize(
    ("name", "roles", "stem", "rule"),
    [("lytro", ("near", "far"), "lytro-03", "gff"), ("roadscene", ("ir", "vi"), "FLIR_00018", "laplacian")],
)
def test_real_results_and_a_published_fault(
    shared: Path, name: str, roles: tuple[str, str], stem: str, rule: str
) -> None:
    folder = shared / "datasets" / name
    sources = [io.read(io.pictures(folder / role)[stem]) for role in roles]
    assert check.doubts(infer.fuse(RULES[rule](), [x[None] for x in sources])[0], sources, roles=roles) == []
    assert "ignored" in found(sources[0], sources)
