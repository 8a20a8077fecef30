"""Many metrics at once: what is refused, what is undefined, what is shared, what does not depend on company."""

import math
from importlib import import_module

import pytest
import torch
from torch import Tensor

from fuse.errors import InputError
from fuse.metrics import METRICS, Memo, applicable, measure
from fuse.metrics.table import FAMILIES


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 1, height, width), generator=torch.Generator().manual_seed(seed)).double()


QUICK = [name for name in METRICS if not name.startswith(("fmi", "q_p", "ms_ssim"))]


def test_default_is_all_that_apply() -> None:
    fused, a, b = (pictures(1, 24, 25, seed) for seed in range(3))
    assert list(measure(fused, [a, b])) == applicable(False)
    assert list(measure(fused, [a, b], a)) == applicable(True) == list(METRICS)


def test_families_hold_every_metric_once() -> None:
    assert [row.name for rows in FAMILIES.values() for row in rows] == list(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_is_its_pictures(name: str) -> None:
    side = max(METRICS[name].min_side, 20)
    fused, a, b = (pictures(3, side, side + 3, seed) for seed in range(3))
    together = measure(fused, [a, b], a, [name])[name]
    alone = [measure(fused[i : i + 1], [a[i : i + 1], b[i : i + 1]], a[i : i + 1], [name])[name] for i in range(3)]
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-12)


def test_large_batches_are_cut_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, a, b = (pictures(5, 46, 47, seed) for seed in range(3))
    whole = measure(fused, [a, b], names=QUICK[:30])
    monkeypatch.setattr(import_module("fuse.metrics.measure"), "PIXELS", (2 * 46 * 47, 0))
    cut = measure(fused, [a, b], names=QUICK[:30])
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-9, atol=1e-12, equal_nan=True)


def test_sharing_changes_no_value() -> None:
    fused, a, b = (pictures(1, 46, 47, seed) for seed in range(3))
    names = [name for name in QUICK if METRICS[name].uses == "sources"]
    shared = measure(fused, [a, b], names=names)
    for name in names:
        assert torch.equal(shared[name], METRICS[name].function(fused, [a, b])), name


def test_memo_computes_once_and_tells_arguments_apart() -> None:
    calls = []

    def add(x: Tensor, y: int = 0) -> Tensor:
        calls.append(y)
        return x + y

    memo, x = Memo(), torch.zeros(2)
    assert memo(add, x, y=1) is memo(add, x, y=1)
    assert memo(add, x, y=2) is not memo(add, x.clone(), y=2)
    assert calls == [1, 2, 2]


@pytest.mark.parametrize("name", METRICS)
def test_undefined_below_the_smallest_size(name: str) -> None:
    side = METRICS[name].min_side
    large, small = ([pictures(1, s, s + 1, seed) for seed in range(3)] for s in (side, side - 1))
    fused, a, b = large
    assert not math.isnan(measure(fused, [a, b], a, [name])[name].item()) or side == 1
    if side > 1:
        fused, a, b = small
        assert math.isnan(measure(fused, [a, b], a, [name])[name].item())


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 5)])
def test_the_smallest_pictures_crash_nothing(size: tuple[int, int]) -> None:
    fused, a, b = (pictures(1, *size, seed) for seed in range(3))
    scores = measure(fused, [a, b], a)
    assert all(score.shape == (1,) for score in scores.values())


@pytest.mark.parametrize("level", [0.0, 127.0, 255.0])
def test_constant_pictures_crash_nothing(level: float) -> None:
    flat = torch.full((1, 1, 180, 177), level, dtype=torch.float64)
    scores = measure(flat, [flat, flat], flat)
    assert scores["ssim"].item() == pytest.approx(1.0)
    assert scores["en"].item() == scores["sd"].item() == scores["sf"].item() == scores["mse"].item() == 0.0
    assert math.isnan(scores["cc"].item())
    assert not any(math.isinf(score.item()) for name, score in scores.items() if "psnr" not in name)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float32])
def test_any_real_type(dtype: torch.dtype) -> None:
    fused, a, b = (pictures(1, 46, 47, seed) for seed in range(3))
    if dtype is torch.bfloat16:
        fused, a, b = (x // 2 for x in (fused, a, b))  # holds whole numbers up to 128 only
    names = [name for name in QUICK if METRICS[name].uses != "reference"]
    expected = measure(fused, [a, b], names=names)
    given = measure(fused.to(dtype), [a.to(dtype), b.to(dtype)], names=names)
    for name in names:
        torch.testing.assert_close(given[name], expected[name], equal_nan=True)


def test_more_than_two_sources() -> None:
    fused, *sources = (pictures(1, 46, 47, seed) for seed in range(4))
    scores = measure(fused, sources, names=QUICK[:40])
    assert all(torch.isfinite(scores[name]).all() for name in scores if METRICS[name].uses == "sources")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["fused", "source 2", "reference"])
def test_non_finite_pixels_are_refused(bad: float, which: str) -> None:
    images = {name: pictures(1, 5, 5) for name in ("fused", "source 1", "source 2", "reference")}
    images[which][0, 0, 2, 2] = bad
    fused, a, b, reference = images.values()
    with pytest.raises(InputError, match=f"{which} has NaN or infinite pixels"):
        measure(fused, [a, b], reference)


def test_unknown_names_are_answered_with_near_ones() -> None:
    picture = pictures(1, 12, 12)
    with pytest.raises(InputError, match="no metric 'ssmi'; did you mean ssim"):
        measure(picture, [picture, picture], names=["en", "ssmi"])
    with pytest.raises(InputError, match="the metrics are mean, en"):
        measure(picture, [picture, picture], names=["zzzzzz"])


def test_a_missing_reference_is_named() -> None:
    picture = pictures(1, 12, 12)
    with pytest.raises(InputError, match="'psnr_ref' needs a reference"):
        measure(picture, [picture, picture], names=["psnr_ref"])


@pytest.mark.usefixtures("unchecked_types")
def test_shapes_are_refused() -> None:
    picture = pictures(1, 12, 12)
    with pytest.raises(InputError, match=r"source 2 is \(1, 1, 12, 13\) but fused is \(1, 1, 12, 12\)"):
        measure(picture, [picture, pictures(1, 12, 13)])
    with pytest.raises(InputError, match="metrics take grey pictures"):
        measure(picture[0], [picture, picture])
    with pytest.raises(InputError, match="metrics take grey pictures"):
        measure(picture.expand(1, 3, 12, 12), [picture, picture])
    with pytest.raises(InputError, match="no sources"):
        measure(picture, [])
    with pytest.raises(InputError, match="no pixel"):
        measure(picture[:0], [picture[:0], picture[:0]])


def test_direct_calls_say_what_is_too_small() -> None:
    picture = pictures(1, 10, 30)
    with pytest.raises(InputError, match="10x30 pixels is smaller than the 11x11 window"):
        METRICS["ssim"].function(picture, [picture])
    with pytest.raises(InputError, match="combine='worst' is not known"):
        METRICS["mi"].function(picture, [picture], combine="worst")
    with pytest.raises(InputError, match="at least two"):
        METRICS["scd"].function(picture, [picture])
