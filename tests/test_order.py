"""Sums that are the same in any order."""

import math
from itertools import permutations

import torch
from hypothesis import given
from hypothesis import strategies as st

from fuse.order import summed

floats = st.floats(-1e6, 1e6, width=32)


@given(st.lists(floats, min_size=1, max_size=5))
def test_any_order_gives_the_same_bits(numbers: list[float]) -> None:
    sums = {float(summed([torch.tensor(x) for x in order])) for order in permutations(numbers)}
    assert len(sums) == 1
    assert math.isclose(sums.pop(), math.fsum(numbers), rel_tol=1e-5, abs_tol=1)


def test_plain_addition_would_depend_on_it() -> None:
    numbers = [torch.tensor(x) for x in (1e8, 1.0, -1e8)]
    assert numbers[0] + numbers[1] + numbers[2] == 0
    assert numbers[0] + numbers[2] + numbers[1] == 1
    assert {float(summed(order)) for order in permutations(numbers)} == {0.0}


def test_element_by_element_and_through_its_gradient() -> None:
    terms = [torch.rand(2, 3, generator=torch.Generator().manual_seed(i), requires_grad=True) for i in range(7)]
    total = summed(iter(terms))
    torch.testing.assert_close(total, torch.stack(terms).sum(0))
    total.sum().backward()
    assert all(torch.equal(x.grad, torch.ones(2, 3)) for x in terms if x.grad is not None)
