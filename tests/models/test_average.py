"""Rules of one pixel, by hand."""

import torch
from torch import Tensor

from fuse.models.average import Average, Maximum


def row(*levels: float) -> Tensor:
    return torch.tensor(levels).view(1, 1, 1, -1)


def test_average_by_hand() -> None:
    assert Average()(row(0.1, 0.9), row(0.5, 0.5)).tolist() == [[[[0.5, 0.5]], [[0.5, 0.5]]]]
    weights = Average()(*[row(0.3, 0.4, 0.5)] * 3)
    assert weights.shape == (1, 3, 1, 3)
    assert torch.equal(weights, torch.full((1, 3, 1, 3), 1 / 3))


def test_maximum_by_hand_and_ties_are_averaged() -> None:
    weights = Maximum()(row(0.1, 0.9, 0.5, 0.2), row(0.3, 0.2, 0.5, 0.7), row(0.2, 0.1, 0.5, 0.7))
    third = torch.tensor(1 / 3).item()
    assert weights[0, :, 0].tolist() == [[0, 1, third, 0], [1, 0, third, 0.5], [0, 0, third, 0.5]]
