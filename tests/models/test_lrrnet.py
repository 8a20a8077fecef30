"""LRRNet: the unrolled decomposition by its formula, the stretch of sources and result, its recipes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.models.lrrnet import Decomposition, LRRNet, shrink

Composed = Callable[..., dict[str, Any]]


def test_shrink_by_hand() -> None:
    x = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 2.0]]).repeat(2, 1).view(1, 2, 1, 5)
    wanted = [[-1.0, 0.0, 0.0, 0.0, 1.0], [-1.75, -0.25, 0.0, 0.25, 1.75]]
    assert shrink(x, torch.tensor([1.0, -0.25]))[0, :, 0].tolist() == wanted


def conv(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), w[f"{name}.weight"], w[f"{name}.bias"])


def coded(x: Tensor, w: dict[str, Tensor], path: str) -> Tensor:
    limit = w[f"{path}threshold"].abs().view(1, 256, 1, 1)

    def soft(z: Tensor) -> Tensor:
        return z.sign() * (z.abs() - limit).clamp_min(0)

    z = soft(conv(x, w, f"{path}start"))
    for i in range(4):
        residual = x - conv(z, w, f"{path}synthesis.{i}")
        z = soft(w[f"{path}keep"] * z + conv(residual, w, f"{path}analysis.{i}"))
    return z


def test_the_decomposition_by_its_formula() -> None:
    layer = Decomposition()
    claims.lively(layer)
    x = claims.pictures(9, 12, 1)[0]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), coded(x, layer.state_dict(), ""))


def test_parts_are_joined_as_in_the_paper() -> None:
    network = LRRNet()
    claims.lively(network)
    w, (ir, vi) = network.state_dict(), claims.pictures(9, 12)
    ir, vi = 0.2 + 0.5 * ir, 0.9 * vi
    with torch.no_grad():
        parts = {}
        for name, x in (("ir", ir), ("vi", vi)):
            z = coded((x - x.min()) / (x.max() - x.min()), w, f"{name}.")
            parts[name] = conv(z[:, :128], w, f"low_{name}"), conv(z[:, 128:], w, f"sparse_{name}")
        low, sparse = (torch.cat([parts["ir"][i], parts["vi"][i]], 1) for i in (0, 1))
        fused = conv(low, w, "low") + conv(sparse, w, "sparse")
        wanted = (fused - fused.min()) / (fused.max() - fused.min())
        torch.testing.assert_close(network(ir, vi), wanted, rtol=1e-4, atol=1e-5)


def test_in_use(tmp_path: Path) -> None:
    network = LRRNet()
    claims.lively(network)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)
    assert claims.parameters(network) == 49_204


def test_brightness_and_contrast_of_the_sources_do_not_matter() -> None:
    network = LRRNet()
    claims.lively(network)
    ir, vi = claims.pictures(20, 20)
    with torch.no_grad():
        torch.testing.assert_close(network(0.5 * ir + 0.2, vi), network(ir, vi), rtol=1e-3, atol=1e-4)


def test_every_parameter_learns() -> None:
    network = LRRNet()
    claims.learns_everywhere(network, network(*claims.pictures(20, 20)) - 0.3)


def test_the_recipes(composed: Composed) -> None:
    cfg = composed("train", "experiment=lrrnet_tno", "loss=lrrnet_vgg16")
    loss = cfg["loss"]
    assert [loss[name]["weight"] for name in ("pixel", "shallow", "middle", "deep")] == [10, 1.5, 1, 2000]
    assert loss["middle"]["term"]["shares"] == {"ir": 3.0, "vi": 0.5}
    assert loss["middle"]["term"]["layers"] == {"relu2_2": 0.01, "relu3_3": 0.5}
    assert (cfg["optim"]["lr"], cfg["optim"]["optimiser"]["weight_decay"]) == (1e-5, 0.9)
    assert composed("train", "experiment=lrrnet_tno")["loss"]["range"] == [0, 255]
