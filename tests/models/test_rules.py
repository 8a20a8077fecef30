"""What holds for every rule without weights, whatever it does."""

from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from fuse import infer
from fuse.methods import RULES
from fuse.models import dsift
from fuse.models.gaussian import Gaussian
from fuse.models.maskblend import MaskBlend
from fuse.models.pyramid import Contrast
from fuse.models.wavelet import Dwt, Swt

SELECTING = {"average", "maximum", "gaussian", "dctvar", "dsift", "structure"}
EVERY_CHANNEL = {"maskblend", "gff", "mertens"}
LOCAL = {  # what an input pixel can reach is seen on small pictures where there are few levels
    "gaussian": Gaussian(1.0),
    "contrast": Contrast(2),
    "maskblend": MaskBlend(2, 5),
    "dwt": Dwt("db2", 2),
    "dwt bior": Dwt("bior2.2", 2),
    "swt": Swt("haar", 2),
    "swt bior": Swt("bior2.2", 2),
    "dctvar": RULES["dctvar"](),
}


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0, batch: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, channels, height, width, generator=generator) for _ in range(count)]


def shown(fuser: nn.Module, sources: list[Tensor]) -> Tensor:
    result = fuser(*sources)
    return infer.sum_weighted(result, sources) if infer.traits(fuser).selects else result


def test_the_rules_are_these() -> None:
    assert list(RULES) == [
        *("average", "maximum", "gaussian", "laplacian", "contrast", "maskblend", "dwt", "swt"),
        *("gff", "dctvar", "dsift", "structure", "mertens"),
    ]
    facts = {name: infer.traits(rule()) for name, rule in RULES.items()}
    assert {name for name, known in facts.items() if known.selects} == SELECTING
    assert {name for name, known in facts.items() if known.channels == 3} == EVERY_CHANNEL
    assert {name for name, known in facts.items() if known.margin is None} == {"dsift", "structure", "mertens"}
    assert not any(list(rule().parameters()) for rule in RULES.values())


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (5, 40), (33, 26)])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_size_and_number(name: str, size: tuple[int, int], count: int) -> None:
    fuser = RULES[name]()
    result = fuser(*pictures(count, infer.traits(fuser).channels, *size))
    assert torch.isfinite(result).all()
    assert result.dtype == torch.float32
    if name in SELECTING:
        assert result.shape == (1, count, *size)
        assert result.min() >= 0
        torch.testing.assert_close(result.sum(1), torch.ones(1, *size))
    else:
        assert result.shape == (1, infer.traits(fuser).channels, *size)


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_the_sources_does_not_matter(name: str) -> None:
    fuser = RULES[name]()
    sources = pictures(4, infer.traits(fuser).channels, 40, 44)
    sources[1][..., :20] = sources[0][..., :20]  # what is equal must not be decided by the order either
    sources[2][..., 10:, :] = 0.5
    sources[2][..., 20:30, :] = sources[3][..., 20:30, :] = sources[1][..., 20:30, :]
    expected = shown(fuser, sources)
    for order in list(permutations(sources))[1::4]:
        assert torch.equal(shown(fuser, list(order)), expected)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_equal_sources_come_out_as_they_are(name: str, count: int) -> None:
    fuser = RULES[name]()
    picture = pictures(1, infer.traits(fuser).channels, 37, 41)[0]
    torch.testing.assert_close(shown(fuser, [picture] * count), picture, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_pictures_without_any_detail(name: str, level: float) -> None:
    fuser = RULES[name]()
    flat = torch.full((1, infer.traits(fuser).channels, 30, 30), level)
    torch.testing.assert_close(shown(fuser, [flat, flat, flat]), flat, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_pictures_of_a_batch_do_not_see_one_another(name: str) -> None:
    fuser = RULES[name]()
    sources = pictures(2, infer.traits(fuser).channels, 36, 33, batch=3)
    together = fuser(*sources)
    for number in range(3):
        alone = fuser(*(x[number : number + 1] for x in sources))
        torch.testing.assert_close(together[number : number + 1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(EVERY_CHANNEL - {"mertens"}))
def test_grey_and_coloured_pictures_are_judged_alike(name: str) -> None:
    fuser = RULES[name]()
    grey = pictures(2, 1, 40, 40)
    coloured = fuser(*(x.expand(-1, 3, -1, -1) for x in grey))
    torch.testing.assert_close(coloured, fuser(*grey).expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SELECTING - {"average", "maximum"}))
@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_where_one_source_wins_its_pixels_come_out_untouched(name: str, depth: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    full = torch.iinfo(depth).max
    sharp = torch.randint(full + 1, (1, 3, 64, 64), generator=generator)
    blurred = torch.full_like(sharp, full // 2)
    near, far = sharp.clone(), sharp.clone()
    near[..., 32:], far[..., :32] = blurred[..., 32:], blurred[..., :32]
    fused = infer.fuse(RULES[name](), [near.to(depth), far.to(depth)]).long()
    for side in (slice(None, 16), slice(48, None)):
        assert torch.equal(fused[..., side], sharp[..., side])


@pytest.mark.parametrize("name", sorted(set(LOCAL) - {"dctvar"}))
def test_what_is_farther_than_the_margin_does_not_matter(name: str) -> None:
    fuser = LOCAL[name]
    facts = infer.traits(fuser)
    assert facts.margin is not None
    side = 2 * facts.margin + 25
    sources = [x.double() for x in pictures(2, facts.channels, side, side)]
    before, farthest = fuser(*sources), 0
    for place in range(side // 2 - facts.multiple // 2, side // 2 + facts.multiple // 2 + 1):
        changed = [sources[0].clone(), sources[1]]
        changed[0][..., place, place] += 3
        moved = ((fuser(*changed) - before).abs().amax((0, 1)) > 1e-9).nonzero()
        farthest = max(farthest, int((moved - place).abs().max()))
    assert facts.margin / 3 < farthest <= facts.margin


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("tile", [16, 27])
def test_tiles_join_to_the_whole(name: str, tile: int) -> None:
    sources = pictures(3, infer.traits(LOCAL[name]).channels, 61, 90)
    whole, tiled = infer.whole(LOCAL[name], sources), infer.whole(LOCAL[name], sources, tile)
    assert torch.equal(tiled, whole)


def test_the_default_sees_no_farther_than_its_margin() -> None:
    sources = [x.double() for x in pictures(2, 3, 3, 240)]
    before = RULES["gff"]()(*sources)
    sources[0][..., 1, 120] += 3
    moved = (RULES["gff"]()(*sources) - before).abs().amax((0, 1, 2)) > 1e-12
    assert 80 < (moved.nonzero() - 120).abs().max() <= 96


def test_the_default_tiles_like_the_whole() -> None:
    sources = pictures(2, 3, 30, 330)
    whole, tiled = infer.whole(RULES["gff"](), sources), infer.whole(RULES["gff"](), sources, 40)
    assert torch.equal(tiled, whole)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"dsift"}))  # whose next step depends on the values
def test_nothing_of_it_stays_on_the_cpu(name: str) -> None:
    fuser = RULES[name]()
    sources = [x.to("meta") for x in pictures(3, infer.traits(fuser).channels, 40, 44, batch=2)]
    assert fuser(*sources).device.type == "meta"


def test_no_step_of_dense_sift_stays_on_the_cpu() -> None:
    cells = [dsift.histograms(x) for x in torch.empty(2, 1, 1, 40, 44, device="meta")]
    assert dsift.surely(dsift.activity(cells)).device.type == "meta"
    assert dsift.won(cells, torch.empty(1, 2, 40, 44, device="meta")).device.type == "meta"
