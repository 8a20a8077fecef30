"""Whole pictures a step: sizes, what is drawn, moved and exposed anew."""

from typing import Any

import pytest
import torch

from fuse.data.color import GREY
from fuse.data.sample import Sample
from fuse.data.whole import Whole, exposed, relit, shifted
from fuse.errors import InputError


def scenes(*sizes: tuple[int, int]) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    return [
        Sample(
            tuple(torch.randint(256, (1, 3, h, w), dtype=torch.uint8, generator=generator) for _ in range(2)),
            None,
            (str(number),),
            ("ir", "vi"),
        )
        for number, (h, w) in enumerate(sizes)
    ]


def drawn(whole: Whole, step: int) -> Sample:
    return whole(step, 0, torch.Generator().manual_seed(step))


def test_sides_fit_and_never_exceed_the_largest() -> None:
    whole = Whole(scenes((130, 200), (96, 96), (300, 140)), size=160, exposures=0)
    assert (whole.windows, whole.batch, whole.size) == (3, 1, 160)
    sizes = set()
    for step in range(60):
        sample = drawn(whole, step)
        assert sample.roles == ("ir", "vi")
        a, b = sample.sources
        assert a.shape == b.shape
        assert a.shape[:2] == (1, 1)
        assert all(side % 32 == 0 and 96 <= side <= 160 for side in a.shape[-2:])
        assert a.min() >= 0
        assert a.max() <= 1
        sizes.add(tuple(a.shape[-2:]))
    assert len(sizes) > 3


def test_a_step_is_the_same_again_and_no_other() -> None:
    whole = Whole(scenes((200, 200)), size=160, moved=2)
    once, twice, other = (drawn(whole, step).sources[0] for step in (5, 5, 6))
    assert torch.equal(once, twice)
    assert once.shape != other.shape or not torch.equal(once, other)


def test_a_batch_has_one_frame() -> None:
    """Stripes of a scene stay stripes of the same direction; none is stretched."""
    whole = Whole(scenes((130, 200), (200, 130), (96, 300)), size=160, batch=4, exposures=0)
    for step in range(20):
        a, b = drawn(whole, step).sources
        assert a.shape == b.shape
        assert a.shape[:2] == (4, 1)
        assert len({float(x.mean()) for x in a}) == 4
    rings = ((torch.arange(200.0) - 100).square() + (torch.arange(200.0).view(-1, 1) - 100).square()).sqrt() < 60
    disc = (rings * 255).to(torch.uint8).expand(1, 1, 200, 200)
    wide = torch.zeros(1, 1, 100, 300, dtype=torch.uint8)
    made = Whole([Sample((x, x), None, ("0",), ("a", "b")) for x in (wide, disc)], size=160, exposures=0)
    cut = made.framed([disc.float() / 255], g(0), (96, 160))[0][0, 0]
    across, down = (int((cut.amax(axis) > 0.5).sum()) for axis in (0, 1))
    assert cut.shape == (96, 160)
    assert across == pytest.approx(120 * 160 / 200, abs=3)
    assert down <= 96 < 97


def test_sources_change_places_and_half_of_the_scenes_are_moved() -> None:
    dark = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    bright = dark + 200
    whole = Whole([Sample((dark, bright), None, ("0",), ("a", "b"))], size=128, exposures=0, moved=4)
    first = [float(drawn(whole, step).sources[0].mean()) > 0.5 for step in range(60)]
    assert 15 < sum(first) < 45
    ramp = torch.arange(128.0).expand(1, 1, 128, -1) / 255
    seen = {float((a - b).mean() * 255) for a, b in (shifted([ramp, ramp], 4, g(s)) for s in range(80))}
    assert {round(shift) for shift in seen} == set(range(-4, 5))
    assert shifted([ramp, ramp], 4, g(0))[0].shape == (1, 1, 120, 120)


def g(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_exposed_anew_in_8_bit() -> None:
    ramp = torch.arange(256.0).view(1, 1, 16, 16) / 255
    nights, kinds = 0, set()
    for seed in range(100):
        levels = exposed(ramp, g(seed)).flatten() * 255
        torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
        assert levels.min() >= 0
        assert levels.max() <= 255
        assert (levels.diff() > -1e-3).all()  # brighter stays brighter
        low, high = (levels[127] - levels[0]).item(), (levels[255] - levels[128]).item()
        nights += low < 0.4 * high  # the darker half has far less than half of the range
        kinds.add(round(float(levels.mean())))
    assert 25 < nights < 65
    assert len(kinds) > 30


def test_night_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """All draws 0: power 1/sqrt 2, gain 1, no offset below 1 - 1, the knee at the median, a tenth of the slope."""
    monkeypatch.setattr("fuse.data.whole.chance", lambda _: 0.0)
    picture = torch.tensor([0.2, 0.2, 0.5, 0.8, 1.0]).view(1, 1, 1, 5)
    knee = 0.5 * 0.999
    bent = torch.tensor([0.02, 0.02, 0.05, 0.08, 0.1]) + 0.9 * (picture.flatten() - knee).clamp_min(0) / (1 - knee)
    wanted = (bent**0.5**0.5 * 255).round() / 255
    torch.testing.assert_close(exposed(picture, g(0)).flatten(), wanted)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 90}, "size is at least 96"),
        ({"batch": 0}, "batch and multiple at least 1"),
        ({"exposures": 1.5}, "exposures between 0 and 1"),
        ({"moved": -1}, "moved at least 0"),
        ({"channels": 3}, "luma only"),
        ({"moved": 30}, "of one size, of 156 at least"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Whole(scenes((120, 160)), **settings)
    with pytest.raises(InputError, match="no pictures"):
        Whole([])


def test_chroma_goes_where_luma_goes() -> None:
    """Cut, mirrored, reduced, moved and swapped alike: what was coloured by its own luma still is."""
    level = torch.randint(256, (2, 1, 1, 200, 160), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    given = [torch.cat([x, x, torch.full_like(x, 0)], 1) for x in level]  # yellow: chroma follows from luma
    whole = Whole([Sample(tuple(given), None, ("a",), ("pet", "mri"))], 160, moved=2, exposures=0, colours=True)
    plain = Whole([Sample(tuple(given), None, ("a",), ("pet", "mri"))], 160, moved=2, exposures=0)
    for step in range(8):
        sample, without = drawn(whole, step), drawn(plain, step)
        assert without.chroma == ()
        for luma, chroma, same in zip(sample.sources, sample.chroma, without.sources, strict=True):
            assert torch.equal(luma, same)
            blueness = chroma[:, :1] - GREY
            torch.testing.assert_close(blueness, -0.564 * luma, atol=0.004, rtol=0)


def test_what_is_exposed_darker_is_paler() -> None:
    """Chroma over luma stays, but never grows."""
    generator = torch.Generator().manual_seed(1)
    y = (torch.rand(1, 1, 64, 64, generator=generator) * 200 + 50).round() / 255
    picture = torch.cat([y, GREY + 0.2 * y, GREY - 0.1 * y], 1)
    for _ in range(20):
        made = relit(picture, generator)
        share = (made[:, :1] / y).clamp_max(1)
        torch.testing.assert_close(made[:, 1:2] - GREY, 0.2 * y * share, atol=1e-6, rtol=0)
        torch.testing.assert_close(made[:, 2:] - GREY, -0.1 * y * share, atol=1e-6, rtol=0)
