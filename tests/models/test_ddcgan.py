"""DDcGAN's generator with plain functions, sources of any two sizes, its terms by hand, and its recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gan import pictures, randomised
from scipy.ndimage import convolve
from torch import Tensor
from torch.nn import functional as F

from fuse import checkpoint, infer, train
from fuse.config import build
from fuse.data.sample import Sample
from fuse.models.ddcgan import Generator, intensity, outlines

Composed = Callable[..., dict[str, Any]]


def made() -> Generator:
    network = Generator(None).double()
    randomised(network)
    return network


def conv(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), w[f"{name}.weight"], w.get(f"{name}.bias"))


def layer(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    x = conv(x, w, f"{name}.0")
    mean, variance, scale, shift = (
        w[f"{name}.1.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).relu()


def test_generator_layer_by_layer() -> None:
    network = made()
    w = network.state_dict()
    vi, ir = pictures(1)[0].double(), pictures(1, 15, 17)[0].double()
    large = F.interpolate(ir, vi.shape[-2:], mode="bicubic").clamp(0, 1)
    x = layer(torch.cat([conv(vi, w, "vi_bridge"), conv(large, w, "ir_bridge")], 1), w, "encoder.0")
    for i in range(1, 5):
        x = torch.cat([layer(x, w, f"encoder.{i}"), x], 1)  # new features in front
    assert x.shape[1] == 240
    for i in range(4):
        x = layer(x, w, f"decoder.{i}")
    wanted = conv(x, w, "output").tanh() / 2 + 0.5
    torch.testing.assert_close(network(ir, vi), wanted)


def test_parameters_are_those_of_the_paper_and_the_bridge() -> None:
    network = Generator()
    bridge = sum(p.numel() for name, p in network.named_parameters() if "bridge" in name)
    assert bridge == 18
    assert sum(p.numel() for p in network.parameters()) - bridge == 1_097_665


@pytest.mark.parametrize("sizes", [((5, 6), (20, 24)), ((7, 9), (20, 31)), ((20, 31), (7, 9)), ((17, 23), (17, 23))])
def test_any_two_sizes_give_the_larger(sizes: Any) -> None:
    network = made()
    assert infer.traits(network).resizes
    pair = [pictures(1, *size, batch=1)[0].double() for size in sizes]
    with torch.no_grad():
        fused = infer.whole(network, pair)
        assert torch.equal(fused, network(*pair))
    assert fused.shape[-2:] == max(sizes)
    assert 0 <= fused.min() < fused.max() <= 1


def test_in_use_nothing_depends_on_the_batch() -> None:
    network = made()
    ir, vi = (pictures(1, *size, 3)[0].double() for size in ((5, 6), (20, 24)))
    with torch.no_grad():
        whole = network(ir, vi)
        torch.testing.assert_close(network(ir[1:2], vi[1:2]), whole[1:2])
        assert torch.equal(network(ir, vi), whole)


def test_terms_by_hand() -> None:
    """Sums over the pixels of a picture, means over the batch."""
    fused, vi = pictures(2, 12, 16)
    ir = pictures(1, 3, 4)[0]
    sample = Sample((ir, vi), None, (), ("ir", "vi"))
    small = F.interpolate(fused, (3, 4), mode="bilinear", antialias=True)
    assert intensity(fused, sample, "ir").item() == pytest.approx(((small - ir) ** 2).sum().item() / 2, rel=1e-5)
    ring = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]]) / 8
    edges = [np.stack([convolve(x[0].numpy(), ring, mode="constant") for x in p]) for p in (fused, vi)]
    assert outlines(fused, sample, "vi").item() == pytest.approx(np.abs(edges[0] - edges[1]).sum() / 2, rel=1e-5)
    assert outlines(vi, sample, "vi").item() == 0


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=ddcgan_tno")
    step, patches, optim = cfg["model"]["step"], cfg["model"]["patches"], cfg["optim"]
    assert (patches["size"], patches["batch"], patches["shrink"], cfg["run"]["steps"]) == (84, 24, {"ir": 4}, 1125)
    assert (step["clip"], step["content_weight"], step["repeats"]) == (8, 0.8, 20)
    assert (step["critic_above"], step["critic_below"], step["fuser_above"]) == (1.9, 1.0, 200)
    assert step["objective"] == {"_target_": "fuse.losses.objectives.Minimax"}
    assert (cfg["loss"]["outlines"]["weight"], cfg["loss"]["range"]) == (1.2, [0, 1])
    targets = optim["optimiser"]["_target_"], optim["critics"]["_target_"]
    assert targets == ("torch.optim.RMSprop", "torch.optim.SGD")
    schedule = optim["schedule"]
    assert optim["lr"] == 2e-4
    assert schedule["factor"] ** (1125 / schedule["every"]) == pytest.approx(0.9, abs=1e-4)
    critics = {name: build(cfg["model"][name]) for name in ("vi_critic", "ir_critic")}
    assert {name: sum(p.numel() for p in critic.parameters()) for name, critic in critics.items()} == {
        "vi_critic": 31_233,
        "ir_critic": 24_065,
    }
    assert (critics["vi_critic"].seen, critics["ir_critic"].seen) == (84, 21)
    assert critics["ir_critic"].convs[0].weight.std().item() == pytest.approx(
        0.088, rel=0.2
    )  # 0.1, cut at two deviations


def test_a_run_trains_saves_and_loads(tiny: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    words = ("experiment=ddcgan_tno", "data=synthetic_infrared", "debug=smoke", "model.step.repeats=1")
    cfg, out = tiny("run", *words)
    train.run(cfg, out)
    loaded, card = checkpoint.load(out / "last")
    assert card["step"] == 2
    header = (out / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"vi_critic", "ir_critic", "ir_critic_updates", "fuser_updates", "intensity", "outlines"} <= set(header)
    with torch.no_grad():
        assert loaded(*pictures(height=20, width=20, batch=1)).shape == (1, 1, 20, 20)
