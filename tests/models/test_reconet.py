"""ReCoNet: one correction by its formula, the loops that share it, its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.models.reconet import ReCoNet

Composed = Callable[..., dict[str, Any]]


def correction(w: dict[str, Tensor], a: Tensor, b: Tensor, fused: Tensor) -> Tensor:
    def normed(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"]
        )

    masks = []
    for name, x in (("attention_a", a), ("attention_b", b)):
        both = torch.cat([torch.maximum(x, fused), (x + fused) / 2], 1)
        masks.append(torch.sigmoid(F.conv2d(both, w[f"{name}.weight"], padding=1)))
    x = torch.cat([a * masks[0], fused, b * masks[1]], 1)
    seen = []
    for i, d in enumerate((1, 2, 3)):
        y = F.conv2d(x, w[f"dilated.{i}.weight"], w[f"dilated.{i}.bias"], padding=d, dilation=d)
        seen.append(normed(y, f"norms.{i}").clamp_min(0))
    return torch.tanh(normed(F.conv2d(torch.cat(seen, 1), w["output.weight"], w["output.bias"], padding=1), "norm"))


@pytest.mark.parametrize("loops", [1, 3])
def test_the_fused_picture_starts_as_the_maximum_and_is_corrected_by_the_same_layer(loops: int) -> None:
    network = ReCoNet(loops)
    claims.lively(network)
    a, b = claims.pictures(11, 15, batch=2)
    with torch.no_grad():
        wanted = torch.maximum(a, b)
        for _ in range(loops):
            wanted = correction(network.state_dict(), a, b, wanted)
        torch.testing.assert_close(network(a, b), wanted)


def test_parameters_are_those_of_the_paper() -> None:
    assert claims.parameters(ReCoNet()) == claims.parameters(ReCoNet(1)) == 7_527


def test_in_use(tmp_path: Path) -> None:
    network = ReCoNet()
    claims.lively(network, 1.0)
    claims.fits_any_size(network, ranged=False)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)
    claims.tiles_like_whole(network, 61, 50, 24)
    assert claims.reach(network, 41, [20]) == network.margin == 15
    assert ReCoNet(2).margin == 10


def test_every_parameter_learns() -> None:
    network = ReCoNet()
    claims.learns_everywhere(network, network(*claims.pictures(20, 20, batch=2)) - 0.3)


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=reconet_tno")
    assert (cfg["optim"]["optimiser"]["_target_"], cfg["optim"]["lr"]) == ("torch.optim.AdamW", 1e-3)
    assert cfg["model"]["fuser"]["loops"] == 3
    assert cfg["loss"]["intensity"]["term"]["distance"] == "l1"
