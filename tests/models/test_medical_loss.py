"""What Medical's loss asks for beside Thermal's; the network itself is tried in test_thermal.py."""

import claims
import pytest
import torch
from torch import Tensor

from fuse.data import color
from fuse.data.sample import Sample
from fuse.metrics.structure import ssim_map
from fuse.models.medical import brighter, faded, left_out


def grey(pictures: int, height: int = 48, width: int = 48) -> tuple[Tensor, ...]:
    return (torch.full((1, 2, height, width), color.GREY),) * pictures


def test_left_out_by_hand() -> None:
    """A source alone leaves the other out, and so does a patchwork."""
    a, b = claims.pictures(48, 48)
    both = Sample((a, b))
    least = left_out((a + b) / 2, both).item()
    served = torch.minimum(*(ssim_map((a + b) / 2, x, data_range=1.0)[1] for x in (a, b)))
    assert least == pytest.approx(1 - served.mean().item(), rel=1e-5)
    patchwork = torch.where(torch.arange(48) < 24, a, b)
    assert min(left_out(a, both).item(), left_out(patchwork, both).item()) > least + 0.2


def test_where_only_one_shows_anything_nothing_is_left_out() -> None:
    a, b = claims.pictures(48, 48)
    half = torch.where(torch.arange(48) < 24, b, torch.zeros(()))
    there = torch.minimum(*(ssim_map(a, x, data_range=1.0)[1] for x in (a, half)))[..., :19].mean().item()
    assert left_out(a, Sample((a, half))).item() == pytest.approx(1 - there, rel=1e-5)
    assert left_out(a, Sample((a, torch.zeros_like(a)))).item() == 1


def test_colours_speak_for_what_has_them() -> None:
    """Chroma of 16 levels halves what is left out of a source; that of the other counts as before."""
    a, b = claims.pictures(48, 48)
    plain, other = grey(2)
    assert left_out(a, Sample((a, b), chroma=(plain, other))).item() == left_out(a, Sample((a, b))).item()
    coloured = other + torch.tensor([16 / 255, 0]).view(1, 2, 1, 1)
    half = left_out(a, Sample((a, b), chroma=(plain, coloured))).item()
    assert half == pytest.approx(left_out(a, Sample((a, b))).item() / 2, rel=1e-4)
    assert left_out(a, Sample((a, b), chroma=(coloured, plain))).item() == left_out(a, Sample((a, b))).item()


def test_faded_by_hand() -> None:
    """Blue of luma 0.114 keeps its colour at its own luma; at white more than half of it is gone."""
    blue, white = torch.tensor([0, 0, 1.0]).view(1, 3, 1, 1), torch.ones(1, 1, 4, 4)
    luma, chroma = color.split(blue.expand(-1, -1, 4, 4), "full")
    sample = Sample((luma, white), chroma=(chroma, *grey(1, 4, 4)))
    assert faded(luma, sample).item() == pytest.approx(0, abs=2e-3)
    made = color.join(white, chroma, "full").clamp(0, 1)
    wanted = (color.split(made, "full")[1] - chroma).abs().sum() / (chroma - color.GREY).abs().sum()
    assert faded(white, sample).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert wanted > 0.5
    assert faded(white, Sample((luma, white))).item() == 0
    assert faded(white, Sample((luma, white), chroma=grey(2, 4, 4))).item() == pytest.approx(0, abs=1e-6)


def test_fading_is_felt() -> None:
    blue = torch.tensor([0.1, 0.1, 1.0]).view(1, 3, 1, 1).expand(-1, -1, 4, 4)
    luma, chroma = color.split(blue, "full")
    fused = torch.full((1, 1, 4, 4), 0.8, requires_grad=True)
    faded(fused, Sample((luma, luma), chroma=(chroma, *grey(1, 4, 4)))).backward()
    assert fused.grad is not None
    assert (fused.grad > 0).all()  # darker is better


def test_brighter_by_hand() -> None:
    a, b = torch.tensor([0.1, 0.5, 0.3, 0.0]).view(1, 1, 2, 2), torch.tensor([0.4, 0.2, 0.3, 0.0]).view(1, 1, 2, 2)
    assert brighter(a + b, Sample((a, b))).item() == pytest.approx((0.1 + 0.2 + 0.3) / 4)
    assert brighter(torch.maximum(a, b), Sample((a, b))).item() == 0
