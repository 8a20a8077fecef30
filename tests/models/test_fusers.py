"""What holds for every fuser, rules and networks alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse import checkpoint, infer
from fuse.config import build
from fuse.models.average import Average, Maximum
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet
from fuse.models.mffgan import Discriminator, Generator
from fuse.models.pyramid import Laplacian

# The other models are counted in the file of tests that each of them has.
PARAMETERS = {"mffgan": 40_033, "densefuse": 74_193, "fusionnet": 1_702_211}
ALL: dict[str, Callable[[], nn.Module]] = {
    "mffgan": lambda: Generator(init_std=None),  # the paper's start is too small to see far with
    "densefuse": DenseFuse,
    "densefuse max": lambda: DenseFuse("max"),
    "fusionnet": FusionNet,
    "fusionnet residual": lambda: FusionNet(residual=True),
    "average": Average,
    "maximum": Maximum,
    "laplacian": Laplacian,
    "laplacian 2": lambda: Laplacian(2),
}
RANGED = {"mffgan", "fusionnet", "average", "maximum"}  # networks that end in tanh or sigmoid; weights
FIXED = {"average", "maximum", "laplacian", "laplacian 2"}


def made(name: str) -> nn.Module:
    torch.manual_seed(1)
    return ALL[name]()


def sources(fuser: nn.Module, height: int, width: int, count: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    channels = infer.traits(fuser).channels
    return [torch.rand(1, channels, height, width, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_paper(name: str, composed: Callable[..., dict[str, Any]]) -> None:
    fuser = build(composed("train", f"model={name}")["model"]["fuser"])
    assert sum(p.numel() for p in fuser.parameters()) == PARAMETERS[name]


def test_the_critic_of_mffgan_has_the_parameters_of_the_paper() -> None:
    assert sum(p.numel() for p in Discriminator().parameters()) == 389_761


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(17, 23), (5, 40), (32, 32)])
def test_any_size_gives_a_picture_or_weights_of_that_size(name: str, size: tuple[int, int]) -> None:
    fuser = made(name)
    pictures = sources(fuser, *size)
    with torch.no_grad():
        result = fuser(*pictures)
    facts = infer.traits(fuser)
    assert result.shape == (1, 2 if facts.selects else facts.channels, *size)
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    if name in RANGED:
        assert result.min() >= 0
        assert result.max() <= 1
    if facts.selects:
        torch.testing.assert_close(result.sum(1), torch.ones(1, *size))


@pytest.mark.parametrize("name", sorted(set(ALL) - FIXED))
def test_every_parameter_gets_a_gradient(name: str) -> None:
    fuser = made(name)
    fuser(*sources(fuser, 24, 24)).square().mean().backward()
    for parameter in fuser.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any()


@pytest.mark.parametrize("name", sorted(set(ALL) - FIXED))
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    fuser = made(name)
    arguments = {"densefuse max": {"rule": "max"}, "fusionnet residual": {"residual": True}}.get(name, {})
    node = {"_target_": f"{type(fuser).__module__}.{type(fuser).__name__}", **arguments}
    checkpoint.save(tmp_path / "c", {"fuser": fuser}, {"fuser": node}, {}, {})
    loaded, _ = checkpoint.load(tmp_path / "c")
    pictures = sources(fuser, 20, 20)
    assert not loaded.training
    assert torch.equal(loaded(*pictures), fuser(*pictures))


def reach(fuser: nn.Module, side: int, place: int) -> int:
    """How many pixels away the result changes when one pixel of any source does."""
    pictures = [x.double() for x in sources(fuser, side, side)]
    with torch.no_grad():
        before, farthest = fuser(*pictures), 0
        for changed in range(len(pictures)):
            others = [x.clone() for x in pictures]
            others[changed][..., place, place] += 0.5
            moved = (fuser(*others) - before).abs().amax((0, 1)) > 1e-12
            farthest = max(farthest, int((moved.nonzero() - place).abs().max()) if moved.any() else 0)
    return farthest


@pytest.mark.parametrize(
    ("name", "margin", "seen"),
    [
        ("mffgan", 5, 5),
        ("densefuse", 9, 9),
        ("densefuse max", 9, 8),  # the block of the l1 rule is the ninth pixel
        ("fusionnet", 11, 11),
        ("fusionnet residual", 11, 11),
        ("average", 0, 0),
        ("maximum", 0, 0),
        ("laplacian 2", 16, 12),  # two blurs of 2 pixels at 1 and 2, and twice one coarse sample of 2 and 4
    ],
)
def test_what_is_farther_than_the_margin_does_not_matter(name: str, margin: int, seen: int) -> None:
    fuser = made(name).double()
    assert infer.traits(fuser).margin == margin
    side = 2 * margin + 9
    places = range(margin + 3, margin + 3 + fuser.multiple) if "laplacian" in name else [side // 2]
    assert max(reach(fuser, side, place) for place in places) == seen


def test_the_default_pyramid_sees_no_farther_than_its_margin() -> None:
    fuser = Laplacian()
    assert fuser.margin == 64
    assert 48 < max(reach(fuser, 224, place) for place in (96, 104, 109, 111)) <= 64


@pytest.mark.parametrize("name", ["densefuse", "densefuse max", "average", "maximum", "laplacian"])
def test_three_sources_in_any_order_give_the_same_picture(name: str) -> None:
    fuser = made(name)
    pictures = sources(fuser, 30, 34, count=3)
    results = []
    for order in (pictures, pictures[::-1], pictures[1:] + pictures[:1]):
        with torch.no_grad():
            result = fuser(*order)
        results.append(infer.sum_weighted(result, order) if infer.traits(fuser).selects else result)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["fusionnet residual", "average", "maximum", "laplacian", "laplacian 2"])
def test_identical_sources_come_out_unchanged(name: str) -> None:
    fuser = made(name)
    if name == "fusionnet residual":
        nn.init.zeros_(fuser.get_parameter("output.weight"))
        nn.init.zeros_(fuser.get_parameter("output.bias"))
    picture = sources(fuser, 37, 41, count=1)[0]
    result = fuser(picture, picture)
    if infer.traits(fuser).selects:
        result = infer.sum_weighted(result, [picture, picture])
    torch.testing.assert_close(result, picture, rtol=0, atol=1e-6)
