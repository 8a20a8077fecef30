"""Signs that a fused picture is not what its name says."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fuse.data.color import grey_levels
from fuse.data.optics import focus_pair
from fuse.suspicion import signs


@pytest.fixture
def scene() -> tuple[Tensor, list[Tensor]]:
    """Truth and sources of a made scene, 48x48, in levels 30 to 220."""
    sources, truth, _ = focus_pair(48, torch.Generator().manual_seed(3))
    made = (*sources, truth)
    near, far, truth = (grey_levels((x * 190 + 30).round().to(torch.uint8)[None]) for x in made)
    return truth, [near, far]


def test_an_honest_result_raises_no_suspicion(scene: tuple[Tensor, list[Tensor]]) -> None:
    truth, sources = scene
    assert signs(truth, sources) == []
    assert signs(torch.stack(sources).mean(0).round(), sources) == []


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda x: x.flip(-1), "mirrored"),
        (lambda x: x.flip(-2), "upside down"),
        (lambda x: x.flip(-1, -2), "180"),
        (lambda x: x.transpose(-1, -2), "transposed"),
        (lambda x: ((x - x.min()) / (x.max() - x.min()) * 255).round(), "stretched"),
        (lambda x: torch.where(x > x.median(), 255.0, x), "50% of its pixels at 0 or 255"),
    ],
)
def test_each_fault_is_named(scene: tuple[Tensor, list[Tensor]], spoil: Callable[[Tensor], Tensor], word: str) -> None:
    truth, sources = scene
    found = signs(spoil(truth), sources)
    assert len(found) == 1
    assert word in found[0]


def test_a_copy_is_named_but_not_where_the_sources_agree(scene: tuple[Tensor, list[Tensor]]) -> None:
    _, sources = scene
    assert signs(sources[1], sources) == ["is source 2 alone"]
    assert signs(sources[0], [sources[0], sources[0]]) == []


def test_constant_pictures_raise_none() -> None:
    flat = torch.full((1, 1, 9, 9), 100.0)
    assert signs(flat, [flat, flat]) == []
