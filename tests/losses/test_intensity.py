"""Terms of brightness by hand and against NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from made import Term, agrees_with_differences, falls, pictures, sample_of, survives_flat_pictures
from scipy.ndimage import gaussian_filter

from fuse.errors import InputError
from fuse.losses import importance, intensity, terms
from fuse.losses.distance import apart

TERMS: dict[str, Term] = {
    "role": partial(intensity.to_role, role="ir"),
    "role_l2": partial(intensity.to_role, role="vi", distance="l2"),
    "role_huber": partial(intensity.to_role, role="vi", distance="huber"),
    "role_gaussian": partial(intensity.to_role, role="vi", distance="gaussian_l1"),
    "maximum": intensity.to_maximum,
    "mean": intensity.to_mean,
    "mixture": partial(intensity.to_mixture, importance=importance.histogram_contrast),
    "sources": intensity.to_sources,
    "saliency": partial(intensity.by_saliency, role="ir"),
    "norm": partial(intensity.norm, role="ir"),
    "brightness": partial(intensity.brightness, role="ir"),
}


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_by_hand() -> None:
    fused, sample = row(0.5, 0.0, 1.0), sample_of(row(0.1, 0.2, 0.6), row(0.9, 0.0, 0.2), reference=row(0, 0, 0))
    assert intensity.to_role(fused, sample, "vi").item() == pytest.approx((0.4 + 0 + 0.8) / 3)
    assert intensity.to_role(fused, sample, "reference", "l2").item() == pytest.approx((0.25 + 1) / 3)
    assert intensity.to_maximum(fused, sample).item() == pytest.approx((0.4 + 0.2 + 0.4) / 3)
    assert intensity.to_mean(fused, sample).item() == pytest.approx((0 + 0.1 + 0.6) / 3)
    fixed = partial(importance.fixed, shares={"ir": 2.0, "vi": 0.5})
    assert intensity.to_mixture(fused, sample, fixed).item() == pytest.approx((0.15 + 0.4 + 0.3) / 3)
    expected = (2 * (0.16 + 0.04 + 0.16) + 0.5 * (0.16 + 0 + 0.64)) / 3
    assert intensity.to_sources(fused, sample, fixed).item() == pytest.approx(expected)
    assert intensity.norm(fused, sample, "reference").item() == pytest.approx(1.25**0.5)
    assert intensity.brightness(fused, sample, "ir").item() == pytest.approx((0.5 - 0.3) / 0.3)


def test_norm_is_over_the_whole_batch() -> None:
    fused, other = pictures(2)
    expected = np.sqrt(((fused - other).numpy() ** 2).sum())
    assert intensity.norm(fused, sample_of(other), "ir").item() == pytest.approx(expected, rel=1e-12)


def test_brightness_is_per_picture() -> None:
    fused = torch.tensor([0.2, 0.6], dtype=torch.float64).view(2, 1, 1, 1)
    other = torch.tensor([0.4, 0.4], dtype=torch.float64).view(2, 1, 1, 1)
    assert intensity.brightness(fused, sample_of(other), "ir").item() == pytest.approx(0.5)  # the means are equal


@pytest.mark.parametrize("count", [1, 2, 3])
def test_weighted_sources_agree_with_numpy(count: int) -> None:
    fused, *sources = pictures(count + 1, channels=3)
    weights = importance.histogram_contrast(sample_of(*sources)).numpy()
    expected = sum(np.mean(w * np.abs(fused.numpy() - x.numpy())) for w, x in zip(weights, sources, strict=True))
    ours = intensity.to_sources(fused, sample_of(*sources), importance.histogram_contrast, "l1")
    assert ours.item() == pytest.approx(expected, rel=1e-12)


def test_the_decision_of_mffgan_is_one_of_the_importances() -> None:
    fused, near, far = pictures(3)
    ours = intensity.to_sources(fused, sample_of(near, far), importance.repeated_blur)
    assert ours.item() == pytest.approx(terms.decided_intensity(fused, sample_of(near, far)).item(), rel=1e-12)


def test_the_prior_of_salient_regions_by_hand() -> None:
    # levels 0, 0, 0, 255: S of 0 is 255 of 765, S of 255 is 765 of 765, divided by the largest
    ir, vi, fused = row(0, 0, 0, 1), row(0.5, 0.5, 0.5, 0.5), row(0.3, 0.3, 0.3, 0.3)
    third = 1 / 3
    expected = (3 * (third * 0.2 + (1 - third) * 0.05) + 0.7) / 4
    assert intensity.by_saliency(fused, sample_of(ir, vi), "ir").item() == pytest.approx(expected)


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_prior_follows_the_range(low: float) -> None:
    fused, ir, vi = pictures(3)
    width = 1 - low
    plain = intensity.by_saliency(fused, sample_of(ir, vi), "ir")
    scaled = [low + width * x for x in (fused, ir, vi)]
    ours = intensity.by_saliency(scaled[0], sample_of(*scaled[1:]), "ir", span=[low, 1.0])
    assert ours.item() == pytest.approx(width * plain.item(), rel=1e-9)


def test_distances_by_hand_and_against_scipy() -> None:
    x, y = row(0, 0.5, 3), row(0.2, 0.5, 0)
    assert apart(x, y, "l1").flatten().tolist() == pytest.approx([0.2, 0, 3])
    assert apart(x, y, "l2").flatten().tolist() == pytest.approx([0.04, 0, 9])
    assert apart(x, y, "huber").flatten().tolist() == pytest.approx([0.02, 0, 2.5])
    first, second = pictures(2, 20, 40)
    blurred = gaussian_filter((first - second).abs().numpy(), 8, mode="constant", axes=(2, 3), radius=16)
    assert np.allclose(apart(first, second, "gaussian_l1").numpy(), blurred, rtol=0, atol=1e-14)


def test_an_unknown_distance_is_refused(unchecked_types: None) -> None:
    fused, other = pictures(2)
    with pytest.raises(InputError, match="distance='l3' is not known; use l1, l2"):
        partial(intensity.to_role, distance="l3")(fused, sample_of(other), role="ir")


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    fused, ir, vi = (x[:, :, :6, :7] for x in pictures(3))
    assert agrees_with_differences(TERMS[name], fused, sample_of(ir, vi))
    assert falls(TERMS[name], fused, sample_of(ir, vi), 1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_numbers_on_flat_pictures(name: str) -> None:
    assert survives_flat_pictures(TERMS[name])


@pytest.mark.parametrize("name", ["maximum", "mean", "mixture", "sources"])
def test_the_order_of_the_sources_does_not_matter(name: str) -> None:
    fused, ir, vi = pictures(3)
    there, back = TERMS[name](fused, sample_of(ir, vi)), TERMS[name](fused, sample_of(vi, ir))
    assert there.item() == pytest.approx(back.item(), rel=1e-12)


def test_terms_are_zero_where_they_should_be() -> None:
    ir, vi = pictures(2)
    sample = sample_of(ir, vi)
    assert intensity.to_maximum(torch.maximum(ir, vi), sample).item() == 0
    assert intensity.to_mean((ir + vi) / 2, sample).item() == pytest.approx(0, abs=1e-16)
    made = intensity.mixture(sample, importance.histogram_contrast)
    assert intensity.to_mixture(made, sample, importance.histogram_contrast).item() == 0
