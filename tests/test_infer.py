"""Whole pictures through a fuser: as stored in, as stored out, however large."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import infer
from fuse.data import color
from fuse.errors import InputError
from fuse.models.average import Average, Maximum
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet
from fuse.models.mertens import Mertens
from fuse.models.mffgan import Generator
from fuse.models.pyramid import Laplacian


def stored(*shape: int, depth: torch.dtype = torch.uint8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(torch.iinfo(depth).max + 1, shape, generator=generator).to(depth)


def pair(channels: int, height: int, width: int, depth: torch.dtype = torch.uint8) -> list[Tensor]:
    return [stored(1, channels, height, width, depth=depth, seed=seed) for seed in (1, 2)]


class Sharper(nn.Module):
    """Selects per pixel the source with the larger Laplacian, which it sees one pixel far."""

    selects, margin = True, 1

    def forward(self, *sources: Tensor) -> Tensor:
        kernel = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
        energy = torch.cat([F.conv2d(x, kernel, padding=1).abs() for x in sources], 1)
        return F.one_hot(energy.argmax(1), len(sources)).movedim(-1, 1).float()


class Second(nn.Module):
    """Selects the second source everywhere; what else is there does not matter."""

    selects, margin = True, 0

    def forward(self, *sources: Tensor) -> Tensor:
        weights = torch.zeros_like(torch.cat(sources, 1))
        weights[:, 1] = 1
        return weights


class SecondOfColours(Second):
    """The same, of pictures in RGB."""

    channels = 3

    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*(x[:, :1] for x in sources))


class Given(nn.Module):
    """A luma network whose answer is fixed."""

    def __init__(self, answer: float, luma: str = "full") -> None:
        super().__init__()
        self.answer, self.luma = answer, luma

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.full_like(a, self.answer)


class Coarse(nn.Module):
    """Means over blocks of four: needs sides and tile corners that are multiples of four."""

    margin, multiple = 0, 4

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        assert a.shape[-2] % 4 == a.shape[-1] % 4 == 0
        return F.interpolate(F.avg_pool2d((a + b) / 2, 4), scale_factor=4.0, mode="nearest")


def levels_apart(one: Tensor, other: Tensor) -> int:
    return int((one.int() - other.int()).abs().max())


@pytest.mark.parametrize("make", [Generator, DenseFuse, FusionNet, Laplacian, Average, Maximum, Sharper, Coarse])
@pytest.mark.parametrize("tile", [16, 21])
def test_tiles_join_to_the_whole(make: Any, tile: int) -> None:
    torch.manual_seed(0)
    fuser = make(init_std=None) if make is Generator else make(levels=2) if make is Laplacian else make()
    pictures = [x.float() / 255 for x in pair(infer.traits(fuser).channels, 45, 62)]
    with torch.no_grad():
        whole, tiled = infer.whole(fuser, pictures), infer.whole(fuser, pictures, tile)
    assert whole.shape == tiled.shape
    if infer.traits(fuser).selects:
        assert torch.equal(whole, tiled)
    else:
        torch.testing.assert_close(tiled, whole, rtol=0, atol=2e-5)


@given(height=st.integers(1, 40), width=st.integers(1, 40), tile=st.integers(1, 50))
@settings(max_examples=40)
def test_any_size_in_any_tiles(height: int, width: int, tile: int) -> None:
    sources = pair(1, height, width)
    for fuser in (Sharper(), Coarse(), Average()):
        assert torch.equal(infer.fuse(fuser, sources, tile), infer.fuse(fuser, sources))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (5, 3), (33, 17)])
@pytest.mark.parametrize("make", [Generator, DenseFuse, FusionNet, Laplacian, Average, Maximum, Coarse])
def test_small_and_odd_sizes(make: Any, size: tuple[int, int]) -> None:
    assert infer.fuse(make(), pair(1, *size)).shape == (1, 1, *size)


def test_large_pictures_are_tiled_and_fusers_that_see_everything_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, int]] = []

    class Watched(Average):
        def forward(self, *sources: Tensor) -> Tensor:
            shapes.append(tuple(sources[0].shape[-2:]))
            return super().forward(*sources)

    monkeypatch.setattr(infer, "TILE_ABOVE", 64 * 64)
    infer.fuse(Watched(), pair(1, 64, 64))
    assert shapes == [(64, 64)]
    shapes.clear()
    infer.fuse(Watched(), pair(1, 65, 1500))
    assert shapes == [(65, 1024), (65, 476)]
    shapes.clear()
    everywhere = Watched()
    everywhere.margin = None
    infer.fuse(everywhere, pair(1, 65, 1500), tile=16)
    assert shapes == [(65, 1500)]


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [Generator, DenseFuse, FusionNet, Laplacian, Average, Maximum])
def test_depth_and_colour_come_out_as_they_went_in(make: Any, depth: torch.dtype, channels: int) -> None:
    fused = infer.fuse(make(), pair(channels, 20, 22, depth))
    assert fused.dtype == depth
    assert fused.shape == (1, channels, 20, 22)


@pytest.mark.parametrize("make", [Generator, DenseFuse, FusionNet, Laplacian, Average, Maximum])
@pytest.mark.parametrize("coloured", [0, 1])
def test_one_coloured_source_makes_a_coloured_picture(make: Any, coloured: int) -> None:
    sources = pair(1, 20, 22)
    sources[coloured] = stored(1, 3, 20, 22)
    assert infer.fuse(make(), sources).shape == (1, 3, 20, 22)


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_weight_one_are_untouched(depth: torch.dtype, channels: int) -> None:
    every = torch.arange(torch.iinfo(depth).max + 1).view(1, 1, 256, -1).to(depth).expand(1, channels, -1, -1)
    other = stored(*every.shape, depth=depth)
    assert torch.equal(infer.fuse(Second(), [other, every]).int(), every.int())
    assert torch.equal(infer.fuse(Second(), [other, every, other], tile=100).int(), every.int())


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_colours_select_stored_pixels_too(depth: torch.dtype, channels: int) -> None:
    sources = [stored(1, channels, 20, 24, depth=depth, seed=seed) for seed in (1, 2)]
    assert torch.equal(infer.fuse(SecondOfColours(), sources), sources[1])


def test_selected_colours_are_those_of_the_selected_source() -> None:
    grey, colour = stored(1, 1, 12, 14), stored(1, 3, 12, 14)
    assert torch.equal(infer.fuse(Second(), [grey, colour]), colour)
    assert torch.equal(infer.fuse(Second(), [colour, grey]), grey.expand(-1, 3, -1, -1))


def test_average_and_maximum_of_stored_pixels_by_hand() -> None:
    a = torch.tensor([[10, 255, 0], [30, 7, 99]], dtype=torch.uint8)[None, None]
    b = torch.tensor([[20, 0, 1], [30, 8, 90]], dtype=torch.uint8)[None, None]
    assert infer.fuse(Average(), [a, b]).tolist() == [[[[15, 128, 0], [30, 8, 94]]]]  # halves to the even level
    assert infer.fuse(Maximum(), [a, b]).tolist() == [[[[20, 255, 1], [30, 8, 99]]]]


def test_a_luma_network_gets_its_own_kind_of_luma() -> None:
    seen: list[Tensor] = []

    class Watched(Given):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            seen.append(a)
            return super().forward(a, b)

    sources = pair(3, 6, 7)
    for luma in ("full", "limited"):
        infer.fuse(Watched(0.5, luma), sources)
        assert torch.equal(seen.pop(), color.split(sources[0] / 255, luma)[0])


@pytest.mark.parametrize(("luma", "level"), [("full", 100), ("limited", round(1.164 * (100 - 16)))])
def test_grey_of_luma(luma: str, level: int) -> None:
    fused = infer.fuse(Given(100 / 255, luma), pair(1, 5, 6))
    assert fused.unique().tolist() == [level]


@pytest.mark.parametrize("luma", ["full", "limited"])
def test_colour_of_luma_and_distance_from_grey(luma: color.Luma) -> None:
    sources = pair(3, 9, 8)
    parts = [color.split(x / 255, luma) for x in sources]
    chroma = color.distance_from_grey([c for _, c in parts])
    wanted = color.join(torch.full((1, 1, 9, 8), 0.4), chroma, luma).clamp(0, 1) * 255
    assert levels_apart(infer.fuse(Given(0.4, luma), sources), wanted.round()) == 0


def test_a_luma_network_that_returns_its_source_returns_the_picture() -> None:
    class First(Given):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a

    picture, grey = stored(1, 3, 16, 16), stored(1, 1, 16, 16)
    for luma in ("full", "limited"):
        assert levels_apart(infer.fuse(First(0, luma), [picture, picture]), picture) <= 1
        assert levels_apart(infer.fuse(First(0, luma), [grey, grey]), grey) == 0
        assert levels_apart(infer.fuse(First(0, luma), [picture, grey]), picture) <= 1  # grey adds no chroma


@pytest.mark.parametrize("luma", ["full", "limited"])
def test_colour_may_come_from_one_source_or_be_left_out(luma: color.Luma) -> None:
    sources = pair(3, 9, 8)
    parts = [color.split(x / 255, luma) for x in sources]

    def made(policy: infer.Policy) -> Tensor:
        return infer.joined(Given(0.4, luma), sources, 255.0, policy).pixels

    for policy, number in (("first", 0), (0, 0), (1, 1)):
        wanted = color.join(torch.full((1, 1, 9, 8), 0.4), parts[number][1], luma).clamp(0, 1) * 255
        assert levels_apart(made(policy), wanted.round()) == 0
    assert torch.equal(made("mix"), infer.fuse(Given(0.4, luma), sources))
    assert made("grey").tolist() == infer.fuse(Given(0.4, luma), pair(1, 9, 8)).tolist()


@pytest.mark.parametrize("make", [Second, SecondOfColours, Mertens])
def test_colour_of_one_source_for_methods_that_have_their_own(make: Any) -> None:
    sources = pair(3, 12, 14)
    fused = infer.joined(make(), [x.float() for x in sources], 255.0).pixels / 255
    luma = color.split(fused, "full")[0]
    grey = infer.joined(make(), sources, 255.0, "grey").pixels
    assert levels_apart(grey, (luma * 255).clamp(0, 255).round()) == 0
    wanted = color.join(luma, color.split(sources[0] / 255, "full")[1], "full").clamp(0, 1) * 255
    assert levels_apart(infer.joined(make(), sources, 255.0, "first").pixels, wanted.round()) == 0


def test_grey_pictures_have_no_policy_of_colour() -> None:
    sources = pair(1, 6, 7)
    for policy in ("mix", "first", "grey", 1):
        assert torch.equal(infer.joined(Second(), sources, 255.0, policy).pixels, sources[1])


@pytest.mark.parametrize("policy", [2, -1])
def test_a_source_that_is_not_there_has_no_colour(policy: int) -> None:
    with pytest.raises(InputError, match=f"colour of source '{policy}' of 2: choose mix, grey, first, or the number"):
        infer.joined(Given(0.5), pair(3, 4, 4), 255.0, policy)


def test_selected_colour_of_equal_shares_does_not_depend_on_the_order() -> None:
    sources = [stored(1, 3, 30, 30, seed=seed) / 255 for seed in range(3)]
    fused = [infer.joined(Average(), [sources[i] for i in order], 1.0).pixels for order in permutations(range(3))]
    assert all(torch.equal(x, fused[0]) for x in fused)


def test_double_precision_of_a_selected_pixel_is_kept() -> None:
    sources = [torch.rand(1, 1, 5, 5, dtype=torch.float64) for _ in range(2)]
    assert torch.equal(infer.fuse(Second(), sources), sources[1])


@pytest.mark.parametrize(("answer", "level"), [(-0.3, 0), (1.7, 255), (0.5, 128)])
def test_what_leaves_the_range_is_clipped_never_wrapped_or_stretched(answer: float, level: int) -> None:
    assert infer.fuse(Given(answer), pair(1, 5, 6)).unique().tolist() == [level]


def test_a_batch_of_training_state_is_left_alone() -> None:
    fuser = Generator()
    infer.fuse(fuser, pair(1, 8, 8))
    assert fuser.training
    assert all(p.grad is None for p in fuser.parameters())


@pytest.mark.parametrize("depth", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [Generator, FusionNet, Laplacian, Average])
def test_floats_are_fused_as_the_same_stored_levels(make: Any, depth: torch.dtype) -> None:
    torch.manual_seed(0)
    fuser, sources = make(), pair(3, 14, 15)
    fused = infer.fuse(fuser, [x.to(depth) / 255 for x in sources])
    assert fused.dtype == depth
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert levels_apart((fused * 255).round(), infer.fuse(fuser, sources)) <= 1
    assert not torch.equal(fused * 255, (fused * 255).round())  # not rounded to levels


def test_floats_that_leave_the_range_are_clipped() -> None:
    picture = torch.full((1, 1, 4, 4), 0.5)
    assert infer.fuse(Given(1.7), [picture, picture]).unique().tolist() == [1]
    assert infer.fuse(Given(-1), [picture, picture]).unique().tolist() == [0]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([stored(1, 1, 4, 5), stored(1, 1, 5, 4)], "sources of sizes .*'4x5', '5x4'.* bring them to one size"),
        ([stored(1, 1, 4, 5), stored(1, 1, 4, 5, depth=torch.uint16)], "depths .*uint16.*uint8"),
        ([], "nothing to fuse"),
        ([torch.zeros(1, 1, 3, 3, dtype=torch.int32)] * 2, "pictures of torch.int32 are not known"),
        (
            [torch.full((1, 1, 3, 3), float("nan")), torch.zeros(1, 1, 3, 3)],
            "a picture has pixels that are not numbers",
        ),
    ],
)
def test_sources_that_cannot_be_fused_are_refused(sources: Sequence[Tensor], words: str) -> None:
    with pytest.raises(InputError, match=words):
        infer.fuse(Average(), sources)


@pytest.mark.parametrize("make", [Generator, FusionNet])
@pytest.mark.parametrize("count", [1, 3])
def test_a_fuser_of_two_refuses_other_numbers(make: Any, count: int) -> None:
    sources = [stored(1, 1, 12, 12, seed=seed) for seed in range(count)]
    with pytest.raises(InputError, match=f"{make.__name__} cannot fuse {count} pictures at once"):
        infer.fuse(make(), sources)
    with pytest.raises(InputError, match="at once"):
        infer.fuse(make(), sources, tile=4)


def test_type_errors_of_the_network_itself_are_not_hidden() -> None:
    class Broken(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + None

    with pytest.raises(TypeError, match="unsupported operand"):
        infer.fuse(Broken(), pair(1, 4, 4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="Given made pixels that are not numbers; its weights are damaged"):
        infer.fuse(Given(bad), pair(1, 4, 4))


def test_traits_have_defaults() -> None:
    assert infer.traits(nn.Identity()) == infer.Traits(1, "full", False, None, 1)
    assert infer.traits(Coarse()) == infer.Traits(1, "full", False, 0, 4)
    assert infer.traits(FusionNet()).channels == 3
    assert infer.traits(Generator()).luma == "limited"


class Greedy(nn.Module):
    """A local fuser whose memory holds pictures of so many pixels a side; it sees `margin` far, or everything."""

    def __init__(self, most: int, margin: int | None) -> None:
        super().__init__()
        self.most, self.margin = most, margin

    def forward(self, *sources: Tensor) -> Tensor:
        if max(sources[0].shape[-2:]) > self.most:
            torch.empty(2**50)
        return F.avg_pool2d(F.pad(torch.stack(sources).mean(0), [1] * 4, mode="replicate"), 3, 1)


@pytest.mark.parametrize(("size", "most", "sides"), [(600, 310, [300]), (600, 200, [300, 150]), (300, 150, [150, 128])])
def test_tiles_become_smaller_while_memory_runs_out(
    size: int, most: int, sides: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    sources = pair(1, 40, size)
    expected = infer.fuse(Greedy(10**6, 1), sources)
    assert caplog.messages == []
    assert torch.equal(infer.fuse(Greedy(most, 1 if most != 150 else 11), sources), expected)
    words = [f"memory of cpu ran out when Greedy fused {size}x40 pixels"] * len(sides)
    words[1:] = [f"{word} in tiles of {side}" for word, side in zip(words[1:], sides, strict=False)]
    assert caplog.messages == [f"{word}; now in tiles of {side}" for word, side in zip(words, sides, strict=True)]


@pytest.mark.parametrize(
    ("margin", "tile", "words"),
    [
        (None, None, "fused 600x40 pixels, which it must see as a whole; take another method or smaller pictures"),
        (1, None, "fused 600x40 pixels in tiles of 128, and smaller ones are not tried; take another"),
        (1, 100, "fused 600x40 pixels in tiles of 100, and"),
    ],
)
def test_what_memory_never_suffices_for_is_told(margin: int | None, tile: int | None, words: str) -> None:
    with pytest.raises(InputError, match=f"memory of cpu ran out when Greedy {words}"):
        infer.fuse(Greedy(0, margin), pair(1, 40, 600), tile=tile)
