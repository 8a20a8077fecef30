"""After AttentionFGAN: its maps, what they reach and what never reaches them, its terms by hand, its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gan import pictures, randomised
from torch import Tensor
from torch.nn import functional as F

from fuse import checkpoint, infer, train
from fuse.config import build
from fuse.data.sample import Sample
from fuse.losses.terms import laplacian
from fuse.models.attentionfgan import Attention, Generator, attended, attention


def made() -> Generator:
    network = Generator(None)
    randomised(network)
    return network


def sample(**inside: Tensor) -> Sample:
    ir, vi = pictures()
    return Sample((ir, vi), None, (), ("ir", "vi"), None, inside)


def test_parameters_are_fusiongan_s_with_two_inputs_more_and_two_small_networks() -> None:
    network = Generator()
    small = sum(p.numel() for p in Attention().parameters())
    assert small == 160 + 2320 + 577
    assert sum(p.numel() for p in network.parameters()) == 925_633 + 2 * 256 * 25 + 2 * small == 944_547


def test_a_map_by_plain_functions() -> None:
    network = Attention()
    randomised(network)
    w = network.state_dict()
    source = 2 * pictures(1)[0] - 1

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(F.pad(x, [1] * 4, "replicate"), w[f"{name}.weight"], w[f"{name}.bias"])

    x = F.leaky_relu(conv(F.leaky_relu(conv(source, "convs.0"), 0.2), "convs.1"), 0.2)
    whole = x.mean((2, 3), keepdim=True).expand_as(x)
    cells = [F.interpolate(F.adaptive_avg_pool2d(x, n), x.shape[-2:], mode="bilinear") for n in (2, 4)]
    torch.testing.assert_close(network(source), conv(torch.cat([x, whole, *cells], 1), "output").sigmoid())


def test_training_tells_the_maps_of_the_middle_and_use_fuses_the_whole() -> None:
    network = made()
    ir, vi = pictures()
    with torch.no_grad():
        maps = network.ir(2 * ir - 1), network.vi(2 * vi - 1)
        fused, inside = network.train()(ir, vi)
        assert fused.shape == (2, 1, 18, 22)
        for name, found in zip(("attention_ir", "attention_vi"), maps, strict=True):
            assert torch.equal(inside[name], found[..., 6:-6, 6:-6])
        network.eval()
        whole = network(ir, vi)
        assert whole.shape == ir.shape
        assert 0 <= whole.min() < whole.max() <= 1
        torch.testing.assert_close(network(ir[:1], vi[:1]), whole[:1])
        assert torch.equal(network(ir, vi), whole)
        for size in ((17, 23), (5, 40)):
            assert network(*pictures(height=size[0], width=size[1])).shape == (2, 1, *size)
    assert infer.traits(network).margin is None


def test_maps_matter_everywhere() -> None:
    network = made().double()
    ir, vi = (x.double() for x in pictures(height=40, width=40, batch=1))
    other = ir.clone()
    other[..., 0, 0] += 1
    with torch.no_grad():
        assert (network(other, vi) - network(ir, vi))[..., -1, -1].abs().item() > 0


def test_terms_by_hand_and_their_gradient() -> None:
    weight = torch.rand(2, 1, 30, 34, generator=torch.Generator().manual_seed(1)).requires_grad_()
    seen = sample(attention_vi=weight)
    fused = pictures(1, 30, 34)[0].flip(-1).requires_grad_()
    vi = seen.role("vi")
    plain = attended(fused, seen, "vi", "attention_vi")
    assert plain.item() == pytest.approx((weight * (fused - vi) ** 2).sum().item() / weight.sum().item(), rel=1e-5)
    edges = attended(fused, seen, "vi", "attention_vi", "laplacian")
    wanted = (weight * (laplacian(fused) - laplacian(vi)) ** 2).sum() / weight.sum()
    assert edges.item() == pytest.approx(wanted.item(), rel=1e-5)
    (plain + edges + attention(seen, "attention_vi").sum()).backward()
    assert fused.grad is not None
    assert fused.grad.any()
    assert weight.grad is None  # the maps cannot please a loss or a critic by being 0
    flat = sample(attention_vi=torch.full((2, 1, 30, 34), 0.3))
    assert attended(fused, flat, "vi", "attention_vi").item() == pytest.approx(F.mse_loss(fused, vi).item(), rel=1e-5)


def test_the_recipe(composed: Callable[..., dict[str, Any]]) -> None:
    cfg = composed("train", "experiment=attentionfgan_tno")
    loss, step = cfg["loss"], cfg["model"]["step"]
    named = ("intensity", "intensity_auxiliary", "gradient", "gradient_auxiliary")
    assert [loss[name]["weight"] for name in named] == [1, 0.4, 5, 4]
    assert [loss[name]["term"]["role"] for name in named] == ["ir", "vi", "vi", "ir"]
    assert all(loss[name]["term"]["name"] == f"attention_{loss[name]['term']['role']}" for name in named)
    assert set(step["critics"]) == {"critic", "detail_critic"}
    assert cfg["model"]["critic"] == cfg["model"]["detail_critic"]
    assert sum(p.numel() for p in build(cfg["model"]["critic"]).parameters()) == 397_953


def test_a_run_trains_saves_and_loads_and_the_maps_learn(tiny: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    words = ("experiment=attentionfgan_tno", "data=synthetic_infrared", "debug=smoke", "data.size=48")
    cfg, out = tiny("run", *words, "model.patches.size=44")
    torch.manual_seed(0)
    before = build(cfg["model"]["fuser"]).ir.convs[0].weight
    train.run(cfg, out)
    loaded, _ = checkpoint.load(out / "last")
    assert not torch.equal(loaded.ir.convs[0].weight, before)
    with torch.no_grad():
        assert loaded(*pictures(height=20, width=20, batch=1)).shape == (1, 1, 20, 20)
