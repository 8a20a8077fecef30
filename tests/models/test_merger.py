"""ImageMerger and its two relatives: parameters, layers against plain functions, sizes, how many sources."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.config import build
from fuse.errors import InputError
from fuse.models.merger import Merger
from fuse.models.mergersr import MergerSR


def pictures(count: int, channels: int = 3, height: int = 15, width: int = 22) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(2, channels, height, width, generator=generator) for _ in range(count)]


def conv(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)


@pytest.mark.parametrize(("sources", "channels", "count"), [(2, 3, 79_107), (3, 3, 117_763), (2, 1, 75_649)])
@pytest.mark.parametrize("kind", [Merger, MergerSR])
def test_parameters(sources: int, channels: int, count: int, kind: Callable[..., torch.nn.Module]) -> None:
    assert sum(p.numel() for p in kind(sources, channels).parameters()) == count


def test_the_critic_of_the_gan(composed: Callable[..., dict[str, Any]]) -> None:
    node = composed("train", "model=mergergan")["model"]
    critic = build(node["critic"])
    assert sum(p.numel() for p in critic.parameters()) == 675_265
    assert critic(torch.rand(2, 3, 64, 64)).shape == (2,)
    grey = composed("train", "model=mergergan", "critic=gap", "model.fuser.channels=1", "model.patches.size=48")[
        "model"
    ]
    assert build(grey["critic"])(torch.rand(2, 1, 40, 40)).shape == (2,)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_layer_by_layer(count: int) -> None:
    torch.manual_seed(0)
    made, sources = Merger(count), pictures(count)
    w = made.state_dict()
    x = torch.cat([F.relu(conv(w, f"inputs.{i}", x)) for i, x in enumerate(sources)], 1)
    torch.testing.assert_close(made(*sources), conv(w, "output", F.relu(conv(w, "merge", x))))


def test_tiles_join_to_the_whole() -> None:
    torch.manual_seed(0)
    made = Merger().eval()
    stored = [(x[:1] * 255).round().to(torch.uint8) for x in pictures(2, 3, 37, 41)]
    whole = infer.fuse(made, stored)
    assert (infer.fuse(made, stored, tile=16).int() - whole.int()).abs().max() <= 1


@pytest.mark.parametrize("kind", [Merger, MergerSR])
def test_another_number_of_sources_is_refused(kind: Callable[..., torch.nn.Module]) -> None:
    with pytest.raises(InputError, match=r"built for 2 sources and gets 3; train one with model\.fuser\.sources=3"):
        kind()(*pictures(3))


def test_features_are_enlarged_before_the_last_convolution() -> None:
    torch.manual_seed(0)
    made, (a, b) = MergerSR(scale=3, simulate=False), pictures(2, 3, 7, 9)
    w = made.merger.state_dict()
    x = F.relu(conv(w, "merge", torch.cat([F.relu(conv(w, "inputs.0", a)), F.relu(conv(w, "inputs.1", b))], 1)))
    wanted = conv(w, "output", F.interpolate(x, scale_factor=3, mode="bicubic"))
    assert wanted.shape == (2, 3, 21, 27)
    torch.testing.assert_close(made(a, b), wanted)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("size", [(15, 22), (5, 40), (2, 3)])
def test_simulated_results_are_as_large_as_the_sources(scale: int, size: tuple[int, int]) -> None:
    made, sources = MergerSR(scale=scale), pictures(2, 3, *size)
    assert made(*sources).shape == sources[0].shape
    stored = [(x[:1] * 255).round().to(torch.uint8) for x in sources]
    assert infer.fuse(made.eval(), stored).shape == (1, 3, *size)


def test_pictures_of_your_own_become_larger() -> None:
    stored = [(x[:1] * 255).round().to(torch.uint8) for x in pictures(2, 3, 9, 11)]
    assert infer.fuse(MergerSR(scale=2, simulate=False).eval(), stored).shape == (1, 3, 18, 22)
    assert infer.fuse(MergerSR(2, 1, 2, simulate=False).eval(), stored).shape == (1, 3, 18, 22)


def test_sources_are_shrunk_without_aliases() -> None:
    torch.manual_seed(0)
    made, (a, b) = MergerSR(scale=3), pictures(2, 3, 12, 18)
    small = [F.interpolate(x, (4, 6), mode="bicubic", antialias=True).clamp(0, 1) for x in (a, b)]
    wanted = made.merger.output(F.interpolate(made.merger.features(*small), (12, 18), mode="bicubic"))
    torch.testing.assert_close(made(a, b), wanted)


@pytest.mark.parametrize("kind", [Merger, MergerSR])
def test_every_parameter_learns(kind: Callable[..., torch.nn.Module]) -> None:
    made = kind()
    made(*pictures(2)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("merger.Merger", {"channels": 2}, "sources=2, channels=2; give at least 1 source, and 1 or 3 channels"),
        ("merger.Merger", {"sources": 0}, "sources=0"),
        ("mergersr.MergerSR", {"scale": 0}, "scale=0; must be at least 1"),
    ],
)
def test_settings_that_make_no_network_are_refused(name: str, settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build({"_target_": f"fuse.models.{name}", **settings})
