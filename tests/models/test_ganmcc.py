"""GANMcC's two paths against FusionGAN's trunk, and its recipe of one critic with two outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gan import pictures, randomised, spectral
from torch.nn import functional as F

from fuse import checkpoint, infer, train
from fuse.config import build
from fuse.models.ganmcc import Generator


def test_two_paths_and_each_twice() -> None:
    network = Generator()
    randomised(network)
    ir, vi = pictures()
    x, y = (F.pad(p * 255 / 127.5 - 1, [6] * 4, mode="replicate") for p in (ir, vi))
    w = network.state_dict()
    first, second = network.ir(torch.cat([x, x, y], 1)), network.vi(torch.cat([y, y, x], 1))
    last = F.conv2d(
        torch.cat([first, second, first, second], 1),
        spectral(w["output.parametrizations.weight.original"]),
        w["output.bias"],
    )
    torch.testing.assert_close(network(ir, vi), (torch.tanh(last) + 1) / 2, rtol=1e-4, atol=1e-5)


def test_parameters_are_those_of_the_paper() -> None:
    network = Generator()
    assert sum(p.numel() for p in network.parameters()) == 1_864_129
    assert network.ir.convs[0].weight.shape == network.vi.convs[0].weight.shape == (256, 3, 5, 5)
    assert network.output.weight.shape == (1, 128, 1, 1)


def test_sizes_determinism_and_tiles() -> None:
    network = Generator()
    assert network(*pictures()).shape == (2, 1, 18, 22)
    randomised(network)
    with torch.no_grad():
        for size in ((17, 23), (5, 40)):
            assert network(*pictures(height=size[0], width=size[1])).shape == (2, 1, *size)
        ir, vi = pictures(batch=2)
        whole = network(ir, vi)
        torch.testing.assert_close(network(ir[:1], vi[:1]), whole[:1])
        assert torch.equal(network(ir, vi), whole)
        assert 0 <= whole.min() < whole.max() <= 1
        pair = pictures(height=45, width=50, batch=1)
        torch.testing.assert_close(infer.whole(network, pair, 16), infer.whole(network, pair), rtol=0, atol=1e-6)
    assert infer.traits(network).margin == 6
    assert infer.traits(Generator("instance")).margin is None


def test_the_recipe_is_that_of_the_paper(composed: Callable[..., dict[str, Any]]) -> None:
    cfg = composed("train", "experiment=ganmcc_tno")
    step, loss = cfg["model"]["step"], cfg["loss"]
    assert [view["role"] for view in step["critics"]["critic"]["real"]] == ["vi", "ir"]
    assert (step["critic_steps"], step["content_weight"]) == (2, 100)
    named = ("intensity", "intensity_auxiliary", "gradient", "gradient_auxiliary")
    assert [loss[name]["weight"] for name in named] == [1, 0.4, 5, 4]
    assert [loss[name]["term"]["role"] for name in named] == ["ir", "vi", "vi", "ir"]
    assert (loss["range"], cfg["optim"]["lr"]) == ([-1, 1], 1e-4)
    critic = build(cfg["model"]["critic"])
    assert sum(p.numel() for p in critic.parameters()) == 407_170
    assert critic(torch.rand(3, 1, 120, 120)).shape == (3, 2)


def test_a_run_trains_saves_and_loads(tiny: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    words = ("experiment=ganmcc_tno", "data=synthetic_infrared", "debug=smoke", "data.size=48", "model.patches.size=44")
    cfg, out = tiny("run", *words)
    train.run(cfg, out)
    loaded, _ = checkpoint.load(out / "last")
    assert loaded(*pictures(height=20, width=20, batch=1)).shape == (1, 1, 20, 20)
