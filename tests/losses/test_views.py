"""What critics see: shapes, places, by hand."""

import torch
from torch import Tensor

from fuse.data.sample import Sample
from fuse.losses import views


def pictures(count: int, side: int = 16, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 1, side, side, generator=generator) for _ in range(count)]


def pair(ir: Tensor, vi: Tensor, **inside: Tensor) -> Sample:
    return Sample((ir, vi), None, (), ("ir", "vi"), None, inside)


def test_the_fused_picture_at_the_size_of_a_source_stays_where_it_is() -> None:
    """The centre of mass of a bright spot, in shares of the side, is the same at a third and a quarter of the size."""
    for side in (8, 6):
        fused = torch.zeros(1, 1, 24, 24)
        fused[..., 9:12, 13:16] = 1
        small = views.fused_like(fused, pair(torch.zeros(1, 1, side, side), fused), "ir")
        assert small.shape == (1, 1, side, side)
        for axis, centre in ((-2, 10.5 / 24), (-1, 14.5 / 24)):
            mass = small[0, 0].sum(1 if axis == -2 else 0)
            places = (torch.arange(side) + 0.5) / side
            assert abs((mass * places).sum() / mass.sum() - centre) < 0.01


def test_a_picture_of_the_same_size_is_seen_as_it_is() -> None:
    ir, vi, fused = pictures(3)
    assert torch.equal(views.fused_like(fused, pair(ir, vi), "ir"), fused)
    assert torch.equal(views.fused(fused, pair(ir, vi)), fused)
    assert torch.equal(views.source(pair(ir, vi), "vi"), vi)
