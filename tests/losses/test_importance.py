"""How much sources count: by hand, against NumPy, and what holds for all."""

from functools import partial

import numpy as np
import pytest
import torch
from made import ACROSS, RING, each, pictures, sample_of
from scipy.ndimage import uniform_filter

from fuse.errors import InputError
from fuse.losses import importance

FUNCTIONS = {
    "equal": importance.equal,
    "repeated_blur": importance.repeated_blur,
    "maximum": importance.maximum,
    "gradient_share": importance.gradient_share,
    "histogram_contrast": importance.histogram_contrast,
    "information": partial(importance.information, features=lambda x: {"x": x}, temperature=0.1, size=None),
    "activity": partial(importance.activity, features=lambda x: {"x": x}, window=3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_weights_sum_to_one_and_carry_no_gradient(name: str, count: int) -> None:
    sources = [x.requires_grad_() for x in pictures(count)]
    weights = FUNCTIONS[name](sample_of(*sources))
    assert weights.shape[:2] == (count, 2)
    assert torch.allclose(weights.sum(0), torch.ones((), dtype=torch.float64))
    assert not weights.requires_grad


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equal_sources_share_or_the_first_wins(name: str) -> None:
    x = pictures(1)[0]
    first, second = FUNCTIONS[name](sample_of(x, x))
    hard = name in ("repeated_blur", "maximum", "activity")
    assert torch.allclose(first, torch.ones_like(first) if hard else torch.full_like(first, 0.5))
    assert torch.allclose(second, 1 - first)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("repeated_blur", "maximum", "activity")])
def test_exchanged_sources_exchange_their_weights(name: str) -> None:
    ir, vi = pictures(2)
    assert torch.allclose(FUNCTIONS[name](sample_of(ir, vi)).flip(0), FUNCTIONS[name](sample_of(vi, ir)))


def test_histogram_contrast_against_numpy() -> None:
    ir, vi = pictures(2)
    maps = []
    for x in (ir, vi):
        levels = np.round(x.numpy() * 255).astype(int)
        per_picture = []
        for picture in levels[:, 0]:
            counts = np.bincount(picture.ravel(), minlength=256)
            s = np.array([np.sum(counts * np.abs(np.arange(256) - k)) for k in range(256)])
            per_picture.append((s / s.max())[picture])
        maps.append(np.stack(per_picture)[:, None])
    first, second = importance.histogram_contrast(sample_of(ir, vi)).numpy()
    assert np.allclose(first, 0.5 + 0.5 * (maps[0] - maps[1]))
    assert np.allclose(second, 0.5 + 0.5 * (maps[1] - maps[0]))


def test_histogram_contrast_follows_the_range() -> None:
    ir, vi = (torch.round(x * 255) / 255 for x in pictures(2))
    plain = importance.histogram_contrast(sample_of(ir, vi))
    assert torch.allclose(importance.histogram_contrast(sample_of(2 * ir - 1, 2 * vi - 1), [-1, 1]), plain)
    assert torch.allclose(importance.histogram_contrast(sample_of(255 * ir, 255 * vi), [0, 255]), plain)


def test_gradient_share_against_numpy() -> None:
    ir, vi = pictures(2)
    strength = [(np.abs(each(x, ACROSS)) + np.abs(each(x, ACROSS.T))).mean((1, 2, 3)) for x in (ir, vi)]
    ours = importance.gradient_share(sample_of(ir, vi))[:, :, 0, 0, 0].numpy()
    assert np.allclose(ours, np.array(strength) / np.sum(strength, 0))
    flat = torch.zeros(1, 1, 5, 5)
    assert importance.gradient_share(sample_of(flat, flat)).flatten().tolist() == [0.5, 0.5]


def test_information_is_a_soft_max_of_squared_responses() -> None:
    ir, vi = pictures(2)

    def features(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": x, "b": 3 * x[..., ::2, ::2]}

    gains = np.array(
        [
            ((each(x, RING) ** 2).mean((1, 2, 3)) + (each(3 * x[..., ::2, ::2], RING) ** 2).mean((1, 2, 3))) / 2
            for x in (ir, vi)
        ]
    )
    expected = np.exp(gains / 0.1) / np.exp(gains / 0.1).sum(0)
    ours = importance.information(sample_of(ir, vi), features, 0.1, None)
    assert ours.shape == (2, 2, 1, 1, 1)
    assert np.allclose(ours[:, :, 0, 0, 0].numpy(), expected)


def test_information_resizes_to_the_nearest_pixels() -> None:
    seen = []

    def features(x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(x)
        return {"x": x}

    ir = pictures(1, 4, 4)[0]
    importance.information(sample_of(ir), features, 1.0, 8)
    assert torch.equal(seen[0], ir.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_activity_against_scipy() -> None:
    ir, vi = pictures(2, channels=3)
    weights = importance.activity(sample_of(ir, vi), lambda x: {"x": x}, 5)
    sums = [x.sum(1).numpy() for x in (ir, vi)]
    blurred = [uniform_filter(x, 5, mode="constant", axes=(1, 2)) for x in sums]
    assert np.array_equal(weights[0, :, 0].numpy(), (blurred[0] >= blurred[1]).astype(float))
    with pytest.raises(InputError, match="window=4: must be odd"):
        importance.activity(sample_of(ir, vi), lambda x: {"x": x}, 4)


def test_maximum_takes_the_steeper() -> None:
    ir, vi = pictures(2)
    first = importance.maximum(sample_of(ir, vi))[0].numpy()
    steep = [np.abs(each(x, ACROSS)) + np.abs(each(x, ACROSS.T)) for x in (ir, vi)]
    assert np.array_equal(first, (steep[0] >= steep[1]).astype(float))


def test_shares_are_taken_as_given_by_role() -> None:
    ir, vi = pictures(2)
    weights = importance.fixed(sample_of(ir, vi), {"vi": 3.0, "ir": 0.5})
    assert weights[:, :, 0, 0, 0].tolist() == [[0.5, 0.5], [3, 3]]
    with pytest.raises(InputError, match="names ir, but the sources are ir, vi"):
        importance.fixed(sample_of(ir, vi), {"ir": 1.0})


def test_maps_that_the_fuser_tells() -> None:
    ir, vi, first, second = pictures(4)
    sample = sample_of(ir, vi, attention_ir=first.requires_grad_(), attention_vi=second)
    weights = importance.told(sample, ["attention_ir", "attention_vi"])
    assert torch.equal(weights[1], second)
    assert not weights.requires_grad
    with pytest.raises(InputError, match="1 maps for 2 sources"):
        importance.told(sample, ["attention_ir"])
    with pytest.raises(InputError, match="tells attention_ir, attention_vi, not a"):
        importance.told(sample, ["a", "b"])
