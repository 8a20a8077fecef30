"""Focus stacks of made scenes: who is sharp where, breathing, and light that is kept."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from fuse.data.optics import defocus, focus_pair, focus_stack, scaled, spread


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_focus_map_of_a_pair_is_where_each_source_is_the_truth() -> None:
    scene = focus_pair(96, rng(1))
    assert scene.focus is not None
    assert bool((scene.focus.sum(0) == 1).all())
    error = torch.stack([(source - scene.reference).abs().mean(0) for source in scene.sources])
    wrong = (error.argmin(0) != scene.focus.argmax(0)) & (error.amax(0) - error.amin(0) > 1 / 255)
    front = scene.focus[:1, None]
    band = max_pool2d(front, 13, 1, 6) + max_pool2d(-front, 13, 1, 6) > 0  # blurs reach 6 pixels at most
    assert 0 < wrong.sum() < 0.06 * wrong.numel()
    assert not bool((wrong & ~band[0, 0]).any())


@pytest.mark.parametrize("settings", [2, 3, 5])
def test_every_setting_is_closest_to_the_truth_at_its_own_depths(settings: int) -> None:
    scene = focus_stack(96, rng(2), settings)
    assert len(scene.sources) == settings
    assert scene.focus is not None
    assert scene.focus.shape == (settings, 96, 96)
    errors = torch.stack([(source - scene.reference).square().mean(0) for source in scene.sources])
    for i in range(settings):
        own = scene.focus[i] > 0
        if own.sum() > 400:
            inside = [errors[j][own].mean().item() for j in range(settings)]
            assert inside[i] == min(inside)


def test_stacks_are_the_same_for_ever_and_need_no_blur_to_be_sharp() -> None:
    one, other = focus_stack(48, rng(3)), focus_stack(48, rng(3))
    assert all(torch.equal(a, b) for a, b in zip(one.sources, other.sources, strict=True))
    sharp = focus_stack(48, rng(3), strength=0.0)
    assert all(torch.equal(source, sharp.reference) for source in sharp.sources)
    assert torch.equal(sharp.reference, one.reference)


def test_breathing_scales_the_far_settings_and_leaves_the_nearest() -> None:
    still, breathing = focus_stack(64, rng(4)), focus_stack(64, rng(4), breathing=0.1)
    assert torch.equal(still.sources[0], breathing.sources[0])
    torch.testing.assert_close(breathing.sources[2], scaled(still.sources[2], 0.9))


def test_scaling_is_about_the_centre() -> None:
    ramp = torch.arange(33.0).expand(1, 33, 33) / 64
    larger = scaled(ramp, 1.25)
    torch.testing.assert_close(larger[0, 16, 8:25], 0.25 + (torch.arange(8, 25) - 16) / 64 / 1.25, atol=2e-3, rtol=0)
    assert scaled(ramp, 1) is ramp


def test_small_discs_blur_nothing() -> None:
    picture: Tensor = torch.rand(1, 9, 9, generator=rng())
    assert spread(picture, 0.4) is picture
    torch.testing.assert_close(spread(picture, 2.0), defocus(picture, 2.0))
