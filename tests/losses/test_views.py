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


def test_masks_are_laid_over_pictures_and_over_gradients_not_under_them() -> None:
    ir, vi, fused, mask = pictures(4)
    sample = pair(ir, vi, map=mask)

    def told(seen: Sample) -> Tensor:
        return seen.inside["map"]

    assert torch.equal(views.masked_source(sample, "vi", told), vi * mask)
    assert torch.equal(views.masked(fused, sample, told), fused * mask)
    for picture, made in (
        (ir, views.masked_source_gradient(sample, "ir", told, "laplacian")),
        (fused, views.masked_gradient(fused, sample, told, "laplacian")),
    ):
        inner = picture[..., 1:-1, 1:-1]
        edges = picture[..., :-2, 1:-1] + picture[..., 2:, 1:-1] + picture[..., 1:-1, :-2] + picture[..., 1:-1, 2:]
        torch.testing.assert_close(made[..., 1:-1, 1:-1], (edges - 4 * inner).abs() * mask[..., 1:-1, 1:-1])
    half = torch.ones_like(mask)
    half[..., 8:] = 0
    flat = pair(torch.ones_like(ir), vi, map=half)
    seen = views.masked_source_gradient(flat, "ir", told, "sobel_root")
    assert seen[..., 1:-1, 1:-1].max() < 1e-3  # the edge of the mask is none of the picture
