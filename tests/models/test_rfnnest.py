"""RFN-Nest: its fusion blocks, the stretch, what it tells in training, the feature term."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.models.rfnnest import ResidualFusion, RFNNest, feature_enhancement, stretched

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
    cost = feature_enhancement(ir, Sample((ir, vi), None, (), ("ir", "vi"), None, told))
    cost.backward()
    assert all(p.grad is not None for p in network.blocks.parameters())


def test_the_feature_term_by_hand() -> None:
    inside = {
        f"{name}{i}": torch.full((1, 2, 1, 1), value) for name, value in (("ir", 1.0), ("vi", 2.0)) for i in (1, 2)
    }
    inside |= {"fused1": torch.full((1, 2, 1, 1), 13.0), "fused2": torch.full((1, 2, 1, 1), 12.0)}
    sample = Sample((torch.zeros(1, 1, 1, 1),) * 2, None, (), ("ir", "vi"), None, inside)
    cost = feature_enhancement(torch.zeros(1, 1, 1, 1), sample, 6, 3, (2, 10))  # 6 * 1 + 3 * 2 = 12
    assert cost.item() == 2 * 1 + 10 * 0


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    loss = composed("train", "experiment=rfnnest_tno")["loss"]
    assert (loss["detail"]["weight"], loss["feature"]["weight"], loss["range"]) == (700, 1, [0, 255])
    feature = loss["feature"]["term"]
    assert (feature["ir"], feature["vi"], feature["scales"]) == (6, 3, [1, 10, 100, 1000])
