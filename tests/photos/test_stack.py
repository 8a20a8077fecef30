"""Stacks, tile by tile: any order, any limit, any depth give the same picture; maps; tournaments of pairs."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import infer
from fuse.errors import InputError
from fuse.methods import RULES
from fuse.models import fusiongan, mffgan
from fuse.models.average import Average
from fuse.models.densefuse import DenseFuse
from fuse.models.gff import Gff
from fuse.models.ifcnn import IFCNN
from fuse.models.medical import Medical
from fuse.models.pyramid import Laplacian
from fuse.models.sesf import SESF
from fuse.models.stackmff import StackMFF
from fuse.models.thermal import Thermal
from fuse.photos import memory, stack
from fuse.photos.frames import Frames
from fuse.photos.memory import Plan
from fuse.photos.stack import Result

DEPTHS = [torch.uint8, torch.uint16, torch.float32]
LOCAL = [name for name, rule in RULES.items() if infer.traits(rule()).margin is not None]
SELECTING = [name for name, rule in RULES.items() if infer.traits(rule()).selects and name != "average"]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "densefuse": DenseFuse,
    "ifcnn": IFCNN,
    "mffgan": lambda: mffgan.Generator(init_std=None),
    "fusiongan": lambda: fusiongan.Generator(init_std=None),
}
WHOLE = Plan(None, False, 0)


def scene(count: int, channels: int, height: int, width: int, depth: torch.dtype = torch.uint8) -> list[Tensor]:
    """The same shapes with noise of other strength everywhere, equal in places; floats from -1 to 4."""
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(1, channels, height // 8 + 1, width // 8 + 1, generator=generator)
    shapes, pictures = F.interpolate(coarse, (height, width), mode="bilinear")[0], []
    for number in range(count):
        noise = torch.rand(channels, height, width, generator=generator) - 0.5
        picture = (shapes + 0.4 * noise * torch.rand(1, 1, width, generator=generator)).clamp(0, 1)
        if number:
            picture[..., : width // 4] = pictures[0][..., : width // 4]
            picture[..., : height // 4, :] = pictures[-1][..., : height // 4, :]
        pictures.append(picture)
    if depth.is_floating_point:
        return [5 * x - 1 for x in pictures]
    return [(x * torch.iinfo(depth).max).round().to(depth) for x in pictures]


def fused(
    fuser: nn.Module, pictures: Sequence[Tensor], plan: Plan = WHOLE, color: infer.Policy = "mix", spooled: bool = False
) -> Result:
    with Frames(spooled) as frames:
        for picture in pictures:
            frames.add(picture)
        return stack.fuse_frames(fuser, frames, 2**40, color=color, want_map=True, plan=plan)


def same(one: Result, other: Result) -> bool:
    assert one.chosen is not None
    assert other.chosen is not None
    return torch.equal(one.pixels, other.pixels) and torch.equal(one.chosen, other.chosen)


class Brighter(nn.Module):
    """Of two, the brighter; on ties both. It may lean to the first."""

    channels, luma, selects, margin = 1, "full", True, 0

    def __init__(self, lean: float = 0.0) -> None:
        super().__init__()
        self.lean, self.calls = lean, 0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls += 1
        first = torch.where(a == b, 0.5, (a + self.lean > b).float())
        return torch.cat([first, 1 - first], 1)


class Given(nn.Module):
    """A luma method whose answer is fixed, on the scale where white is 1."""

    channels, luma, margin = 1, "full", 0

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.full_like(sources[0], self.answer)


class Levelled(nn.Module):
    """The brightest source less the mean of all pictures."""

    channels, luma, margin, multiple, surveys = 1, "full", 0, 4, True

    def survey(self, *sources: Tensor) -> Tensor:
        stack = torch.cat(sources, 1)
        return torch.stack([torch.full((len(stack),), stack[0].numel()), stack.double().sum((1, 2, 3))], 1)

    def forward(self, *sources: Tensor, levels: Tensor | None = None) -> Tensor:
        levels = self.survey(*sources) if levels is None else levels
        return torch.cat(sources, 1).amax(1, keepdim=True) - (levels[:, 1] / levels[:, 0]).float()


@pytest.mark.parametrize("depth", DEPTHS)
def test_levels_are_those_of_the_whole_in_every_tile(depth: torch.dtype) -> None:
    pictures = scene(3, 3, 300, 70, depth)
    whole = fused(Levelled(), pictures)
    assert same(fused(Levelled(), pictures, Plan(48, True, 0), spooled=True), whole)
    if not depth.is_floating_point:  # those are clipped
        assert torch.equal(infer.fuse(Levelled(), [x[None] for x in pictures], tile=48)[0], whole.pixels)


@given(st.integers(1, 900), st.integers(1, 9), st.integers(0, 5), st.sampled_from([1, 4, 32]))
def test_windows_begin_on_the_grid_hold_the_margin_and_are_alike(end: int, step: int, margin: int, grid: int) -> None:
    step, margin = step * grid, margin * grid
    windows = [stack.around(start, step, margin, end, grid) for start in range(0, end, step)]
    for start, (first, last) in zip(range(0, end, step), windows, strict=True):
        assert first % grid == 0
        assert 0 <= first <= max(0, start - margin)
        assert min(end, start + step + margin) <= last <= end
        assert min(end, step + 2 * margin) <= last - first < step + 2 * margin + grid
    assert len({last - first for first, last in windows}) <= 2


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_any_order_gives_the_same_picture(name: str, depth: torch.dtype) -> None:
    pictures = scene(4, 3, 40, 44, depth)
    expected = fused(RULES[name](), pictures).pixels
    assert (expected.dtype, expected.shape) == (depth, (3, 40, 44))
    for order in list(permutations(pictures))[5::6]:
        assert torch.equal(fused(RULES[name](), order).pixels, expected)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("depth", DEPTHS)
def test_tiles_are_the_whole_to_the_last_bit(name: str, depth: torch.dtype) -> None:
    pictures = scene(2, 3, 70, 2 * (infer.traits(RULES[name]()).margin or 0) + 120, depth)
    assert same(fused(RULES[name](), pictures, Plan(50, True, 0), spooled=True), fused(RULES[name](), pictures))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_tiles_of_networks_too(name: str, depth: torch.dtype) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    pictures = scene(2, 3, 70, 101, depth)
    assert torch.equal(fused(network, pictures, Plan(64, False, 0)).pixels, fused(network, pictures).pixels)


@pytest.mark.parametrize("name", sorted(set(SELECTING) - {"structure"}))  # whose weights are soft in noise
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_pixels_of_the_winner_are_untouched(name: str, depth: torch.dtype) -> None:
    pictures = scene(3, 3, 41, 60, depth)
    if depth.is_floating_point:
        pictures = [x * 1e4 for x in pictures]
        pictures[0][0, :, :30] *= 1e-30
    else:
        pictures[0][0, :9, 0] = torch.arange(9).to(depth)
    result = fused(RULES[name](), pictures)
    assert result.chosen is not None
    alone = torch.stack([(x != result.pixels).any(0) for x in pictures]).all(0)
    assert alone.float().mean() < 0.3  # where weights are shared
    chosen = torch.stack([x.float() for x in pictures]).gather(0, result.chosen.long()[None].expand(1, 3, -1, -1))[0]
    assert torch.equal(chosen[:, ~alone], result.pixels.float()[:, ~alone])


@pytest.mark.parametrize("name", sorted(set(SELECTING) - {"maximum", "structure"}))
def test_floats_of_the_sharp_side_are_untouched(name: str) -> None:
    sharp = scene(1, 3, 64, 64, torch.float32)[0] * 1e4 + 1e-3
    near, far = sharp.clone(), sharp.clone()
    near[..., 32:], far[..., :32] = 7.1, 7.1
    result = fused(RULES[name](), [near, far]).pixels
    for side in (slice(None, 16), slice(48, None)):
        assert torch.equal(result[..., side], sharp[..., side])


def test_floats_are_seen_from_0_to_1_and_come_back_on_their_scale() -> None:
    seen: list[Tensor] = []

    class Watched(Given):
        def forward(self, *sources: Tensor) -> Tensor:
            seen.extend(sources)
            return sources[0]

    pictures = [x.mean(0, keepdim=True) * 100 for x in scene(2, 3, 12, 14, torch.float32)]
    result = fused(Watched(0), pictures).pixels
    torch.testing.assert_close(result, pictures[0], rtol=1e-6, atol=1e-4)
    assert seen[0].max() <= 1
    ratio = max(x.abs().max() for x in pictures) / max(x.abs().max() for x in seen)
    assert float(ratio) == pytest.approx(256, rel=1e-5)


@pytest.mark.parametrize("answer", [-0.25, 1.75])
def test_overshoot_is_left_in_floats_and_clipped_in_integers(answer: float) -> None:
    for depth in DEPTHS:
        pictures = [torch.zeros(1, 4, 4, dtype=depth), torch.ones(1, 4, 4, dtype=depth)]
        result = fused(Given(answer), pictures).pixels
        limit = answer if depth.is_floating_point else 0 if answer < 0 else torch.iinfo(depth).max
        assert result.unique().tolist() == [limit]


def test_colour_and_grey_mixed_make_colour_everywhere() -> None:
    grey, colour = scene(2, 1, 20, 40)[0], scene(2, 3, 20, 40)[1]
    for name in ("laplacian", "gff", "gaussian"):
        assert fused(RULES[name](), [grey, colour], Plan(16, False, 0)).pixels.shape == (3, 20, 40)
        assert fused(RULES[name](), [grey, grey]).pixels.shape == (1, 20, 40)
        assert fused(RULES[name](), [grey, colour], color="grey").pixels.shape == (1, 20, 40)


def test_the_map_of_a_selecting_method_names_the_source() -> None:
    pictures = [torch.tensor(x, dtype=torch.uint8).view(1, 1, -1) for x in ([9, 1, 5, 0], [1, 9, 5, 2], [3, 3, 5, 7])]
    result = fused(RULES["maximum"](), pictures)
    assert result.pixels.tolist() == [[[9, 9, 5, 7]]]
    assert result.chosen is not None
    assert result.chosen.dtype == torch.uint8
    assert result.chosen.tolist() == [[[0, 1, 0, 2]]]


@pytest.mark.parametrize("name", ["gff", "laplacian", "maskblend", "swt"])
def test_the_map_of_other_methods_names_the_source_whose_detail_is_there(name: str) -> None:
    sharp = torch.randint(256, (3, 60, 90), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pictures = []
    for third in range(3):
        picture = torch.full_like(sharp, 100 + 20 * third)
        picture[..., 30 * third : 30 * third + 30] = sharp[..., 30 * third : 30 * third + 30]
        pictures.append(picture)
    for order in ((0, 1, 2), (2, 0, 1)):
        chosen = fused(RULES[name](), [pictures[i] for i in order]).chosen
        assert chosen is not None
        for place, third in enumerate(order):
            assert (chosen[..., 30 * third + 6 : 30 * third + 24] == place).float().mean() > 0.98


def test_the_map_sees_beyond_its_tile() -> None:
    class Mean(Given):
        def forward(self, *sources: Tensor) -> Tensor:
            return sum(sources[1:], sources[0]) / len(sources)

    pictures = [torch.randint(256, (1, 40, 50), generator=torch.Generator().manual_seed(i)).byte() for i in range(3)]
    assert same(fused(Mean(0), pictures, Plan(16, False, 0)), fused(Mean(0), pictures))


def test_follows_the_source_of_least_varying_difference() -> None:
    source = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    other = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    assert stack.followed(source, [other, source + 0.3]).unique().tolist() == [1]
    assert stack.followed(source, [source, source]).unique().tolist() == [0]


def test_no_map_unless_asked() -> None:
    with Frames() as frames:
        for picture in scene(2, 1, 8, 8):
            frames.add(picture)
        assert stack.fuse_frames(Gff(), frames, 2**40).chosen is None


def test_tiles_done_are_told() -> None:
    told: list[tuple[int, int]] = []
    with Frames() as frames:
        for picture in scene(2, 1, 20, 40):
            frames.add(picture)
        stack.fuse_frames(Given(0.5), frames, 2**40, progress=lambda *x: told.append(x), plan=Plan(16, False, 0))
    assert told == [(number, 6) for number in range(1, 7)]


def test_tiles_become_smaller_while_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    class Greedy(Average):
        def forward(self, *sources: Tensor) -> Tensor:
            if max(sources[0].shape[-2:]) > 200:
                torch.empty(2**50)
            return super().forward(*sources)

    pictures = scene(2, 3, 300, 260)
    assert same(fused(Greedy(), pictures, Plan(256, False, 0)), fused(Average(), pictures))
    assert caplog.messages == [
        "memory of cpu ran out when Greedy fused 260x300 pixels in tiles of 256; now in tiles of 128"
    ]


def test_pairs_meet_in_a_tournament() -> None:
    pictures = [torch.tensor(x, dtype=torch.uint8).view(1, 1, -1) for x in ([9, 1, 5, 4], [1, 8, 5, 4], [3, 3, 5, 1])]
    fuser = Brighter()
    result = fused(fuser, pictures)
    assert result.pixels.tolist() == [[[9, 8, 5, 4]]]
    assert result.chosen is not None
    assert result.chosen.tolist() == [[[0, 1, 0, 0]]]
    assert fuser.calls == 6
    weights = stack.tournament(fuser, [x[None].float() / 255 for x in pictures])
    assert weights[0, :, 0].T.tolist()[:2] == [[1, 0, 0], [0, 1, 0]]
    torch.testing.assert_close(weights[0, :, 0].T[2:], torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]))


def test_a_tournament_does_not_depend_on_the_order_even_if_its_fuser_does() -> None:
    pictures = scene(4, 3, 12, 14)
    expected = fused(Brighter(0.1), pictures).pixels
    for order in permutations(pictures):
        assert torch.equal(fused(Brighter(0.1), order).pixels, expected)
    assert not torch.equal(expected, fused(Brighter(0.1), pictures[:2]).pixels)


def test_two_sources_of_a_fuser_of_two_are_just_fused() -> None:
    fuser = Brighter()
    fused(fuser, scene(2, 1, 8, 8))
    assert fuser.calls == 1


def test_pairs_are_never_chained() -> None:
    with pytest.raises(InputError, match=r"Generator cannot fuse 3 pictures: it takes two.* gff, .*densefuse, ifcnn"):
        fused(mffgan.Generator(), scene(3, 1, 8, 8))
    with pytest.raises(InputError, match="needs two or more pictures, 1 given"):
        fused(Gff(), scene(1, 1, 8, 8))


def test_methods_that_are_said_to_take_any_number_do() -> None:
    assert all(infer.takes(rule(), 5) for rule in RULES.values())
    networks: dict[str, type[nn.Module]] = {"densefuse": DenseFuse, "ifcnn": IFCNN, "sesf": SESF, "stackmff": StackMFF}
    networks |= {"thermal": Thermal, "medical": Medical}
    assert set(stack.ANY_NUMBER) == set(networks)
    assert all(infer.takes(network(), 5) for network in networks.values())


@pytest.mark.parametrize("name", ["gff", "laplacian", "gaussian", "average"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_not_valid_does_not_matter(name: str, depth: torch.dtype) -> None:
    pictures = scene(3, 3, 30, 40, depth)
    masks = [torch.ones(1, 30, 40, dtype=torch.bool) for _ in pictures]
    masks[0][..., :10], masks[1][..., 5:15], masks[1][..., :3] = False, False, False

    def with_junk(junk: int) -> Result:
        with Frames() as frames:
            for picture, mask in zip(pictures, masks, strict=True):
                frames.add(torch.where(mask, picture, torch.full_like(picture, junk)), mask)
            return stack.fuse_frames(RULES[name](), frames, 2**40, want_map=True, plan=Plan(16, False, 0))

    one, other = with_junk(0), with_junk(4)
    assert same(one, other)
    if name == "gaussian":  # only the third is valid in columns 0 to 2 and 5 to 9
        assert torch.equal(one.pixels[..., 5:10], pictures[2][..., 5:10])
        assert one.chosen is not None
        assert one.chosen[..., 5:10].unique().tolist() == [2]


def test_where_nothing_is_valid_all_are_taken_as_they_are() -> None:
    mask = torch.zeros(1, 6, 6, dtype=torch.bool)
    with Frames() as frames:
        for level in (10, 30):
            frames.add(torch.full((1, 6, 6), level, dtype=torch.uint8), mask)
        assert stack.fuse_frames(RULES["average"](), frames, 2**40).pixels.unique().tolist() == [20]


def test_a_fuser_that_returns_another_size_is_refused() -> None:
    class Larger(Given):
        resizes = True

        def forward(self, *sources: Tensor) -> Tensor:
            return F.interpolate(sources[0], scale_factor=2.0)

    with pytest.raises(InputError, match="Larger returns another size than it is given"):
        fused(Larger(0), scene(2, 1, 8, 8))


def test_a_limit_that_does_not_allow_it_is_told_before_anything_is_fused() -> None:
    class Never(Given):
        def forward(self, *sources: Tensor) -> Tensor:
            assert sources[0].shape[-1] <= max(memory.TRIAL)
            return sources[0]

    with Frames() as frames:
        for picture in scene(2, 1, 200, 300):
            frames.add(picture)
        with pytest.raises(InputError, match="are allowed; allow more"):
            stack.fuse_frames(Never(0), frames, 100 * 2**20)


def test_laplacian_of_two_is_what_the_older_way_makes() -> None:
    pictures = scene(2, 3, 50, 60)
    expected = infer.fuse(Laplacian(), [x[None] for x in pictures])[0]
    assert torch.equal(fused(Laplacian(), pictures).pixels, expected)
