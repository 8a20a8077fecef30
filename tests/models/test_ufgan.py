"""UFGAN's U-Net: its counts, one small net with plain functions, how far it sees, its residuals, its recipe."""

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
from fuse.errors import InputError
from fuse.models.ufgan import Generator

SMALL = (4, 6, 8)
TARGET = "fuse.models.ufgan.Generator"


def made(**settings: Any) -> Generator:
    torch.manual_seed(0)
    network = Generator(SMALL, **settings).double()
    randomised(network)
    return network


def pair(height: int = 24, width: int = 32, batch: int = 2) -> list[Tensor]:
    return [x.double() for x in pictures(height=height, width=width, batch=batch)]


def test_parameters_are_those_of_the_project_and_the_light_variant_is_a_quarter() -> None:
    networks = Generator(), Generator((32, 64, 128, 256, 512))
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [31_044_865, 7_766_657]


@pytest.mark.parametrize("residual", ["none", "mean", "blocks"])
def test_layer_by_layer(residual: Any) -> None:
    network = made(residual=residual)
    parts = dict(network.named_modules())

    def conv(x: Tensor, name: str) -> Tensor:
        layer = parts[name]
        if residual == "mean" and name == "output":
            return F.conv2d(x, layer.get_parameter("weight"), layer.get_parameter("bias"))
        weight = layer.get_parameter("parametrizations.weight.original").detach()
        rows = weight.transpose(0, 1).flatten(1) if name.startswith("rises") else weight.flatten(1)
        weight = weight / torch.linalg.matrix_norm(rows, 2)
        if name.startswith("rises"):
            return F.conv_transpose2d(x, weight, layer.get_parameter("bias"), 2)
        return F.conv2d(F.pad(x, [weight.shape[-1] // 2] * 4, "reflect"), weight, layer.get_parameter("bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        layer = parts[name]
        mean, variance, scale, shift = (
            value.view(1, -1, 1, 1)
            for value in (
                layer.get_buffer("running_mean"),
                layer.get_buffer("running_var"),
                layer.get_parameter("weight"),
                layer.get_parameter("bias"),
            )
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    def stage(x: Tensor, name: str, activation: Callable[[Tensor], Tensor] = leaky) -> Tensor:
        inner = activation(norm(conv(x, f"{name}.convs.0"), f"{name}.norms.0"))
        inner = norm(conv(inner, f"{name}.convs.1"), f"{name}.norms.1")
        return activation(inner + conv(x, f"{name}.shortcut") if residual == "blocks" else inner)

    ir, vi = pair()
    x = 2 * torch.cat([ir, vi], 1) - 1
    first = stage(x, "encoder.0")
    second = stage(F.max_pool2d(first, 2), "encoder.1")
    y = stage(F.max_pool2d(second, 2), "encoder.2")
    y = stage(torch.cat([second, leaky(norm(conv(y, "rises.0.conv"), "rises.0.norm"))], 1), "decoder.0")
    y = torch.cat([first, leaky(norm(conv(y, "rises.1.conv"), "rises.1.norm"))], 1)
    y = conv(stage(y, "decoder.1", torch.tanh), "output").tanh()
    if residual == "mean":
        y = (ir + vi - 1 + y).clamp(-1, 1)
    torch.testing.assert_close(network(ir, vi), (y + 1) / 2, rtol=1e-6, atol=1e-7)


def test_pictures_of_any_size_are_padded_for_it() -> None:
    network = made()
    assert (infer.traits(network).multiple, Generator(SMALL, "instance").margin) == (8, None)
    with torch.no_grad():
        for size in ((17, 23), (5, 40), (8, 8)):
            result = infer.whole(network, pair(*size, batch=1))
            assert result.shape == (1, 1, *size)
            assert 0 <= result.min() < result.max() <= 1


def test_in_use_nothing_depends_on_the_batch() -> None:
    for norm in ("batch", "instance"):
        network = made(norm=norm)
        ir, vi = pair()
        with torch.no_grad():
            whole = network(ir, vi)
            torch.testing.assert_close(network(ir[:1], vi[:1]), whole[:1])
            assert torch.equal(network(ir, vi), whole)


def test_tiles_are_the_whole_and_no_pixel_reaches_beyond_the_margin() -> None:
    network = made()
    margin = infer.traits(network).margin
    assert margin == 24
    ir, vi = pair(72, 72, batch=1)
    farthest = 0
    with torch.no_grad():
        whole = infer.whole(network, [ir, vi])
        torch.testing.assert_close(infer.whole(network, [ir, vi], 16), whole, rtol=0, atol=1e-12)
        for place in (35, 36, 37, 38):
            other = ir.clone()
            other[..., place, place] += 3
            moved = (network(other, vi) - whole).abs()[0, 0] > 1e-14
            farthest = max(farthest, int((moved.nonzero() - place).abs().max()))
    assert 12 < farthest <= margin


def test_with_the_mean_training_starts_from_the_mean() -> None:
    torch.manual_seed(0)
    ir, vi = pictures()
    ir, vi = ir[..., :24, :32], vi[..., :24, :32]
    torch.testing.assert_close(Generator(SMALL)(ir, vi), (ir + vi) / 2, rtol=0, atol=0.01)
    assert (Generator(SMALL, residual="none")(ir, vi) - (ir + vi) / 2).abs().mean() > 0.1


def test_nothing_is_random_and_training_keeps_the_size() -> None:
    network = made().train()
    ir, vi = pair()
    assert network(ir, vi).shape == ir.shape
    assert not any(isinstance(layer, torch.nn.Dropout) for layer in network.modules())


@pytest.mark.usefixtures("unchecked_types")
def test_what_it_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match="22x24 cannot be halved 2 times"):
        made()(*pair(24, 22))
    with pytest.raises(InputError, match="4x8 cannot be halved 2 times"):
        made()(*pair(8, 4))
    for wrong in ({"norm": "none"}, {"residual": "sum"}, {"widths": [8]}):
        with pytest.raises(InputError, match="two or more widths, norm batch or instance"):
            build({"_target_": TARGET, **wrong})


def test_the_recipe(composed: Callable[..., dict[str, Any]]) -> None:
    cfg = composed("train", "experiment=ufgan_tno")
    model, loss = cfg["model"], cfg["loss"]
    step = model["step"]
    assert (step["critic_steps"], step["fuser_every"], step["content_weight"]) == (1, 2, 1)
    assert (model["patches"]["size"], model["patches"]["stride"], model["patches"]["batch"]) == (160, 60, 32)
    assert (loss["intensity"]["weight"], loss["gradient"]["weight"], loss["range"]) == (100, 500, [-1, 1])
    roles = {name: loss[name]["term"].get("role") for name in loss if name != "range"}
    assert roles == {
        "intensity": "ir",
        "gradient": "vi",
        "ssim_ir": "ir",
        "ssim_vi": "vi",
        "content": "vi",
        "style": "ir",
        "smoothness": None,
    }
    for head, count in (("gmp", 389_057), ("gap", 389_057), ("spp", 389_057 + 20 * 256)):
        critic = build(model["critic"] | {"head": head})
        assert sum(p.numel() for p in critic.parameters()) == count
    assert composed("train", "model=ufgan", "data=tno")["model"]["critic"]["head"] == "gap"


def test_a_run_trains_saves_and_loads(tiny: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    words = ("experiment=ufgan_tno", "data=synthetic_infrared", "debug=smoke", "model.fuser.widths=[4,8,8,8]")
    cfg, out = tiny("run", *words, "model.patches.stride=4")
    train.run(cfg, out)
    loaded, _ = checkpoint.load(out / "last")
    with torch.no_grad():
        assert infer.whole(loaded, pictures(height=20, width=20, batch=1)).shape == (1, 1, 20, 20)
