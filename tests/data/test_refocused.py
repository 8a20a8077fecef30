"""Pairs made anew: which are as they were, whose pixels the others consist of, the truth that goes with them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.data.photographs import gaussian
from fuse.data.refocused import Refocused, curves, in_blocks, mapped, pair, three
from fuse.data.sample import Sample
from fuse.errors import InputError

SIDE = 40


def scenes(count: int = 3, side: int = 72) -> list[Sample]:
    """Pairs of which near is sharp in the left half, far in the right, with a frame of 8 dark pixels."""
    generator, made = torch.Generator().manual_seed(0), []
    for number in range(count):
        truth = torch.rand(1, side, side, generator=generator)
        left = (torch.arange(side) < side // 2).float().expand(1, side, side)
        blurred = gaussian(truth, 1.5)
        pictures = [left * truth + (1 - left) * blurred, (1 - left) * truth + left * blurred, truth]
        framed = [F.pad(x[..., 8:-8, 8:-8], (8,) * 4)[None] for x in pictures]
        near, far, reference = ((x * 255).round().to(torch.uint8) for x in framed)
        made.append(Sample((near, far), reference, (str(number),), ("near", "far")))
    return made


def drawn(step: int, seed: int = 0, **settings: Any) -> Sample:
    made = Refocused(scenes(), **{"size": SIDE, "batch": 6, "stacks": 0} | settings)
    return made(step, seed, torch.Generator().manual_seed(1000 * seed + step))


def error(sample: Sample) -> Tensor:
    """Mean absolute difference of the better source, per patch."""
    truth = sample.role("reference")
    return torch.stack([(x - truth).abs() for x in sample.sources]).amin(0).mean((1, 2, 3))


def test_without_a_share_they_are_windows_of_the_pictures_without_the_frame() -> None:
    sample = drawn(0, share=0)
    assert sample.roles == ("near", "far")
    assert [x.shape for x in (*sample.sources, sample.role("reference"))] == [(6, 1, SIDE, SIDE)] * 3
    assert (error(sample) < 1e-6).all()
    assert (torch.stack(sample.sources) == 0).float().mean() < 0.01  # the frame would be a fifth of it


def test_a_border_leaves_room_for_a_patch() -> None:
    assert drawn(0, size=60).sources[0].shape == (6, 1, 60, 60)
    with pytest.raises(InputError, match="72x72, smaller"):
        drawn(0, size=73)


def test_a_step_is_the_same_again_and_no_other() -> None:
    once, twice, other = drawn(3), drawn(3), drawn(4)
    for a, b, c in zip(once.sources, twice.sources, other.sources, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_the_share_is_made_anew_and_the_rest_is_not() -> None:
    as_they_are, half = drawn(1, share=0), drawn(1, share=0.5)
    same = (as_they_are.role("reference") == half.role("reference")).all((1, 2, 3))
    assert same[3:].all()
    for i in range(3):
        given = torch.stack(as_they_are.sources)[:, i]
        assert not any(torch.equal(x[i], y) for x in half.sources for y in given)


def test_sources_change_places() -> None:
    made = Refocused(scenes(), SIDE, 6, share=0, stacks=0)
    told = [made(step, 0, torch.Generator().manual_seed(step)) for step in range(8)]
    first = torch.cat([(x.sources[0] - x.role("reference")).abs()[..., : SIDE // 4].mean((1, 2, 3)) for x in told])
    assert 0 < (first < 1e-6).sum() < len(first)


def test_every_so_often_three_sources() -> None:
    made = [drawn(step, stacks=3) for step in range(6)]
    assert [len(x.sources) for x in made] == [2, 2, 3, 2, 2, 3]
    assert made[2].roles == ("near", "middle", "far")
    assert (error(made[2]) < 1e-6).all()


def test_the_focus_map_is_right_to_two_pixels_in_texture_and_whole_in_flat_parts() -> None:
    sample = scenes(1)[0]
    left = (torch.arange(56) < 28).expand(56, 56)
    wrong = (mapped(sample, 8, "full").sources[2][0, 0] == 255) != left
    assert wrong[:, 26:30].float().mean() < 0.25
    assert not wrong[:, :26].any()
    assert not wrong[:, 30:].any()
    near, far = (x.clone() for x in sample.sources)
    flat = sample.role("reference").clone()
    for x in (near, far, flat):
        x[..., 20:50, 12:24] = 90
    near[..., 20:50:3, 12:24:3] += 1  # what is left is noise, against near
    seen = mapped(Sample((near, far), flat, ("0",), ("near", "far")), 8, "full").sources[2]
    assert (seen[..., 12:42, 6:14] == 255).float().mean() > 0.9


@pytest.mark.parametrize("seed", range(12))
def test_a_pair_is_sharp_where_its_mask_says(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    front, back = torch.rand(2, 1, SIDE, SIDE, generator=generator)
    mask = (torch.arange(SIDE) < 15).float().expand(1, SIDE, SIDE)
    near, far, truth = pair(front, back, mask, generator, 4.0)
    inner = (slice(None), slice(6, -6))
    assert (near - truth)[(*inner, slice(6, 15))].abs().max() < 1e-6
    assert (far - truth)[(*inner, slice(26, -6))].abs().max() < 1e-6
    assert (far - truth)[(*inner, slice(6, 15))].abs().mean() > 0.05
    assert (near - truth)[(*inner, slice(26, -6))].abs().mean() > 0.05
    assert all(x.min() >= 0 and x.max() <= 1 for x in (near, far, truth))


def test_three_layers_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 1, SIDE, SIDE, generator=generator)
    column = torch.arange(SIDE).expand(1, SIDE, SIDE)
    *sources, truth = three(pictures, (column < 10).float(), (column < 20).float(), generator)
    wanted = torch.where(column < 10, pictures[0], torch.where(column < 20, pictures[1], pictures[2]))
    torch.testing.assert_close(truth, wanted)
    error = [[(x - truth)[..., a:b].abs().mean().item() for a, b in ((0, 10), (10, 20), (20, 40))] for x in sources]
    assert [row[i] < 1e-6 for i, row in enumerate(error)] == [True] * 3
    assert error[0][2] > error[0][1] > 0.1  # two layers away is blurred more than one
    assert error[2][0] > error[2][1] > 0.1


def test_curves_are_thin() -> None:
    made = [curves(64, torch.Generator().manual_seed(i)) for i in range(8)]
    assert all(set(x.unique().tolist()) == {0.0, 1.0} for x in made)
    assert 0.01 < sum(x.mean() for x in made) / 8 < 0.25


@pytest.mark.parametrize("settings", [{"share": 1.5}, {"stacks": -1}, {"largest": 0.5}, {"channels": 3}])
def test_unusable_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings)) if "channels" not in settings else "luma"):
        drawn(0, **settings)


def test_data_without_truth() -> None:
    with pytest.raises(InputError, match="truth"):
        Refocused([x._replace(reference=None) for x in scenes()], SIDE, 6)


def test_truths_made_of_blocks_are_left_out() -> None:
    whole = scenes(2)
    near, far = whole[0].sources
    block = (torch.arange(72) // 8 % 2 == 0).expand(1, 1, 72, 72)
    built = whole[0]._replace(reference=torch.where(block, near, far))
    assert in_blocks(built, "full") > 0.9
    assert in_blocks(whole[1], "full") < 0.3
    shifted = torch.where(block.roll(3, -1), near, far)
    assert in_blocks(whole[0]._replace(reference=shifted), "full") < 0.1
    windows = (72 - 16 - SIDE + 1) ** 2
    assert Refocused([built, whole[1]], SIDE, 6).windows == windows
    assert Refocused([built, whole[1]], SIDE, 6, blocks=1).windows == 2 * windows
    with pytest.raises(InputError, match="no pictures"):
        Refocused([built], SIDE, 6)


def test_a_few_changes_say_nothing() -> None:
    near, far = (torch.full((1, 1, 40, 40), float(x)).byte() for x in (90, 120))
    truth = torch.cat([near[..., :16], far[..., 16:]], -1)
    assert in_blocks(Sample((near, far), truth, ("0",), ("near", "far")), "full") == 0
