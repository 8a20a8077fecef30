"""Loss terms by hand, against NumPy, and at their optimum."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import convolve, uniform_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms, views

BLUR = np.array([[0.0947, 0.1183, 0.0947], [0.1183, 0.1478, 0.1183], [0.0947, 0.1183, 0.0947]])
LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
ROLE_TERMS: dict[str, Callable[..., Tensor]] = {
    "mse": terms.mse,
    "l1": terms.l1,
    "gradient": terms.gradient,
    "ssim": terms.ssim,
    "structure": terms.structure,
}
DECIDED: dict[str, Callable[..., Tensor]] = {
    "intensity": terms.decided_intensity,
    "gradient": terms.decided_gradient,
}


def pictures(count: int, height: int = 14, width: int = 17, channels: int = 1, seed: int = 0) -> list[Tensor]:
    """Batches of two in [-1, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    return [
        2 * torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64) - 1 for _ in range(count)
    ]


def pair(near: Tensor, far: Tensor, reference: Tensor | None = None) -> Sample:
    return Sample((near, far), reference, (), ("near", "far"))


def one(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def each(picture: Tensor, kernel: np.ndarray) -> np.ndarray:
    """Every channel of every picture filtered with zeros beyond its border."""
    return np.stack([[convolve(c, kernel, mode="constant") for c in x] for x in picture.numpy()])


def chosen(sources: Sequence[Tensor]) -> list[np.ndarray]:
    """The sheet's decision: 1 for the first source with the largest |I - K*(K*I)|."""
    twice = [each(torch.from_numpy(each(x, BLUR)), BLUR) for x in sources]
    distance = np.stack([np.abs(x.numpy() - b) for x, b in zip(sources, twice, strict=True)])
    winner = distance.argmax(0)
    return [(winner == i).astype(float) for i in range(len(sources))]


def test_laplacian_by_hand() -> None:
    picture = one([1, 2, 4], [0, 3, 1])
    # top left: 2 + 0 - 4 * 1, zeros beyond the border
    assert terms.laplacian(picture)[0, 0].tolist() == [[-2, 0, -13], [4, -9, 3]]


def test_channels_are_filtered_apart() -> None:
    picture = torch.cat([one([1, 2, 4]), one([5, 0, 0])], 1)
    both = terms.laplacian(picture)
    assert torch.equal(both[:, :1], terms.laplacian(picture[:, :1]))
    assert torch.equal(both[:, 1:], terms.laplacian(picture[:, 1:]))


def test_decision_by_hand() -> None:
    near, far = torch.zeros(2, 1, 1, 9, 9, dtype=torch.float64)
    near[..., 2, 2] = 1
    far[..., 6, 6] = -1
    first, second = terms.decision([near, far])
    assert first[0, 0, 2, 2] == 1
    assert second[0, 0, 6, 6] == 1
    assert second[0, 0, 6, 7] == 1  # the blur of the far point reaches here
    assert first[0, 0, 0, 8] == 1  # nothing in either: the first
    assert torch.equal(first + second, torch.ones_like(first))


def test_ties_go_to_the_first() -> None:
    x = pictures(1)[0]
    assert torch.equal(terms.decision([x, x])[0], torch.ones_like(x))
    assert torch.equal(terms.decision([x, -x, x])[0], torch.ones_like(x))
    flat = torch.full((1, 1, 5, 5), 0.25)
    assert torch.equal(terms.decision([flat, torch.full_like(flat, -0.25)])[0], torch.ones_like(flat))


@pytest.mark.parametrize("count", [2, 3])
def test_decision_agrees_with_numpy(count: int) -> None:
    sources = pictures(count, channels=3)
    for ours, theirs in zip(terms.decision(sources), chosen(sources), strict=True):
        assert np.array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize(("count", "window"), [(2, 3), (3, 5), (2, 9)])
def test_smoothed_decisions_agree_with_scipy(count: int, window: int) -> None:
    sources = pictures(count, 20, 23)
    twice = [each(torch.from_numpy(each(x, BLUR)), BLUR) for x in sources]
    around = [
        uniform_filter(np.abs(x.numpy() - b), window, mode="constant", axes=(2, 3))
        for x, b in zip(sources, twice, strict=True)
    ]
    winner = np.stack(around).argmax(0)
    decided = terms.decision(sources, window)
    for i, ours in enumerate(decided):
        assert np.array_equal(ours.numpy(), winner == i)
    assert not torch.equal(decided, terms.decision(sources))


def test_ties_of_smoothed_decisions_go_to_the_first() -> None:
    x = pictures(1)[0]
    assert torch.equal(terms.decision([x, -x, x], 9)[0], torch.ones_like(x))
    near, far = torch.zeros(2, 1, 1, 15, 15, dtype=torch.float64)
    far[..., 7, 7] = 1
    second = terms.decision([near, far], 5)[1, 0, 0]
    told = torch.zeros(15, 15, dtype=torch.float64)
    told[3:12, 3:12] = 1  # the blurs reach 2 pixels from the point and the window 2 more; in the rest a tie
    assert torch.equal(second, told)
    with pytest.raises(InputError, match="window=4: must be odd"):
        terms.decision([near, far], 4)


@pytest.mark.parametrize("name", DECIDED)
def test_the_decided_losses_take_the_window(name: str) -> None:
    fused, near, far = pictures(3)
    chosen, difference = (
        terms.decision([near, far], 7),
        {
            "intensity": [fused - x for x in (near, far)],
            "gradient": [terms.laplacian(fused) - terms.laplacian(x) for x in (near, far)],
        },
    )
    by_hand = sum((s * d**2).mean() for s, d in zip(chosen, difference[name], strict=True))
    sample = pair(near, far)
    assert DECIDED[name](fused, sample, window=7).item() == pytest.approx(float(by_hand), rel=1e-12)
    assert DECIDED[name](fused, sample).item() != pytest.approx(float(by_hand), rel=1e-3)


def test_no_gradient_flows_through_the_decision() -> None:
    near, far = (x.requires_grad_() for x in pictures(2))
    assert not terms.decision([near, far]).requires_grad


@pytest.mark.parametrize("count", [2, 3])
def test_the_losses_of_mffgan_agree_with_numpy(count: int) -> None:
    fused, *sources = pictures(count + 1)
    sample = Sample(tuple(sources), None, (), ("near", "far", "third")[:count])
    weights = chosen(sources)
    intensity = sum(np.mean(s * (fused.numpy() - x.numpy()) ** 2) for s, x in zip(weights, sources, strict=True))
    edges = each(fused, LAPLACE)
    gradient = sum(np.mean(s * (edges - each(x, LAPLACE)) ** 2) for s, x in zip(weights, sources, strict=True))
    assert terms.decided_intensity(fused, sample).item() == pytest.approx(intensity, rel=1e-12)
    assert terms.decided_gradient(fused, sample).item() == pytest.approx(gradient, rel=1e-12)


def test_what_the_critic_sees_agrees_with_numpy() -> None:
    fused, near, far, third = pictures(4)
    joint = np.maximum.reduce([np.abs(each(x, LAPLACE)) for x in (near, far, third)])
    seen = views.joint_gradient(Sample((near, far, third), None, (), ("a", "b", "c")))
    assert np.allclose(seen.numpy(), joint, rtol=0, atol=1e-14)
    assert np.allclose(views.gradient(fused, Sample(())).numpy(), np.abs(each(fused, LAPLACE)), rtol=0, atol=1e-14)


def test_the_decided_mixture_has_no_intensity_loss() -> None:
    near, far = pictures(2)
    first, second = terms.decision([near, far])
    sample = pair(near, far)
    assert terms.decided_intensity(first * near + second * far, sample).item() == 0
    assert terms.decided_intensity(near, sample).item() > 0.1
    assert terms.decided_gradient(near, pair(near, near)).item() == 0


def test_simple_terms_by_hand() -> None:
    fused, near = one([0, 1], [2, 3]), one([1, 1], [0, 3])
    sample = pair(near, fused, reference=fused + 2)
    assert terms.mse(fused, sample, "near").item() == pytest.approx(5 / 4)
    assert terms.l1(fused, sample, "near").item() == pytest.approx(3 / 4)
    assert terms.mse(fused, sample, "reference").item() == pytest.approx(4)
    assert terms.l1(fused, sample, "reference").item() == pytest.approx(2)
    # difference [[1, 0], [-2, 0]]; its Laplacian [[-6, 1], [9, -2]]
    assert terms.gradient(fused, sample, "near").item() == pytest.approx((36 + 1 + 81 + 4) / 4)


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
def test_ssim_agrees_with_scikit_image(data_range: float) -> None:
    fused, near = (x * data_range / 2 for x in pictures(2, 16, 21))
    fused = 0.7 * near + 0.3 * fused
    value = 0.0
    for f, n in zip(fused[:, 0].numpy(), near[:, 0].numpy(), strict=True):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": data_range}
        _, whole = structural_similarity(f, n, full=True, **settings)
        value += whole[5:-5, 5:-5].mean() / 2
    ours = terms.ssim(fused, pair(near, near), "near", data_range)
    assert ours.item() == pytest.approx(1 - value, rel=1e-9)


def test_structure_ignores_brightness_and_ssim_does_not() -> None:
    near = pictures(1, 16, 16)[0]
    sample = pair(near, near)
    assert terms.structure(near + 5, sample, "near").item() == pytest.approx(0, abs=1e-9)
    assert terms.ssim(near + 5, sample, "near").item() > 0.5


@pytest.mark.parametrize("name", ROLE_TERMS)
def test_terms_are_zero_at_the_optimum_and_positive_elsewhere(name: str) -> None:
    near, far = pictures(2)
    assert ROLE_TERMS[name](near, pair(near, far), role="near").item() == pytest.approx(0, abs=1e-12)
    assert ROLE_TERMS[name](far, pair(near, far), role="near").item() > 0.1


@pytest.mark.parametrize("term", [*ROLE_TERMS.values(), *DECIDED.values()])
def test_a_step_against_the_gradient_lowers_every_term(term: Callable[..., Tensor]) -> None:
    near, far, fused = pictures(3)
    given_role = {"role": "far"} if term in ROLE_TERMS.values() else {}
    fused.requires_grad_()
    before = term(fused, pair(near, far), **given_role)
    before.backward()
    assert fused.grad is not None
    step = 1e-3 * fused.grad / fused.grad.norm()
    assert term(fused.detach() - step, pair(near, far), **given_role) < before


@pytest.mark.parametrize("term", [*ROLE_TERMS.values(), *DECIDED.values()])
def test_gradients_are_those_of_finite_differences(term: Callable[..., Tensor]) -> None:
    near, far, fused = (x[:1, :, :12, :12].contiguous() for x in pictures(3))
    given_role = {"role": "near"} if term in ROLE_TERMS.values() else {}
    assert torch.autograd.gradcheck(lambda x: term(x, pair(near, far), **given_role), fused.requires_grad_())


@pytest.mark.parametrize("term", [*ROLE_TERMS.values(), *DECIDED.values()])
@given(levels=st.tuples(*[st.sampled_from([-1.0, 0.0, 0.25, 1.0])] * 3))
def test_constant_pictures_give_numbers(term: Callable[..., Tensor], levels: tuple[float, float, float]) -> None:
    near, far, fused = (torch.full((1, 1, 12, 12), level) for level in levels)
    given_role = {"role": "near"} if term in ROLE_TERMS.values() else {}
    fused.requires_grad_()
    value = term(fused, pair(near, far), **given_role)
    value.backward()
    assert torch.isfinite(value)
    assert fused.grad is not None
    assert torch.isfinite(fused.grad).all()


def test_an_unknown_role_is_refused() -> None:
    near, far = pictures(2)
    with pytest.raises(InputError, match="role 'ir' is not in this data, which has near, far"):
        terms.mse(near, pair(near, far), "ir")
