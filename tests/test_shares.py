"""What a share of a batch holds; what ranks make of it together is tried in test_ranks.py."""

import torch

from fuse.data.sample import Sample
from fuse.shares import portion
from fuse.steps import middle


def batch(pictures: int, side: int) -> Sample:
    sources, chroma = torch.rand(2, pictures, 1, side, side), torch.rand(2, pictures, 2, side, side)
    return Sample(tuple(sources), torch.rand(pictures, 1, side, side), chroma=tuple(chroma))


def test_a_portion_has_the_same_rows_of_everything() -> None:
    whole = batch(6, 4)
    mine = portion(whole, 1, 2)
    assert whole.reference is not None
    assert mine.reference is not None
    every = zip(
        (*whole.sources, *whole.chroma, whole.reference), (*mine.sources, *mine.chroma, mine.reference), strict=True
    )
    assert all(torch.equal(x[2:4], y) for x, y in every)


def test_the_middle_is_the_same_of_everything() -> None:
    whole = batch(1, 9)
    cut = middle(whole, 5, 5)
    assert whole.reference is not None
    assert cut.reference is not None
    every = zip(
        (*whole.sources, *whole.chroma, whole.reference), (*cut.sources, *cut.chroma, cut.reference), strict=True
    )
    assert all(torch.equal(x[..., 2:7, 2:7], y) for x, y in every)
