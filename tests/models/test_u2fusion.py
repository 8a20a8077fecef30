"""U2Fusion: its layers against plain convolutions, and its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.models.u2fusion import U2Fusion

Composed = Callable[..., dict[str, Any]]


def plain(network: U2Fusion, a: Tensor, b: Tensor) -> Tensor:
    weights = list(network.state_dict().values())
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    wanted = [(44, 2), (44, 44), (44, 88), (44, 132), (44, 176), (44, 220), (128, 264), (64, 128), (32, 64), (1, 32)]
    assert [tuple(w.shape[:2]) for w, _ in layers] == wanted

    def conv(x: Tensor, number: int) -> Tensor:
        return F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), *layers[number])

    x = F.leaky_relu(conv(torch.cat([a, b], 1), 0), 0.2)
    for i in range(1, 6):
        x = torch.cat([F.leaky_relu(conv(x, i), 0.2), x], 1)
    for i in range(6, 9):
        x = F.leaky_relu(conv(x, i), 0.2)
    return torch.tanh(conv(x, 9)) / 2 + 0.5


def test_layers_are_those_of_the_paper() -> None:
    network = U2Fusion()
    claims.lively(network, 1.0)
    a, b = claims.pictures(13, 17, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(a, b), plain(network, a, b))
    assert claims.parameters(network) == 659_217


def test_in_use(tmp_path: Path) -> None:
    network = U2Fusion()
    claims.lively(network, 1.0)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)
    claims.tiles_like_whole(network, 50, 61, 24)
    assert claims.reach(network, 25, [12]) == network.margin == 10


def test_every_layer_learns() -> None:
    network = U2Fusion()
    claims.learns_everywhere(network, network(*claims.pictures(24, 24)) - 0.3)


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=u2fusion_tno")
    loss, step, patches = cfg["loss"], cfg["model"]["step"], cfg["model"]["patches"]
    assert {name: loss[name]["weight"] for name in ("structure", "intensity")} == {"structure": 1, "intensity": 20}
    assert loss["structure"]["term"]["importance"] == loss["intensity"]["term"]["importance"]
    assert (step["previous"], step["weight"], step["samples"]) == (None, 8e4, 30)
    assert (patches["size"], patches["swap"]) == (64, True)
    optimiser = cfg["optim"]["optimiser"]
    assert optimiser["_target_"] == "torch.optim.RMSprop"
    assert (optimiser["alpha"], optimiser["momentum"], cfg["optim"]["lr"]) == (0.6, 0.15, 1e-4)
