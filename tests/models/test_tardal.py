"""TarDAL's generator with plain functions, its targets by hand, and its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gan import pictures, randomised
from torch import Tensor
from torch.nn import functional as F

from fuse import checkpoint, infer, train
from fuse.config import build, check
from fuse.data.sample import Sample
from fuse.models.tardal import Generator, background, targets
from fuse.train import recipe

Composed = Callable[..., dict[str, Any]]


def layer(x: Tensor, w: dict[str, Tensor], name: str, norm: bool = True) -> Tensor:
    x = F.conv2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"], padding=1)
    if norm:
        mean, variance, scale, shift = (
            w[f"{name}.1.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (variance + 1e-5).sqrt() * scale + shift
    return x.relu()


def test_generator_layer_by_layer() -> None:
    network = Generator().double()
    randomised(network)
    w = network.state_dict()
    ir, vi = (x.double() for x in pictures())
    x = layer(torch.cat([ir, vi], 1), w, "first")
    for i in range(3):
        x = torch.cat([x, layer(x, w, f"dense.{i}")], 1)
    assert x.shape[1] == 128
    for i in range(3):
        x = layer(x, w, f"decoder.{i}", norm=i > 0)
    wanted = F.conv2d(x, w["output.weight"], w["output.bias"], padding=1).tanh()
    torch.testing.assert_close(network(ir, vi), wanted.clamp(0, 1))
    assert wanted.min() < 0 < wanted.max()


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in Generator().parameters()) == 296_577


def test_what_tanh_makes_negative_still_learns() -> None:
    network = Generator()
    torch.nn.init.constant_(network.output.bias, -9)
    fused = network(*pictures())
    assert fused.max() < -0.9
    fused.mean().backward()
    assert network.output.bias.grad is not None
    assert network.output.bias.grad > 0
    assert network.eval()(*pictures()).max() == 0


def test_sizes_determinism_and_tiles() -> None:
    network = Generator().double()
    randomised(network)
    with torch.no_grad():
        for size in ((17, 23), (5, 40)):
            assert network(*(x.double() for x in pictures(height=size[0], width=size[1]))).shape == (2, 1, *size)
        ir, vi = (x.double() for x in pictures(height=45, width=50))
        whole = network(ir, vi)
        torch.testing.assert_close(network(ir[:1], vi[:1]), whole[:1])
        assert torch.equal(network(ir, vi), whole)
        torch.testing.assert_close(infer.whole(network, [ir, vi], 16), whole)
        other = ir.clone()
        other[..., 22, 25] += 1
        reached = (network(other, vi) != whole)[0, 0].nonzero() - torch.tensor([22, 25])
    assert 0 < reached.abs().max() <= infer.traits(network).margin == 8


def test_targets_are_what_is_warmer_than_its_surroundings() -> None:
    ir = torch.full((1, 1, 32, 32), 0.3)
    ir[..., 10:14, 20:23] = 0.9  # a hot target
    ir[..., 20:28, 4:12] = 0.1  # something cold
    sample = Sample((ir, ir), None, (), ("ir", "vi"))
    mask = targets(sample, "ir")
    assert mask.shape == ir.shape
    assert (mask.min(), mask.max()) == (0, 1)
    assert mask[..., 10:14, 20:23].min() > 0.8
    assert mask[..., 21:27, 5:11].max() == 0  # off centre
    assert mask[..., 0:5, 0:5].max() < 0.05
    torch.testing.assert_close(background(sample, "ir"), 1 - mask)


def test_targets_by_hand() -> None:
    """Of 32 pixels: half widths 2, 4, 8 and 16, means over what is inside the picture."""
    ir = pictures(1, 32, 36, 1)[0]
    total = torch.zeros(32, 36)
    for half in (2, 4, 8, 16):
        for y, x in ((0, 0), (5, 9), (31, 20), (16, 18)):
            around = ir[0, 0, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
            total[y, x] += max(0.0, (ir[0, 0, y, x] - around.mean()).item())
    mask = targets(Sample((ir,), None, (), ("ir",)), "ir")[0, 0]
    places = [(0, 0), (5, 9), (31, 20), (16, 18)]
    by_hand, found = (torch.stack([m[place] for place in places]) for m in (total, mask))
    order = by_hand.argsort()
    spread = (by_hand - by_hand[order[0]]) / (by_hand[order[-1]] - by_hand[order[0]])
    seen = (found - found[order[0]]) / (found[order[-1]] - found[order[0]])
    torch.testing.assert_close(seen, spread, rtol=1e-4, atol=1e-5)  # up to the smallest and largest value


def test_a_flat_picture_has_no_targets() -> None:
    for level in (0.0, 0.3, 1.0):
        flat = torch.full((2, 1, 20, 24), level)
        assert targets(Sample((flat,), None, (), ("ir",)), "ir").abs().max() == 0


def test_the_loss_by_hand(composed: Composed) -> None:
    """Weights 0.5 + 0.5 (S_ir - S_vi) for infrared, whose rare level has S = 1; S of a flat picture is 0."""
    loss = recipe(composed("train", "model=tardal", "data=tno")["loss"])
    ir, vi = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    ir[..., 0] = 1  # 16 bright pixels: S = 1; of the 240 dark ones: S = 16 / 240
    fused = torch.full_like(ir, 0.5)
    _, terms = loss(fused, Sample((ir, vi), None, (), ("ir", "vi")))
    weight = torch.full((16, 16), 0.5 + 0.5 * 16 / 240)
    weight[:, 0] = 1.0
    assert terms["intensity"].item() == pytest.approx((weight * 0.5).mean().item(), rel=1e-4)


def test_the_recipe_is_that_of_the_authors(composed: Composed) -> None:
    cfg = composed("train", "experiment=tardal_roadscene")
    model, step = cfg["model"], cfg["model"]["step"]
    assert model["critic"] == model["detail_critic"]
    critic = build(model["critic"] | {"patch": 224})
    assert sum(p.numel() for p in critic.parameters()) == 193_025
    assert (step["penalty"]["weight"], step["penalty"]["power"], step["penalty"]["target"]) == (2, 6, 0)
    assert [step["critics"][name]["weight"] for name in ("critic", "detail_critic")] == [0.1, 0.1]
    assert (step["critic_steps"], step["content_weight"]) == (1, 1)
    assert step["critics"]["critic"]["real"]["role"] == "ir"
    assert step["critics"]["detail_critic"]["real"]["role"] == "vi"
    assert {name: cfg["loss"][name]["weight"] for name in ("ssim", "intensity")} == {"ssim": 1, "intensity": 20}
    assert (cfg["optim"]["lr"], cfg["optim"]["optimiser"]["_target_"]) == (1e-4, "torch.optim.RMSprop")


def test_another_adversary_takes_both_critics(composed: Composed) -> None:
    cfg = composed("train", "model=tardal", "data=tno", "critic=hinge")
    assert check(cfg) == []
    assert cfg["model"]["critic"]["spectral"] is cfg["model"]["detail_critic"]["spectral"] is True
    gp = composed("train", "model=tardal", "data=tno", "critic=wgan_gp")
    assert check(gp) == []
    build(gp["optim"]["optimiser"], params=Generator().parameters(), lr=1e-4)


def test_a_run_trains_saves_and_loads(tiny: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    cfg, out = tiny("run", "experiment=tardal_roadscene", "data=synthetic_infrared", "debug=smoke")
    train.run(cfg, out)
    loaded, _ = checkpoint.load(out / "last")
    with torch.no_grad():
        assert loaded(*pictures(height=20, width=20, batch=1)).shape == (1, 1, 20, 20)
    header = (out / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"critic", "detail_critic", "adversarial", "ssim", "intensity"} <= set(header)
