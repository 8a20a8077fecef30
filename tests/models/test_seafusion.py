"""SeAFusion: its layers against plain convolutions, its gradient branch, its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.models.seafusion import GradientResidual, SeAFusion

Composed = Callable[..., dict[str, Any]]


def plain(network: SeAFusion, ir: Tensor, vi: Tensor) -> Tensor:
    w = dict(network.state_dict())

    def conv(x: Tensor, name: str, groups: int = 1) -> Tensor:
        kernel = w[f"{name}.weight"]
        return F.conv2d(x, kernel, w.get(f"{name}.bias"), padding=kernel.shape[-1] // 2, groups=groups)

    def leaky(x: Tensor, slope: float = 0.2) -> Tensor:
        return torch.where(x > 0, x, slope * x)

    def encoded(x: Tensor, path: str) -> Tensor:
        x = leaky(conv(x, f"{path}.first"))
        for i, width in ((0, 16), (1, 32)):
            block = f"{path}.blocks.{i}"
            one = leaky(conv(x, f"{block}.dense1"))
            two = leaky(conv(torch.cat([x, one], 1), f"{block}.dense2"))
            dense = conv(torch.cat([x, one, two], 1), f"{block}.mix")
            edges = conv(x, f"{block}.across", width).abs() + conv(x, f"{block}.down", width).abs()
            x = leaky(dense + conv(edges, f"{block}.residual"), 0.1)
        return x

    x = torch.cat([encoded(vi, "vi"), encoded(ir, "ir")], 1)
    for i in range(3):
        x = leaky(conv(x, f"convs.{i}"))
    return torch.tanh(conv(x, "convs.3")) / 2 + 0.5


def test_layers_are_those_of_the_paper() -> None:
    network = SeAFusion()
    claims.lively(network)
    ir, vi = claims.pictures(15, 19, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(ir, vi), plain(network, ir, vi))


def test_parameters_are_those_of_the_paper() -> None:
    assert claims.parameters(SeAFusion()) == 166_883
    assert claims.parameters(SeAFusion().norms) == 226


@pytest.mark.parametrize("norm", [False, True])
def test_in_use(norm: bool) -> None:
    network = SeAFusion(norm)
    claims.lively(network)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.tiles_like_whole(network, 50, 61, 24)
    assert claims.reach(network, 25, [12]) == network.margin == 9


def test_every_layer_that_is_called_learns() -> None:
    network = SeAFusion()
    claims.learns_everywhere(network, network(*claims.pictures(24, 24)), ("norms",))
    network = SeAFusion(norm=True)
    claims.learns_everywhere(network, network(*claims.pictures(24, 24)) - 0.3)


def test_it_survives_saving(tmp_path: Path) -> None:
    claims.survives_saving(SeAFusion(norm=True), tmp_path, norm=True)


def test_the_gradient_branch_starts_as_sobel() -> None:
    block = GradientResidual(2, 3)
    ramp = torch.arange(7.0).expand(1, 2, 7, 7)
    assert block.across(ramp)[0, :, 3, 3].tolist() == [8, 8]  # (1 + 2 + 1) times a step of 2
    assert not block.down(ramp)[0, :, 2:5, 2:5].any()
    assert block.down(ramp.transpose(2, 3))[0, :, 3, 3].tolist() == [8, 8]
    assert block.across.weight.requires_grad


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=seafusion_tno")
    assert {name: term["weight"] for name, term in cfg["loss"].items() if name != "range"} == {
        "intensity": 1,
        "gradient": 10,
    }
    assert (cfg["optim"]["lr"], cfg["optim"]["schedule"]["factor"], cfg["data"]["name"]) == (1e-3, 0.75, "tno")
