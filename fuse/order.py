"""Sums that do not depend on the order of what is added."""

from collections.abc import Iterable

import torch
from torch import Tensor


def summed(terms: Iterable[Tensor]) -> Tensor:
    """Sum of tensors of one shape, the same to the last bit in whatever order they are given.

    Floating-point addition of three or more numbers depends on their order, so they are sorted first, element by
    element, by as many rounds of exchanges between neighbours as there are terms. Two commute as they are.
    """
    line = list(terms)
    if len(line) > 2:
        for turn in range(len(line)):
            for left in range(turn % 2, len(line) - 1, 2):
                one, other = line[left], line[left + 1]
                line[left], line[left + 1] = torch.minimum(one, other), torch.maximum(one, other)
    total = line[0]
    for term in line[1:]:
        total = total + term
    return total
