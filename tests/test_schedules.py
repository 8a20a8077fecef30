"""Learning rates at the steps where they can be said by hand."""

import pytest

from fuse import schedules


def test_constant() -> None:
    assert [schedules.constant(step, 10) for step in (0, 9, 100)] == [1, 1, 1]


def test_cosine_by_hand() -> None:
    assert schedules.cosine(0, 100) == 1
    assert schedules.cosine(50, 100) == pytest.approx(0.5)
    assert schedules.cosine(25, 100) == pytest.approx(0.5 + 0.5 * 2**-0.5)
    assert schedules.cosine(100, 100) == pytest.approx(0, abs=1e-15)
    assert schedules.cosine(50, 100, floor=0.2) == pytest.approx(0.6)
    assert schedules.cosine(100, 100, floor=0.2) == pytest.approx(0.2)


def test_warmup_rises_in_equal_steps_from_above_zero() -> None:
    rates = [schedules.cosine(step, 20, warmup=4) for step in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert schedules.cosine(12, 20, warmup=4) == pytest.approx(0.5)


def test_a_run_of_nothing_but_warmup_ends_at_the_full_rate() -> None:
    assert [schedules.cosine(step, 3, warmup=3) for step in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_decay_by_hand() -> None:
    assert [schedules.decay(step, 100, factor=0.5, every=10) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_linear_by_hand() -> None:
    assert [schedules.linear(step, 200) for step in (0, 100, 150, 199, 200)] == [1, 1, 0.5, 0.01, 0]
    assert [schedules.linear(step, 100, hold=0.9) for step in (0, 90, 95)] == pytest.approx([1, 1, 0.5])
    assert [schedules.linear(step, 3, hold=1.0) for step in (0, 2)] == [1, 1]
