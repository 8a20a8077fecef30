"""What a share of a batch holds; what ranks make of it together is tried in test_ranks.py."""

import torch

from fuse.data.sample import Sample
from fuse.shares import portion
from fuse.steps import middle


def batch(pictures: int, side: int) -> Sample:
    sources, chroma = torch.rand(2, pictures, 1, side, side), torch.rand(2, pictures, 2, side, side)
    return Sample(tuple(sources), torch.rand(pictures, 1, side, side), chroma=tuple(chroma))


def pictures(sample: Sample) -> list[torch.Tensor]:
    assert sample.reference is not None
    return [*sample.sources, *sample.chroma, sample.reference]


def test_a_portion_has_the_same_rows_of_everything() -> None:
    whole = batch(6, 4)
    mine = pictures(portion(whole, 1, 2))
    assert all(torch.equal(x[2:4], y) for x, y in zip(pictures(whole), mine, strict=True))


def test_the_middle_is_the_same_of_everything() -> None:
    whole = batch(1, 9)
    cut = pictures(middle(whole, 5, 5))
    assert all(torch.equal(x[..., 2:7, 2:7], y) for x, y in zip(pictures(whole), cut, strict=True))
