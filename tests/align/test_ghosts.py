"""Double edges grow with the shift, and there are none where pictures lie on each other or one is chosen."""

import sys

import pytest
import torch
from torch import Tensor

from fuse.align import ghosts
from fuse.data.optics import focus_pair
from fuse.data.scenes import texture


def shifted(pixels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two cuts of one scene, grey levels 0..255."""
    scene = texture(192, torch.Generator().manual_seed(seed)).mean(0) * 255
    return scene[24:152, 24:152], scene[24:152, 24 + pixels : 152 + pixels]


def test_an_average_is_off_by_the_shift() -> None:
    scores = []
    for pixels in (0, 1, 2, 4, 8, 12):
        a, b = shifted(pixels)
        scores.append(ghosts((a + b) / 2, [a, b]))
    assert scores[0] == pytest.approx(0, abs=1e-3)
    assert scores == sorted(scores)
    assert scores[2:5] == pytest.approx([2, 4, 8], rel=0.35)


def test_the_fainter_the_second_contour_the_less() -> None:
    a, b = shifted(4)
    scores = [ghosts((1 - share) * a + share * b, [a, b]) for share in (0, 0.1, 0.25, 0.5)]
    assert scores[0] == pytest.approx(0, abs=0.05)
    assert scores == sorted(scores)
    assert scores[1] == pytest.approx(0.2 * scores[3], rel=0.3)


def test_a_choice_of_sources_has_none() -> None:
    a, b = shifted(8)
    chosen = torch.where(torch.arange(128) < 64, a, b)
    assert ghosts(chosen, [a, b]) < 0.05 * ghosts((a + b) / 2, [a, b])


def test_sources_in_and_out_of_focus_that_lie_on_each_other() -> None:
    near, far = (x.mean(0) * 255 for x in focus_pair(128, torch.Generator().manual_seed(1)).sources)
    assert ghosts((near + far) / 2, [near, far]) < 0.5


def test_many_sources_and_plain_ones() -> None:
    a, b = shifted(6)
    plain = torch.full_like(a, 90.0)
    assert ghosts((a + b) / 2, [a, plain, b, plain]) == pytest.approx(ghosts((a + b) / 2, [a, b]), rel=0.05)
    assert ghosts(plain, [plain, plain]) == 0
    assert ghosts(a, [a]) == 0
    assert ghosts(a[:1, :1], [a[:1, :1], b[:1, :1]]) == 0


def test_large_pictures_are_averaged_down_and_told_in_their_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = shifted(8)
    whole = ghosts((a + b) / 2, [a, b])
    monkeypatch.setattr(sys.modules["fuse.align.ghosts"], "LARGEST", 64)  # the name is the function too
    assert ghosts((a + b) / 2, [a, b]) == pytest.approx(whole, rel=0.3)
