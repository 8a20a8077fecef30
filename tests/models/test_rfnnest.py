"""RFN-Nest: its fusion blocks, the stretch, what it tells in training, the feature term."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.models.rfnnest import ResidualFusion, RFNNest, stretched

Composed = Callable[..., dict[str, Any]]


def test_a_block_is_that_of_the_paper() -> None:
    block = ResidualFusion(6)
    claims.lively(block, 1.4)
    w = block.state_dict()

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = w[f"{name}.0.weight"]
        x = F.pad(x, [kernel.shape[-1] // 2] * 4, mode="reflect")
        return F.conv2d(x, kernel, w[f"{name}.0.bias"]).clamp_min(0)

    ir, vi = torch.rand(2, 1, 6, 9, 7)
    branch = torch.cat([conv(ir, "ir"), conv(vi, "vi")], 1)
    for i in range(3):
        branch = conv(branch, f"branch.{i}")
    torch.testing.assert_close(block(ir, vi), conv(torch.cat([ir, vi], 1), "start") + branch)


def test_parameters_are_those_of_the_paper() -> None:
    network = RFNNest()
    assert claims.parameters(network.blocks) == 4_791_488
    assert claims.parameters(network.autoencoder) == 2_732_761


def test_in_use(tmp_path: Path) -> None:
    network = RFNNest()
    claims.lively(network, 1.4)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)


def test_the_result_is_stretched_picture_by_picture() -> None:
    x = torch.tensor([[2.0, 6.0], [0.0, 0.5]]).view(2, 1, 1, 2)
    torch.testing.assert_close(stretched(x), torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(2, 1, 1, 2))
    assert not stretched(torch.full((1, 1, 2, 2), 3.0)).any()
    network = RFNNest().eval()
    with torch.no_grad():
        fused = network(*claims.pictures(24, 24, batch=2))
    assert fused.amin((1, 2, 3)).tolist() == [0, 0]
    torch.testing.assert_close(fused.amax((1, 2, 3)), torch.ones(2))


def test_one_source_goes_through_the_auto_encoder_alone() -> None:
    network = RFNNest()
    claims.lively(network, 1.4)
    picture = claims.pictures(24, 24, 1)[0]
    torch.testing.assert_close(network(picture), network.autoencoder(picture))


def test_in_training_it_tells_the_features_of_every_scale() -> None:
    network = RFNNest()
    ir, vi = claims.pictures(32, 48)
    _, told = network(ir, vi)
    assert sorted(told) == sorted(f"{name}{i}" for name in ("ir", "vi", "fused") for i in range(1, 5))
    for i, (told_ir, told_vi) in enumerate(zip(*map(network.autoencoder.encode, (255 * ir, 255 * vi)), strict=True), 1):
        torch.testing.assert_close(told[f"ir{i}"], told_ir)
        torch.testing.assert_close(told[f"fused{i}"], network.blocks[i - 1](told_ir, told_vi))
    sum(told[f"fused{i}"].mean() for i in range(1, 5)).backward()
    assert all(p.grad is not None for p in network.blocks.parameters())


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    loss = composed("train", "experiment=rfnnest_tno")["loss"]
    assert (loss["detail"]["weight"], loss["range"]) == (700, [0, 255])
    for i, weight in enumerate((1, 10, 100, 1000), 1):
        term = loss[f"feature{i}"]["term"]
        assert (loss[f"feature{i}"]["weight"], term["made"]) == (weight, f"fused{i}")
        assert term["shares"] == {f"ir{i}": 6, f"vi{i}": 3}
