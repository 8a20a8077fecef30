"""Metrics inside the body: what the body is, hand values, what the background may do and what not."""

import math

import numpy as np
import plain_body
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_table import PLAIN
from torch import Tensor

from fuse import metrics
from fuse.metrics import METRICS, body_mask, measure
from fuse.metrics.fidelity import places

BODY = [name for name in METRICS if name.endswith("_body")]
POINTWISE = ["en_body", "sd_body", "mi_body", "scd_body"]
# pixels from the middle of a window to the farthest pixel that matters; VIF: at its fourth scale
REACH = {"ssim_body": 5, "ssim_min_body": 5, "q_g_body": 1, "q_g_min_body": 1, "vif_body": 20, "vif_min_body": 20}


def noise(seed: int, height: int = 64, width: int = 60, low: int = 20) -> Tensor:
    return torch.randint(low, 256, (1, 1, height, width), generator=torch.Generator().manual_seed(seed)).double()


def disk(height: int = 64, width: int = 60, radius: float = 20, at: tuple[int, int] = (32, 30)) -> Tensor:
    down, across = torch.meshgrid(torch.arange(height) - at[0], torch.arange(width) - at[1], indexing="ij")
    return (down**2 + across**2 <= radius**2)[None, None]


def pictures(seed: int = 0) -> list[Tensor]:
    """Fused and two sources: noise in two disks that overlap, nothing outside."""
    first, second = disk(), disk(radius=16, at=(36, 34))
    a, b = noise(seed) * first, noise(seed + 1) * second
    return [((a + b) / 2 + noise(seed + 2, low=200) / 20).round().clamp(max=255) * (first | second), a, b]


def test_these_and_no_more() -> None:
    expected = {"scd_body", "mi_body", "en_body", "sd_body"}
    expected |= {f"{name}{worst}_body" for name in ("q_g", "vif", "ssim") for worst in ("", "_min")}
    assert set(BODY) == expected


def test_a_ring_is_filled_and_specks_are_dropped() -> None:
    ring = disk() & ~disk(radius=17)
    picture = 100.0 * ring
    assert torch.equal(body_mask(picture), disk())
    picture[..., 2:5, 2:5] = 255  # 9 of 1257 pixels
    assert torch.equal(body_mask(picture), disk())
    picture[..., 2:12, 2:12] = 255  # 100 are more than a twentieth
    assert body_mask(picture).sum() == disk().sum() + 100
    picture[..., 32, :] = 0  # from the border into the ring: its inside is not a hole any more
    assert body_mask(picture).sum() == ring.sum() + 100 - ring[..., 32, :].sum()


def test_corners_open_no_hole_and_join_no_speck() -> None:
    diamond = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None] * 200.0
    assert body_mask(diamond).sum() == 5
    block = torch.zeros(1, 1, 9, 9)
    block[..., :6, :6] = 200
    block[..., 6, 6] = 200  # touches the block at a corner
    assert body_mask(block).sum() == 36


def test_the_level_and_the_union() -> None:
    dark, bright = torch.full((1, 1, 5, 7), 8.0), torch.full((1, 1, 5, 7), 9.0)
    assert not body_mask(dark, dark).any()
    assert body_mask(dark, bright).all()
    assert torch.equal(body_mask(*pictures()[1:]), disk() | disk(radius=16, at=(36, 34)))


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 12), width=st.integers(1, 12), most=st.integers(9, 20))
def test_the_body_is_that_of_scipy(seed: int, height: int, width: int, most: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, most, (2, height, width)).astype(np.float64)
    ours = body_mask(*(torch.from_numpy(x)[None, None] for x in (a, b)))
    assert np.array_equal(ours[0, 0].numpy(), plain_body.body(a, b))


def test_two_halves_by_hand() -> None:
    a = torch.zeros(1, 1, 16, 16)
    a[..., 8:12], a[..., 12:] = 100, 200  # the body is the right half
    fused, b = a.clone(), torch.zeros_like(a)
    fused[..., :8] = 7  # a faint grey that no source has
    assert metrics.en_body(fused, [a, b]).item() == pytest.approx(1.0)
    assert metrics.sd_body(fused, [a, b]).item() == pytest.approx(50.0)
    assert metrics.mi_body(fused, [a, b]).item() == pytest.approx(1.0)  # all of a, and b is constant there
    assert metrics.en(fused).item() == pytest.approx(1.5)
    b[..., ::2, 8:] = 60  # of deviation 30, across a, of deviation 50: nothing in common
    assert metrics.scd_body(a + b, [a, b]).item() == pytest.approx(2.0)
    assert metrics.scd_body(2 * b, [a, b]).item() == pytest.approx(60 / math.hypot(60, 50))


@pytest.mark.parametrize("name", BODY)
def test_equals_plain_beside_an_empty_background(name: str) -> None:
    images = pictures(4)
    theirs = PLAIN[name](*(x[0, 0].numpy() for x in images))
    assert METRICS[name].function(images[0], images[1:]).item() == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("name", BODY)
def test_where_all_is_body_it_is_the_metric(name: str) -> None:
    fused, a, b = (noise(seed) for seed in range(3))
    whole = name.removesuffix("_body")
    assert body_mask(a, b).all()
    values = measure(fused, [a, b], names=[name, whole])
    assert torch.equal(values[name], values[whole])


def test_edges_of_the_body_are_those_of_the_part_cut_out() -> None:
    inside = [noise(seed, 20, 24) for seed in range(3)]
    fused, a, b = (torch.nn.functional.pad(x, (30, 6, 9, 11)) for x in inside)
    assert metrics.q_g_body(fused, [a, b]).item() == pytest.approx(metrics.q_g(inside[0], inside[1:]).item(), rel=1e-12)


@pytest.mark.parametrize("name", BODY)
def test_what_is_outside_matters_near_the_body_only(name: str) -> None:
    fused, a, b = (torch.nn.functional.pad(x, (30, 30, 30, 30)) for x in pictures(7))
    mask = body_mask(a, b)
    reach = REACH.get(name, 0)
    near = torch.nn.functional.max_pool2d(mask.double(), 2 * reach + 1, 1, reach) > 0
    function = METRICS[name].function
    value = function(fused, [a, b])
    changed = torch.where(near, fused, noise(11, *fused.shape[-2:]))
    assert not torch.equal(changed, fused)
    torch.testing.assert_close(function(changed, [a, b]), value, rtol=1e-12, atol=0)
    touching = torch.where(mask, fused, noise(11, *fused.shape[-2:]))
    assert torch.equal(function(touching, [a, b]), value) == (name in POINTWISE)


def test_a_faint_grey_background_decides_ssim_and_not_ssim_body() -> None:
    fused, a, b = (torch.nn.functional.pad(x, (30, 30, 30, 30)) for x in pictures(2))
    veiled = torch.where(body_mask(a, b), fused, 6.0)
    before, after = (measure(x, [a, b], names=["ssim", "ssim_body"]) for x in (fused, veiled))
    assert (before["ssim"] - after["ssim"]).item() > 0.5
    assert abs(before["ssim_body"] - after["ssim_body"]).item() < 0.02


def test_no_body_no_value_and_its_neighbours_in_the_batch_have_theirs() -> None:
    images = pictures(3)
    together = [torch.cat([torch.zeros_like(x), x]) for x in images]
    found = measure(together[0], together[1:], names=BODY)
    alone = measure(images[0], images[1:], names=BODY)
    for name in BODY:
        assert math.isnan(found[name][0].item()), name
        assert found[name][1].item() == pytest.approx(alone[name].item(), rel=1e-12), name


def test_the_middle_of_windows_at_every_scale() -> None:
    mask = torch.zeros(1, 1, 61, 57, dtype=torch.bool)
    mask[..., 20, 28] = True
    # first middles 8, 12, 16, 20; steps 1, 2, 4, 8
    expected = [[12, 20], [4, 8], [1, 3], [0, 1]]
    assert [part.nonzero()[:, 2:].flatten().tolist() for part in places(mask)] == expected
    assert list(places(None)) == [None] * 4
