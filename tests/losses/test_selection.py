"""Terms of a choice: the truth it is held against, and each term by hand."""

from functools import partial

import numpy as np
import pytest
import torch
from made import Term, pictures, sample_of
from torch import Tensor

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import importance, selection

TERMS: dict[str, Term] = {
    "cross_entropy": selection.cross_entropy,
    "boundary": partial(selection.boundary, width=1),
    "focal": partial(selection.focal, alpha=0.25),
    "dice": selection.dice,
    "l1": selection.l1,
}


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def chosen(*values: float, **settings: Tensor) -> Sample:
    """Four pixels: the first source is right in two, the second in one, and the last says nothing."""
    first = row(*values)
    sources = row(0.5, 0.2, 0.9, 0.4), row(0.1, 0.6, 0.5, 0.405)
    return sample_of(*sources, reference=row(0.5, 0.2, 0.5, 0.4), weights=torch.cat([first, 1 - first], 1), **settings)


def random_choice(count: int, channels: int = 1, height: int = 9, width: int = 11) -> Sample:
    """Sources of which the reference is a patchwork, and weights that know nothing of it."""
    sources = pictures(count, height, width, channels)
    generator = torch.Generator().manual_seed(1)
    winner = torch.randint(count, (2, 1, height, width), generator=generator)
    reference = torch.stack(sources).gather(0, winner.expand(2, channels, -1, -1)[None])[0]
    weights = torch.rand(2, count, height, width, generator=generator, dtype=torch.float64).softmax(1)
    return sample_of(*sources, reference=reference, weights=weights)


def test_the_truth_by_hand() -> None:
    sample = chosen(0.5, 0.5, 0.5, 0.5)
    index, known = selection.truth(sample, "reference", 0.01, selection.chosen(sample))
    assert index[0, 0].tolist() == [0, 0, 1, 0]
    assert known[0, 0].tolist() == [True, True, True, False]
    assert selection.truth(sample, "reference", 0.001, selection.chosen(sample)).known.all()


@pytest.mark.parametrize("count", [2, 3])
def test_the_truth_is_the_patchwork(count: int) -> None:
    sample = random_choice(count, channels=3)
    distance = np.array([(x - sample.reference).abs().mean(1).numpy() for x in sample.sources])
    index, known = selection.truth(sample, "reference", 0.01, selection.chosen(sample))
    assert np.array_equal(index.numpy(), distance.argmin(0))
    assert distance.min(0).max() == 0
    assert np.array_equal(known.numpy(), np.sort(distance, 0)[1] > 0.01)


def test_the_truth_of_coarse_maps_is_that_of_their_cells() -> None:
    near, far = row(0, 0, 0, 0), row(0.4, 0.1, 0.1, 0.1)
    sample = sample_of(near, far, reference=row(0.4, 0, 0, 0), weights=torch.tensor([0.2, 0.8]).view(1, 2, 1, 1))
    assert selection.truth(sample, "reference", 0.01, selection.chosen(sample)).source.item() == 1  # 0.1 against 0.075
    assert selection.cross_entropy(near, sample).item() == pytest.approx(-np.log(0.8))


def test_terms_by_hand() -> None:
    fused, sample = row(0, 0, 0, 0), chosen(0.8, 0.5, 0.4, 0.9)  # right: 0.8, 0.5, 0.6; the last is left out
    logs = -np.log([0.8, 0.5, 0.6])
    assert selection.cross_entropy(fused, sample).item() == pytest.approx(logs.mean())
    expected = logs * [0.04, 0.25, 0.16]
    assert selection.focal(fused, sample).item() == pytest.approx(expected.mean())
    assert selection.focal(fused, sample, gamma=0).item() == pytest.approx(logs.mean())
    balanced = (expected * [0.25, 0.25, 0.75]).mean()
    assert selection.focal(fused, sample, alpha=0.25).item() == pytest.approx(balanced)
    overlap, sizes = 0.8 + 0.5, 0.64 + 0.25 + 0.16 + 2
    assert selection.dice(fused, sample).item() == pytest.approx(1 - (2 * overlap + 1) / (sizes + 1))
    assert selection.l1(fused, sample).item() == pytest.approx((0.2 + 0.5 + 0.4) / 3)


def test_only_places_near_both_sources_count_at_the_boundary() -> None:
    truth = torch.tensor([0, 0, 0, 1, 1, 1, 1]).view(1, 1, 1, 7).double()
    weight = row(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
    weights = torch.cat([weight, 1 - weight], 1)
    sample = sample_of(truth * 0, truth * 0 + 1, reference=truth, weights=weights)
    expected = -np.log([0.7, 0.4]).mean()
    assert selection.boundary(truth, sample, width=1).item() == pytest.approx(expected)
    expected = -np.log([0.8, 0.7, 0.4, 0.5]).mean()
    assert selection.boundary(truth, sample, width=2).item() == pytest.approx(expected)
    unknown = sample._replace(sources=(truth * 0, torch.where(truth == 1, 1.0, 0.0) * row(1, 1, 1, 0, 0, 0, 1)))
    assert selection.boundary(truth, unknown, width=3).item() == 0  # nothing known on the left: no boundary


def test_total_variation_by_hand() -> None:
    first = torch.tensor([[1.0, 0, 0], [1, 1, 0]])[None, None]
    sample = sample_of(first, first, weights=torch.cat([first, 1 - first], 1))
    assert selection.total_variation(first, sample).item() == pytest.approx(2 / 4 + 1 / 3)


def test_wanted_maps_without_a_reference() -> None:
    near, far, first = pictures(3)
    sample = sample_of(near, far, weights=torch.cat([first, 1 - first], 1))
    decided = importance.repeated_blur(sample)
    ours = selection.to_importance(near, sample, importance.repeated_blur)
    assert ours.item() == pytest.approx((first - decided[0]).abs().mean().item(), rel=1e-12)
    assert selection.to_importance(near, sample, importance.equal, "l2").item() == pytest.approx(
        ((first - 0.5) ** 2).mean().item(), rel=1e-12
    )


def test_maps_told_inside_take_the_place_of_the_weights() -> None:
    fused, sample = row(0, 0, 0, 0), chosen(0.8, 0.5, 0.4, 0.9)
    soft = sample._replace(weights=sample.weights.round(), inside={"soft": sample.weights[:, :1]})
    whole = sample._replace(weights=None, inside={"soft": sample.weights})
    for name, term in TERMS.items():
        wanted = term(fused, sample).item()
        assert partial(term, inside="soft")(fused, soft).item() == pytest.approx(wanted), name
        assert partial(term, inside="soft")(fused, whole).item() == pytest.approx(wanted), name
    assert selection.sum_to_one(fused, whole._replace(inside={"m": 3 * sample.weights}), "m").item() == pytest.approx(2)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("count", [2, 3])
def test_the_truth_costs_next_to_nothing_and_a_step_leads_there(name: str, count: int) -> None:
    sample = random_choice(count)
    index = selection.truth(sample, "reference", 0.01, selection.chosen(sample)).source
    perfect = sample._replace(weights=selection.hard(index, selection.chosen(sample)))
    assert TERMS[name](sample.sources[0], perfect).item() == pytest.approx(0, abs=1e-12)
    scores = sample.weights.log().requires_grad_()
    before = TERMS[name](sample.sources[0], sample._replace(weights=scores.softmax(1)))
    (slope,) = torch.autograd.grad(before, scores)
    after = TERMS[name](sample.sources[0], sample._replace(weights=(scores - slope / slope.norm()).softmax(1)))
    assert 0 < after < before


@pytest.mark.parametrize("name", [*TERMS, "total_variation", "to_importance"])
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    extra = {
        "total_variation": selection.total_variation,
        "to_importance": partial(selection.to_importance, importance=importance.repeated_blur),
    }
    sample, term = random_choice(3), (TERMS | extra)[name]
    scores = sample.weights.log().requires_grad_()

    def of_scores(x: Tensor) -> Tensor:
        return term(sample.sources[0], sample._replace(weights=x.softmax(1)))

    assert torch.autograd.gradcheck(of_scores, scores, fast_mode=True)


@pytest.mark.parametrize("name", TERMS)
def test_hard_and_wrong_weights_and_pictures_that_say_nothing_give_numbers(name: str) -> None:
    flat = torch.full((1, 1, 6, 6), 0.5)
    weights = torch.zeros(1, 2, 6, 6)
    weights[:, 1] = 1
    for reference in (flat, flat + 0.3):
        given = weights.clone().requires_grad_()
        value = TERMS[name](flat, sample_of(flat + 0.3, flat, reference=reference, weights=given))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(given.grad).all()
    nothing = TERMS[name](flat, sample_of(flat, flat, reference=flat, weights=weights))
    assert nothing.item() == 0


@pytest.mark.parametrize("name", ["cross_entropy", "boundary", "focal"])
def test_the_order_of_the_sources_does_not_matter(name: str) -> None:
    sample = random_choice(2)
    back = sample._replace(sources=sample.sources[::-1], weights=sample.weights.flip(1))
    term = TERMS[name] if name != "focal" else selection.focal
    assert term(sample.sources[0], sample).item() == pytest.approx(term(sample.sources[0], back).item(), rel=1e-12)


def test_what_is_missing_is_said() -> None:
    x, y = pictures(2)
    with pytest.raises(InputError, match="this one makes pixels"):
        selection.cross_entropy(x, sample_of(x, y, reference=x))
    with pytest.raises(InputError, match="role 'reference' is not in this data"):
        selection.cross_entropy(x, sample_of(x, y, weights=torch.cat([x, y], 1)))
    with pytest.raises(InputError, match="inside=soft: the fuser tells nothing"):
        selection.dice(x, sample_of(x, y, reference=x), inside="soft")
    with pytest.raises(InputError, match="at least two sources"):
        selection.dice(x, sample_of(x, reference=x, weights=x))
