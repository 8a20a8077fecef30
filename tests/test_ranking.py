"""Ranks, intervals and the rule that a metric led by a trivial row is not ranked on."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fuse.ranking import Cell, Interval, cell, percentiles, rank, ranks, resampled_means

NAN, INF = float("nan"), float("inf")


def row(**metrics: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(values, float) for name, values in metrics.items()}


def test_cell_leaves_undefined_values_out_and_divides_by_n_minus_one():
    assert cell(np.array([1.0, NAN, 3.0])) == Cell(2.0, math.sqrt(2.0), 2, 1)
    one = cell(np.array([5.0]))
    assert one.mean == 5.0
    assert math.isnan(one.deviation)
    none = cell(np.array([NAN]))
    assert math.isnan(none.mean)
    assert (none.n, none.undefined) == (0, 1)
    assert cell(np.array([INF, 1.0])).mean == INF


@given(arrays(float, (3, 5), elements=st.integers(-3, 3).map(float)))
def test_ranks_share_ties_like_scipy(losses):
    np.testing.assert_array_equal(ranks(losses), scipy.stats.rankdata(losses, axis=1))


def test_ranks_of_rounding_noise_infinities_and_undefined():
    assert ranks(np.array([0.1 + 0.2, 0.3, 0.2])).tolist() == [2.5, 2.5, 1.0]
    assert ranks(np.array([INF, INF, 1.0, -INF])).tolist() == [3.5, 3.5, 2.0, 1.0]
    np.testing.assert_array_equal(ranks(np.array([2.0, NAN, 1.0])), [2.0, NAN, 1.0])


def test_resampled_means_follow_the_draws():
    counts = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    values = np.array([[1.0, 4.0, NAN], [INF, 2.0, 5.0], [-INF, 0.0, 1.0]])
    expected = [[2.0, INF, -INF], [NAN, 5.0, 1.0], [2.5, INF, -INF]]
    np.testing.assert_array_equal(resampled_means(counts, values), expected)


def test_percentiles_are_order_statistics_without_the_undefined():
    samples = np.array([*np.arange(41.0)[::-1], NAN, NAN])[:, None]
    low, high = percentiles(samples)
    assert (low[0], high[0]) == (1.0, 39.0)  # 0.025 and 0.975 of 40 steps


def test_mean_rank_by_hand():
    scores = {
        "a": row(up=[0.9, 0.7], down=[3.0, 3.0]),  # up: 1st, down: 3rd
        "b": row(up=[0.5, 0.5], down=[1.0, 2.0]),  # up: 3rd, down: 1st
        "c": row(up=[0.6, 0.6], down=[1.5, 1.5]),  # up: 2nd, down: 1st with b
    }
    found = rank(scores, {"up": 1, "down": -1})
    assert {name: interval.mean for name, interval in found.mean_rank.items()} == {"a": 2.0, "b": 2.25, "c": 1.75}
    assert found.methods == ("c", "a", "b")
    assert found.places["down"] == {"b": 1.5, "c": 1.5, "a": 3.0}
    assert (found.best["up"], found.second["up"]) == (("a",), ("c",))
    assert (found.best["down"], found.second["down"]) == (("b", "c"), ())
    assert found.ranked_on == ("up", "down")
    assert found.greyed == {}


def test_closer_to_zero_ranks_by_the_mean_of_the_magnitude():
    found = rank({"swings": row(shift=[9.0, -9.0]), "steady": row(shift=[1.0, 1.0])}, {"shift": 0})
    assert found.methods == ("steady", "swings")
    assert found.cells["swings"]["shift"].mean == 0.0
    assert found.differences["shift"]["swings"].mean == 8.0


def test_a_metric_led_by_a_trivial_row_is_greyed_and_not_ranked_on():
    scores = {
        "good": row(en=[7.0, 7.0], q=[0.8, 0.8]),
        "poor": row(en=[7.5, 7.5], q=[0.4, 0.4]),
        "noise": row(en=[9.0, 9.0], q=[0.1, 0.1]),
        "average": row(en=[6.0, 6.0], q=[0.79, 0.79]),
    }
    found = rank(scores, {"en": 1, "q": 1}, {"noise", "average"})
    assert found.greyed == {"en": "no method beats the trivial row 'noise' (9; best method: 'poor', 7.5)."}
    assert found.ranked_on == ("q",)
    assert found.metrics == ("q", "en")
    assert found.methods == ("good", "poor", "noise", "average")
    assert found.mean_rank["good"].mean == 1.0
    assert found.mean_rank.keys() == {"good", "poor"}
    assert "noise" not in found.places["en"]


@pytest.mark.parametrize(("copy", "greyed"), [(0.5, True), (0.4999, False)])
def test_a_trivial_row_level_with_the_best_method_leads_too(copy, greyed):
    scores = {"a": row(q=[0.5, 0.5]), "b": row(q=[0.3, 0.3]), "copy": row(q=[copy, copy])}
    assert ("q" in rank(scores, {"q": 1}, {"copy"}).greyed) is greyed


def test_a_trivial_row_is_compared_on_the_pairs_it_shares():
    scores = {"a": row(q=[0.9, 0.2]), "b": row(q=[0.8, 0.1]), "copy": row(q=[NAN, 0.3])}
    assert "(0.3; best method: 'a', 0.2)" in rank(scores, {"q": 1}, {"copy"}).greyed["q"]
    scores = {"a": row(q=[0.9, NAN]), "b": row(q=[0.8, 0.1]), "copy": row(q=[0.85, 0.99])}
    assert rank(scores, {"q": 1}, {"copy"}).greyed == {}
    assert rank(scores | {"copy": row(q=[0.95, 0.0])}, {"q": 1}, {"copy"}).greyed.keys() == {"q"}


def test_statistics_are_never_ranked_on():
    found = rank({"a": row(mean=[1.0], q=[1.0]), "b": row(mean=[2.0], q=[0.0])}, {"mean": None, "q": 1})
    assert found.ranked_on == ("q",)
    assert "mean" not in found.greyed
    assert "mean" not in found.places
    assert found.cells["b"]["mean"].mean == 2.0


def test_methods_are_compared_on_the_pairs_all_of_them_have():
    scores = {"skips the hard pair": row(q=[0.8, NAN]), "honest": row(q=[0.9, 0.3])}
    found = rank(scores, {"q": 1})
    assert found.methods == ("honest", "skips the hard pair")
    assert found.cells["honest"]["q"] == Cell(0.6, pytest.approx(0.3 * math.sqrt(2)), 2, 0)
    assert found.cells["skips the hard pair"]["q"].undefined == 1
    assert found.differences["q"]["skips the hard pair"].n == 1


def test_metrics_on_which_not_every_method_can_be_compared_are_greyed():
    scores = {
        "a": row(q=[1.0, NAN], r=[1.0, 1.0], s=[NAN, NAN]),
        "b": row(q=[NAN, 1.0], r=[NAN, NAN], s=[NAN, NAN]),
        "failed": row(q=[NAN, NAN]),
    }
    found = rank(scores, {"q": 1, "r": 1, "s": 1})
    assert found.greyed == {
        "q": "no pair has a value of every method, so the methods cannot be compared on it.",
        "r": "undefined on every pair for 'b', so not all methods can be compared on it.",
        "s": "no method has a value of it here.",
    }
    assert found.mean_rank == {}
    assert found.best == {"r": ("a",)}


def test_a_method_without_any_value_stands_behind_the_ranked_ones():
    scores = {"failed": row(q=[NAN]), "b": row(q=[0.1]), "a": row(q=[0.2]), "copy": row(q=[0.0])}
    assert rank(scores, {"q": 1}, {"copy"}).methods == ("a", "b", "failed", "copy")


def test_no_method_but_trivial_rows_ranks_nothing():
    found = rank({"copy": row(q=[1.0])}, {"q": 1}, {"copy"})
    assert (found.mean_rank, found.greyed, found.methods) == ({}, {}, ("copy",))


def test_interval_of_the_mean_rank_covers_what_resampling_can_do():
    always = rank({"a": row(q=[2.0, 3.0, 4.0]), "b": row(q=[1.0, 2.0, 3.0])}, {"q": 1})
    assert always.mean_rank == {"a": Interval(1.0, 1.0, 1.0), "b": Interval(2.0, 2.0, 2.0)}
    even = rank({"a": row(q=[1.0, 0.0]), "b": row(q=[0.0, 1.0])}, {"q": 1})
    assert even.mean_rank["a"] == Interval(1.5, 1.0, 2.0)  # both pairs the same in half of the resamples
    same = rank({"a": row(q=[0.1, 0.7, 0.3]), "b": row(q=[0.1, 0.7, 0.3])}, {"q": 1})
    assert same.mean_rank["b"] == Interval(1.5, 1.5, 1.5)


def test_differences_by_hand():
    scores = {"best": row(psnr=[30.0, 30.0, 30.0, 30.0]), "b": row(psnr=[31.0, 30.0, 28.0, 29.0])}
    found = rank(scores, {"psnr": 1}).differences["psnr"]["b"]
    assert (found.mean, found.won, found.n) == (-0.5, 0.375, 4)  # one pair won, one level
    assert found.low == -1.5  # 5 of the 256 equally likely draws of four pairs lie below, and 5 above 0.5
    assert found.high == 0.5
    lower = {"best": row(mse=[1.0, 1.0]), "b": row(mse=[1.0, 3.0])}
    assert rank(lower, {"mse": -1}).differences["mse"]["b"][:4] == (1.0, 0.0, 2.0, 0.25)


def test_difference_interval_agrees_with_scipy():
    generator = np.random.default_rng(5)
    a, b = generator.normal(1, 1, 30), generator.normal(0, 1, 30)
    found = rank({"a": {"q": a}, "b": {"q": b}}, {"q": 1}, resamples=20000).differences["q"]["b"]
    theirs = scipy.stats.bootstrap(
        ((b - a),), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    np.testing.assert_allclose([found.low, found.high], theirs, atol=0.02)


def test_infinite_scores_tie_and_do_not_spoil_the_intervals():
    scores = {"a": row(psnr=[INF, 40.0]), "b": row(psnr=[INF, 30.0]), "c": row(psnr=[20.0, 20.0])}
    found = rank(scores, {"psnr": 1})
    assert found.places["psnr"] == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert found.differences["psnr"]["b"].mean == -5.0
    assert found.differences["psnr"]["c"].mean == -INF
    assert found.mean_rank["c"] == Interval(3.0, 3.0, 3.0)


def test_spread_over_seeds():
    scores = {"net-0": row(q=[0.1, 0.3]), "net-1": row(q=[0.4, 0.4]), "other": row(q=[0.9, 0.9])}
    found = rank(scores, {"q": 1}, groups={"net-0": "net", "net-1": "net", "other": "other", "absent": "net"})
    assert found.spread.keys() == {"net"}
    assert found.spread["net"]["q"] == pytest.approx((0.3, 0.2 / math.sqrt(2), 2))


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"got lengths \[1, 2\]"):
        rank({"a": row(q=[1.0]), "b": row(q=[1.0, 2.0])}, {"q": 1})
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        rank({}, {})


values = arrays(float, (4, 2, 3), elements=st.floats(-5, 5).map(lambda x: round(x, 1)) | st.just(NAN))


@settings(max_examples=40, deadline=None)
@given(values, st.permutations(range(4)))
def test_order_of_the_rows_does_not_matter(cube, order):
    def table(indices):
        return {f"m{i}": {"up": cube[i, 0], "down": cube[i, 1]} for i in indices}

    better = {"up": 1, "down": -1}
    one = rank(table(range(4)), better, {"m3"}, resamples=50)
    other = rank(table(order), better, {"m3"}, resamples=50)
    assert one.greyed.keys() == other.greyed.keys()
    assert one.mean_rank == other.mean_rank
    assert one.cells.keys() == other.cells.keys()
    for interval in one.mean_rank.values():
        assert 1 <= interval.low <= interval.high <= 3
