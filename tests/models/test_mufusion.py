"""MUFusion: its layers against plain convolutions, and its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.models.mufusion import MUFusion

Composed = Callable[..., dict[str, Any]]


def plain(network: MUFusion, a: Tensor, b: Tensor) -> Tensor:
    weights = list(network.state_dict().values())
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    assert [tuple(w.shape[:2]) for w, _ in layers] == [
        (32, 2), (32, 32), (64, 64), (64, 64), (64, 128), (64, 192),
        (64, 64), (64, 128), (64, 128), (64, 128), (32, 96), (1, 64),
    ]  # fmt: skip

    def conv(number: int, *parts: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(F.pad(torch.cat(parts, 1), [1] * 4, mode="reflect"), *layers[number], stride=stride)

    def active(number: int, *parts: Tensor, stride: int = 1) -> Tensor:
        return conv(number, *parts, stride=stride).clamp_min(0)

    c1 = active(0, a, b)
    c2 = active(1, c1)
    c3 = active(2, c1, c2, stride=2)
    c4 = active(3, c3)
    c5 = active(4, c3, c4)
    c6 = active(5, c3, c4, c5)
    d3 = active(9, c3, active(8, c4, active(7, c5, active(6, c6))))
    grown = F.interpolate(d3, size=c2.shape[-2:], mode="bicubic", align_corners=False)
    return torch.tanh(conv(11, c1, active(10, c2, grown)))


def test_layers_are_those_of_the_paper() -> None:
    network = MUFusion()
    claims.lively(network, 1.0)
    a, b = claims.pictures(16, 22, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(a, b), plain(network, a, b))
    assert claims.parameters(network) == 554_721


def test_in_use(tmp_path: Path) -> None:
    network = MUFusion()
    claims.lively(network, 1.0)
    claims.fits_any_size(network, ranged=False)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)
    claims.tiles_like_whole(network, 91, 60, 32)
    assert claims.reach(network, 64, [31, 32]) == 23
    assert network.margin == 24  # the next multiple of two


def test_odd_sides_are_repeated_once() -> None:
    network = MUFusion()
    claims.lively(network, 1.0)
    given = claims.pictures(15, 21)
    grown = [F.pad(x, [0, 1, 0, 1], mode="replicate") for x in given]
    with torch.no_grad():
        torch.testing.assert_close(infer.whole(network, given), network(*grown)[..., :15, :21])


def test_every_layer_learns() -> None:
    network = MUFusion()
    claims.learns_everywhere(network, network(*claims.pictures(24, 24)) - 0.3)


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=mufusion_tno")
    assert cfg["loss"]["memory"]["term"]["importance"]["window"] == 7
    assert cfg["model"]["memory"] == cfg["model"]["fuser"]
    assert cfg["run"]["steps"] == 10 * cfg["model"]["step"]["every"]
    assert cfg["optim"]["lr"] == 1e-4
