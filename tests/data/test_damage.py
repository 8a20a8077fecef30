"""Damage by hand: how far it moves, how much it adds, and that it follows from the seed."""

from functools import partial

import pytest
import torch
from torch import Tensor

from fuse.data import damage
from fuse.data.scenes import texture

PICTURE = texture(64, torch.Generator().manual_seed(0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shift_between(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Rows and columns that `b` lies after `a`, whole pixels, by the peak of their cyclic correlation."""
    spectrum = torch.fft.fft2(b.mean(0) - b.mean()) * torch.fft.fft2(a.mean(0) - a.mean()).conj()
    peak = int(torch.fft.ifft2(spectrum).real.argmax())
    y, x = divmod(peak, a.shape[-1])
    return (y + 32) % 64 - 32, (x + 32) % 64 - 32


@pytest.mark.parametrize(
    "harm",
    [
        damage.misaligned,
        damage.elastic,
        damage.noisy,
        damage.exposed,
        damage.coarse,
        partial(damage.compressed, quality=40),
    ],
)
def test_all_change_the_picture_and_only_the_seed_decides_how(harm: partial[Tensor]) -> None:
    one, again = harm(PICTURE, rng(1)), harm(PICTURE, rng(1))
    assert one.shape == PICTURE.shape
    assert torch.equal(one, again)
    assert not torch.equal(one, PICTURE)
    assert one.min() >= 0
    assert one.max() <= 1


def test_a_shift_stays_within_its_bound_and_reaches_it() -> None:
    found = [shift_between(PICTURE, damage.misaligned(PICTURE, rng(seed), shift=6, turn=0)) for seed in range(30)]
    largest = max(abs(value) for pair in found for value in pair)
    assert 4 <= largest <= 6
    torch.testing.assert_close(damage.misaligned(PICTURE, rng(), shift=0, turn=0), PICTURE, atol=1e-4, rtol=0)


def test_a_turn_moves_the_rim_and_not_the_centre() -> None:
    turned = damage.misaligned(PICTURE, rng(3), shift=0, turn=5)
    error = (turned - PICTURE).abs().mean(0)
    assert error[28:36, 28:36].mean() < 0.5 * error[:8].mean()


def test_elastic_moves_different_places_differently() -> None:
    """Of a ramp, the change of level is the displacement itself."""
    ramp = (torch.arange(64.0) / 128).expand(1, 64, 64)
    moved = (damage.elastic(ramp, rng(2), amplitude=6, coarse=3) - ramp)[0, 12:-12, 12:-12] * 128
    assert moved.abs().max() < 8
    assert moved.max() - moved.min() > 2
    assert moved.diff(dim=-1).abs().max() < 1  # and smoothly
    assert torch.allclose(damage.elastic(PICTURE, rng(2), amplitude=0), PICTURE, atol=1e-4)


def test_noise_has_the_variance_of_its_sensor() -> None:
    for level in (0.2, 0.7):
        grey = torch.full((1, 200, 200), level)
        noise = damage.noisy(grey, rng(), read=0.02, shot=0.05) - grey
        assert noise.var().item() == pytest.approx(0.02**2 + 0.05**2 * level, rel=0.05)


def test_exposure_is_in_stops_of_light() -> None:
    grey = torch.full((1, 4, 4), 0.4)
    stops = [torch.log2((damage.exposed(grey, rng(seed), 1.0)[0, 0, 0] / 0.4) ** 2.2).item() for seed in range(40)]
    assert max(map(abs, stops)) <= 1.0001
    assert max(stops) > 0.7
    assert min(stops) < -0.7


def test_coarse_keeps_what_is_smooth_and_loses_what_is_fine() -> None:
    fine = (torch.arange(64) % 2).float().expand(1, 64, 64)
    assert damage.coarse(fine, rng(), 4)[..., 8:-8, 8:-8].std() < 0.02
    smooth = torch.linspace(0.2, 0.8, 64).expand(1, 64, 64)
    torch.testing.assert_close(damage.coarse(smooth, rng(), 2)[..., 4:-4], smooth[..., 4:-4], atol=5e-3, rtol=0)


def test_damage_hits_the_named_role_alone() -> None:
    harms = {"ir": [damage.noisy, partial(damage.exposed, stops=1.0)]}
    ir, vi = damage.applied((PICTURE, PICTURE), ("ir", "vi"), harms, 0, "scene")
    assert torch.equal(vi, PICTURE)
    assert not torch.equal(ir, PICTURE)
    again = damage.applied((PICTURE, PICTURE), ("ir", "vi"), harms, 0, "scene")[0]
    assert torch.equal(again, ir)
    assert not torch.equal(damage.applied((PICTURE, PICTURE), ("ir", "vi"), harms, 1, "scene")[0], ir)
