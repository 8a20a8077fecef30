"""CDDFuse: attention, gates and invertible nodes against their formulas; residuals; the decomposition term."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.config import build
from fuse.errors import InputError
from fuse.models.cddfuse import Attention, Block, CDDFuse, Detail, Gate

Composed = Callable[..., dict[str, Any]]


def test_parameters_are_those_of_the_paper() -> None:
    network = CDDFuse()
    assert claims.parameters(network) == 1_188_272
    parts = {"encoder": 599_144, "decoder": 207_936, "base": 363_016, "detail": 18_176}
    assert {name: claims.parameters(network.get_submodule(name)) for name in parts} == parts


@pytest.mark.parametrize("full", [False, True])
def test_attention_between_channels_by_its_formula(full: bool) -> None:
    attention = Attention(full)
    claims.lively(attention)
    x = torch.randn(1, 64, 5, 6, generator=torch.Generator().manual_seed(0))
    w = attention.state_dict()
    mixed = F.conv2d(F.conv2d(x, w["qkv.weight"]), w["mix.weight"], padding=1, groups=1 if full else 192)
    q, k, v = mixed.flatten(2)[0].double().numpy().reshape(3, 8, 8, 30)
    heads = []
    for head in range(8):
        a, b = (y[head] / np.linalg.norm(y[head], axis=1, keepdims=True) for y in (q, k))
        scores = np.exp(a @ b.T * w["temperature"][head].item())
        heads.append(scores / scores.sum(1, keepdims=True) @ v[head])
    wanted = F.conv2d(torch.from_numpy(np.concatenate(heads)).float().view(1, 64, 5, 6), w["output.weight"])
    torch.testing.assert_close(attention(x), wanted, rtol=1e-4, atol=1e-5)


def test_the_gate_by_its_formula() -> None:
    gate = Gate(64, 64)
    claims.lively(gate)
    w, x = gate.state_dict(), torch.randn(1, 64, 4, 4)
    hidden = F.conv2d(F.conv2d(x, w["input.weight"]), w["mix.weight"], padding=1, groups=64)
    wanted = F.conv2d(F.gelu(hidden[:, :64]) * hidden[:, 64:], w["output.weight"])
    torch.testing.assert_close(gate(x), wanted)


def test_a_block_adds_attention_and_gate_after_norms() -> None:
    block = Block()
    claims.lively(block)
    x = torch.randn(1, 64, 4, 4)
    y = x + block.attention(block.norm1(x))
    torch.testing.assert_close(block(x), y + block.gate(block.norm2(y)))
    normed = F.layer_norm(x.movedim(1, -1), (64,), block.norm1.norm.weight, block.norm1.norm.bias).movedim(-1, 1)
    torch.testing.assert_close(block.norm1(x), normed)


def test_the_detail_node_can_be_inverted() -> None:
    node = Detail()
    claims.lively(node)
    x = torch.randn(1, 64, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z1, z2 = node(x).chunk(2, 1)
        y1 = (z1 - node.eta(z2)) / node.rho(z2).exp()
        y2 = z2 - node.phi(y1)
        torch.testing.assert_close(torch.cat([y1, y2], 1), node.mix(x), rtol=1e-4, atol=1e-5)


def test_in_use(tmp_path: Path) -> None:
    network = CDDFuse()
    claims.lively(network)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)


def parts(network: CDDFuse, *sources: Tensor) -> tuple[Tensor, Tensor]:
    told = [network.encoder(x) for x in sources]
    return sum(base for base, _ in told), sum(detail for _, detail in told)


@pytest.mark.parametrize("residual", ["second", "none", "sum"])
def test_base_and_detail_are_added_fused_and_decoded_with_the_residual(residual: str) -> None:
    network = CDDFuse(residual)
    claims.lively(network)
    ir, vi = claims.pictures(12, 14)
    base, detail = parts(network, ir, vi)
    added = {"second": vi, "none": None, "sum": ir + vi}[residual]
    torch.testing.assert_close(network(ir, vi), network.decoder(network.base(base), network.detail(detail), added))
    own = network.decoder(*parts(network, ir), None if residual == "none" else ir)
    torch.testing.assert_close(network(ir), own)


def test_in_training_it_tells_base_and_detail_of_both_sources_by_number() -> None:
    network = CDDFuse()
    ir, vi = claims.pictures(12, 14, batch=2)
    _, told = network(ir, vi)
    assert sorted(told) == ["base1", "base2", "detail1", "detail2"]
    for i, x in ((1, ir), (2, vi)):
        base, detail = network.encoder(x)
        torch.testing.assert_close(told[f"base{i}"], base)
        torch.testing.assert_close(told[f"detail{i}"], detail)
    assert sorted(network(ir)[1]) == ["base", "detail"]
    claims.learns_everywhere(network, network(ir, vi)[0])


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_residual_is_refused() -> None:
    with pytest.raises(InputError, match="residual 'vi' is not known; choose second, none or sum"):
        build({"_target_": "fuse.models.cddfuse.CDDFuse", "residual": "vi"})


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=cddfuse_tno")
    loss, step = cfg["loss"], cfg["model"]["step"]
    assert {name: loss[name]["weight"] for name in step["first"]} == {
        "pixel": 1, "structure": 5, "edges": 5, "decomposition": 2,
    }  # fmt: skip
    assert {name: loss[name]["weight"] for name in step["second"]} == {
        "intensity": 1, "gradient": 10, "decomposition": 2,
    }  # fmt: skip
    assert (cfg["optim"]["lr"], cfg["optim"]["clip"]) == (1e-4, 0.01)
    assert (round(step["until"] * step["steps"]), cfg["run"]["steps"]) == (2000, 6000)
