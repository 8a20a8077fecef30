"""FusionGAN's generator against plain functions, its border, its statistics, and its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gan import pictures, randomised, spectral
from torch import Tensor
from torch.nn import functional as F

from fuse import checkpoint, infer, train
from fuse.config import build
from fuse.errors import InputError
from fuse.models.fusiongan import Generator, Trunk

Composed = Callable[..., dict[str, Any]]
Tiny = Callable[..., tuple[dict[str, Any], Path]]


def layers(trunk: Trunk, x: Tensor, statistics: str) -> Tensor:
    w = trunk.state_dict()
    for i in range(4):
        x = F.conv2d(x, spectral(w[f"convs.{i}.parametrizations.weight.original"]), w[f"convs.{i}.bias"])
        mean, variance = w[f"norms.{i}.running_mean"].view(1, -1, 1, 1), w[f"norms.{i}.running_var"].view(1, -1, 1, 1)
        if statistics == "instance":
            mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt()
        x = x * w[f"norms.{i}.weight"].view(1, -1, 1, 1) + w[f"norms.{i}.bias"].view(1, -1, 1, 1)
        x = F.leaky_relu(x, 0.2)
    return x


@pytest.mark.parametrize("statistics", ["running", "instance"])
def test_generator_layer_by_layer(statistics: Any) -> None:
    network = Generator(statistics)
    randomised(network)
    ir, vi = pictures()
    x = F.pad(torch.cat([ir * 255, vi * 255], 1) / 127.5 - 1, [6] * 4, mode="replicate")
    w = network.state_dict()
    last = F.conv2d(
        layers(network.trunk, x, statistics),
        spectral(w["output.parametrizations.weight.original"]),
        w["output.bias"],
    )
    with torch.no_grad():
        torch.testing.assert_close(network(ir, vi), (127.5 * torch.tanh(last) + 127.5) / 255, rtol=1e-4, atol=1e-5)


def test_parameters_and_kernels_are_those_of_the_paper() -> None:
    network = Generator()
    assert sum(p.numel() for p in network.parameters()) == 925_633
    shapes = [tuple(layer.weight.shape) for layer in [*network.trunk.convs, network.output]]
    assert shapes == [(256, 2, 5, 5), (128, 256, 5, 5), (64, 128, 3, 3), (32, 64, 3, 3), (1, 32, 1, 1)]


def test_training_fuses_the_middle_and_use_the_whole() -> None:
    network = Generator()
    ir, vi = pictures()
    assert network(ir, vi).shape == (2, 1, 18, 22)
    assert Generator()(*pictures(height=132, width=132, batch=1)).shape == (1, 1, 120, 120)
    randomised(network)
    whole = network(ir, vi)
    assert whole.shape == (2, 1, 30, 34)
    assert whole.min() >= 0
    assert whole.max() <= 1
    for size in ((17, 23), (1, 9), (5, 40)):
        assert network(*pictures(height=size[0], width=size[1])).shape == (2, 1, *size)


def test_in_use_nothing_depends_on_the_batch() -> None:
    for statistics in ("running", "instance"):
        network = Generator(statistics)
        randomised(network)
        ir, vi = pictures(batch=3)
        with torch.no_grad():
            whole = network(ir, vi)
            torch.testing.assert_close(network(ir[1:2], vi[1:2]), whole[1:2])
            assert torch.equal(network(ir, vi), whole)
            assert whole.std() > 0.01


def test_tiles_are_the_whole() -> None:
    network = Generator()
    randomised(network)
    pair = pictures(height=45, width=60, batch=1)
    with torch.no_grad():
        torch.testing.assert_close(infer.whole(network, pair, 16), infer.whole(network, pair), rtol=0, atol=1e-6)
    assert infer.traits(network).margin == 6
    assert infer.traits(Generator("instance")).margin is None


def test_a_pixel_matters_six_pixels_away_and_no_farther() -> None:
    network = Generator().double()
    randomised(network)
    ir, vi = (x.double() for x in pictures(height=31, width=31, batch=1))
    other = ir.clone()
    other[..., 15, 15] += 0.5
    with torch.no_grad():
        moved = (network(ir, vi) - network(other, vi)).abs()[0, 0] > 1e-12
    assert (moved.nonzero() - 15).abs().max() == 6


def test_the_authors_start_is_small_and_sources_are_not_alike() -> None:
    originals = [p for name, p in Generator().named_parameters() if name.endswith("original")]
    assert max(p.abs().max().item() for p in originals) <= 0.002
    network = Generator(init_std=None)
    randomised(network)
    ir, vi = pictures()
    assert (network(ir, vi) - network(vi, ir)).abs().max() > 1e-3


@pytest.mark.usefixtures("unchecked_types")
def test_other_statistics_are_refused() -> None:
    with pytest.raises(InputError, match="statistics=batch; choose running or instance"):
        build({"_target_": "fuse.models.fusiongan.Generator", "statistics": "batch"})


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=fusiongan_tno")
    step, patches = cfg["model"]["step"], cfg["model"]["patches"]
    assert (step["critic_steps"], step["content_weight"]) == (2, 100)
    assert [step["objective"][name] for name in ("real", "fake", "fuser")] == [[0.7, 1.2], [0.0, 0.3], [0.7, 1.2]]
    assert step["critics"]["critic"]["real"]["role"] == "vi"
    assert (patches["size"], patches["stride"], patches["batch"], patches["augment"]) == (132, 14, 32, False)
    loss = cfg["loss"]
    assert loss["range"] == [-1, 1]
    assert [(loss[name]["weight"], loss[name]["term"]["role"]) for name in ("intensity", "gradient")] == [
        (1, "ir"),
        (5, "vi"),
    ]
    assert (cfg["optim"]["lr"], cfg["optim"]["optimiser"]["betas"]) == (1e-4, [0.9, 0.999])
    critic = build(cfg["model"]["critic"])
    assert sum(p.numel() for p in critic.parameters()) == 397_953
    assert critic.seen == 120


def test_a_run_trains_saves_and_loads(tiny: Tiny) -> None:
    words = ("experiment=fusiongan_tno", "data=synthetic_infrared", "debug=smoke", "data.size=48")
    cfg, out = tiny("run", *words, "model.patches.size=44")
    train.run(cfg, out)
    loaded, card = checkpoint.load(out / "last")
    assert card["step"] == 2
    pair = pictures(height=20, width=20, batch=1)
    with torch.no_grad():
        assert loaded(*pair).shape == (1, 1, 20, 20)
        assert torch.equal(loaded(*pair), loaded(*pair))
