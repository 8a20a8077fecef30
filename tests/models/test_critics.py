"""The critic of many papers: their parameter counts, its layers with plain functions, its overlays on models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import train
from fuse.config import CONF, build, check
from fuse.errors import InputError
from fuse.models.critics import Critic
from fuse.steps import Loss

Composed = Callable[..., dict[str, Any]]
OVERLAYS = sorted(path.stem for path in Path(CONF, "critic").glob("*.yaml"))
OBJECTIVES = {"lsgan", "minimax", "hinge", "wgan", "wgan_gp", "wgan_div"}
DDCGAN: dict[str, Any] = {"widths": (16, 32, 64), "padding": 1, "padding_mode": "reflect", "norm": "batch"}
PIX2PIX: dict[str, Any] = {"widths": (64, 128, 256, 512), "kernel": 4, "stride": (2, 2, 2, 1), "padding": 1}


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"patch": 120, "norm": "batch", "spectral": True}, 397_953),  # FusionGAN
        ({"patch": 132, "trim": 6, "norm": "batch", "outputs": 2}, 407_170),  # GANMcC
        ({"patch": 84, **DDCGAN}, 31_233),
        ({"patch": 84, "shrink": 4, **DDCGAN}, 24_065),
        ({"patch": 224, "widths": (32, 64, 128), "padding": 1}, 193_025),  # TarDAL
        ({"norm": "batch", "norm_first": True, "spectral": True, "head": "gmp"}, 389_057),  # UFGAN
        ({"patch": 60, "norm": "batch"}, 389_761),  # MFF-GAN
    ],
)
def test_parameters_are_those_of_the_papers(settings: dict[str, Any], count: int) -> None:
    assert sum(p.numel() for p in Critic(**settings).parameters()) == count


def randomised(critic: Critic) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return critic.state_dict()


def pictures(side: int, count: int = 3, channels: int = 1) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(side))


HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: x.flatten(1),
    "gap": lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "gmp": lambda x: x.flatten(2).max(2).values,
    "spp": lambda x: torch.cat([F.adaptive_max_pool2d(x, n).flatten(1) for n in (1, 2, 4)], 1),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
def test_layer_by_layer(head: Any, outputs: int, norm: Any) -> None:
    critic = Critic(56, 2, 2, 2, (4, 6), 3, (2, 1), 1, "reflect", norm, slope=0.1, head=head, outputs=outputs)
    w = randomised(critic)
    x = pictures(26, channels=2)
    wanted = F.leaky_relu(F.conv2d(F.pad(x, [1] * 4, "reflect"), w["convs.0.weight"], w["convs.0.bias"], 2), 0.1)
    wanted = F.conv2d(F.pad(wanted, [1] * 4, "reflect"), w["convs.1.weight"], w["convs.1.bias"])
    if norm != "none":
        over = (0, 2, 3) if norm == "batch" else (2, 3)
        spread = wanted.var(over, unbiased=False, keepdim=True)
        wanted = (wanted - wanted.mean(over, keepdim=True)) / (spread + 1e-5).sqrt()
        wanted = wanted * w["norms.1.weight"].view(1, -1, 1, 1) + w["norms.1.bias"].view(1, -1, 1, 1)
    wanted = HEADS[head](F.leaky_relu(wanted, 0.1)) @ w["score.weight"].T + w["score.bias"]
    scores = critic(x)
    assert scores.shape == ((3,) if outputs == 1 else (3, 2))
    torch.testing.assert_close(scores.view(3, -1), wanted, rtol=1e-4, atol=1e-4)


def test_the_cells_of_the_pyramid_by_hand() -> None:
    critic = Critic(widths=(1,), kernel=1, stride=1, slope=1, head="spp")
    x = torch.arange(64.0).view(1, 1, 8, 8)
    coarse, fine = [27, 31, 59, 63], [9 + 16 * row + 2 * column for row in range(4) for column in range(4)]
    assert critic.pooled(x).tolist() == [[63, *coarse, *fine]]


def test_the_patch_critic_judges_places_of_seventy_pixels() -> None:
    critic = Critic(norm="none", head="patch", **PIX2PIX).double()
    x = pictures(128, 1).double().requires_grad_()
    scores = critic(x)
    assert scores.shape == (1, 1, 14, 14)
    (slope,) = torch.autograd.grad(scores[0, 0, 7, 7], x)
    rows = slope[0, 0].abs().sum(1).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 70
    assert Critic(64, outputs=3, head="patch", **PIX2PIX)(pictures(64)).shape == (3, 3, 6, 6)


@pytest.mark.parametrize("head", ["gap", "gmp", "spp", "patch"])
def test_pooling_heads_judge_any_size(head: Any) -> None:
    critic = Critic(60, widths=(4, 8), head=head)
    for side in (31, 60, 77):
        assert critic(pictures(side)).shape[0] == 3


def test_scores_are_unbounded() -> None:
    critic = Critic(31)
    randomised(critic)
    assert critic(100 * pictures(31, 16)).abs().max() > 10


def test_spectral_norm_bounds_every_weight() -> None:
    torch.manual_seed(0)
    critic = Critic(31, spectral=True)
    plain = [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(plain) == 5
    for layer in plain:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_the_start_of_a_paper_and_that_of_pytorch() -> None:
    torch.manual_seed(0)
    small = [p for name, p in Critic(31, init_std=0.001).named_parameters() if name.endswith("weight")]
    assert max(p.abs().max().item() for p in small) <= 0.002
    assert Critic(31).convs[0].weight.std() > 0.05


def test_what_cannot_be_built_is_refused_with_the_remedy() -> None:
    node = {"_target_": "fuse.models.critics.Critic"}
    with pytest.raises(InputError, match="patches of 30 pixels are too small for the 4 convolutions"):
        build(node | {"patch": 30})
    with pytest.raises(InputError, match="patches of 42 pixels are too small"):
        build(node | {"patch": 42, "trim": 6})
    with pytest.raises(InputError, match="patches of 31 pixels are too small"):
        build(node | {"patch": 31, "norm": "instance", "head": "gap"})
    with pytest.raises(InputError, match="patches of 40 pixels are too small"):  # one place, none for another 3x3
        build(node | {"patch": 40, "head": "patch"})
    with pytest.raises(InputError, match="head=flatten needs the size"):
        build(node)
    with pytest.raises(InputError, match="2 strides for 4 widths"):
        build(node | {"patch": 60, "stride": [2, 1]})
    with pytest.raises(InputError, match="30x30 pixels reach a critic that was built for 31x31"):
        Critic(31)(pictures(30))


@pytest.mark.usefixtures("unchecked_types")
def test_unknown_norms_and_heads_are_refused() -> None:
    for wrong in ({"norm": "layer"}, {"head": "mean"}):
        with pytest.raises(InputError, match="norm is none, batch or instance, head is flatten"):
            build({"_target_": "fuse.models.critics.Critic", "patch": 60, **wrong})


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("model", ["mffgan", "fusiongan"])
def test_every_overlay_fits_the_models_with_a_critic(overlay: str, model: str, composed: Composed) -> None:
    cfg = composed("train", f"model={model}", f"critic={overlay}", "model.patches.size=64")
    assert check(cfg) == []
    critic, step = build(cfg["model"]["critic"]), cfg["model"]["step"]
    side = 64 if model == "mffgan" else 52
    scores = critic(pictures(side))
    assert scores.shape == ((3, 1, scores.shape[2], scores.shape[2]) if overlay == "patch" else (3,))
    own = composed("train", f"model={model}")["model"]["step"]
    if overlay not in OBJECTIVES:
        assert (step["objective"], step["critic_steps"]) == (own["objective"], own["critic_steps"])


def test_wgan_gp_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "model=fusiongan", "critic=wgan_gp", "data=tno")
    step, adam = cfg["model"]["step"], cfg["optim"]["optimiser"]
    assert step["objective"] == {"_target_": "fuse.losses.objectives.Wasserstein"}
    assert (step["penalty"]["weight"], step["penalty"]["power"], step["penalty"]["target"]) == (10, 2, 1)
    assert (step["critic_steps"], adam["betas"], cfg["optim"]["lr"]) == (5, [0.0, 0.9], 1e-4)
    critic = build(cfg["model"]["critic"])
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in critic.modules())
    assert not any("parametrizations" in name for name, _ in critic.named_parameters())


def test_other_adversaries_are_those_of_their_papers(composed: Composed) -> None:
    clipped = composed("train", "model=fusiongan", "critic=wgan")["model"]
    assert (clipped["step"]["clip"], clipped["step"]["critic_steps"], clipped["critic"]["spectral"]) == (0.01, 5, False)
    div = composed("train", "model=fusiongan", "critic=wgan_div")["model"]["step"]["penalty"]
    assert (div["weight"], div["power"], div["target"]) == (2, 6, 0)
    hinge = composed("train", "model=fusiongan", "critic=hinge")["model"]
    assert hinge["step"]["objective"]["_target_"] == "fuse.losses.objectives.Hinge"
    assert (hinge["critic"]["norm"], hinge["critic"]["spectral"]) == ("none", True)


def test_a_model_without_adversary_says_so(composed: Composed) -> None:
    problems = check(composed("train", "model=densefuse", "critic=wgan_gp"))
    assert any("fuse.steps.Reconstruct takes no 'objective'" in problem for problem in problems)
    problems = check(composed("train", "model=densefuse", "critic=gap"))
    assert any("fuse.steps.Reconstruct takes no 'critics'" in problem for problem in problems)
    problems = check(composed("train", "model=ddcgan", "critic=wgan_gp", "data=tno"))  # its losses set the pace
    assert any("fuse.balance.Balanced takes no 'critic_steps'" in problem for problem in problems)
    step = composed("train", "model=ddcgan", "critic=gap", "data=tno")["model"]["step"]
    names = ("fuser", "vi_critic", "ir_critic", "critic")
    with pytest.raises(InputError, match=r"critics.critic must say what it sees"):
        build(step, networks=dict.fromkeys(names, nn.Identity()), loss=Loss({}), update=lambda name, loss: None)


@pytest.mark.parametrize("model", ["ganmcc", "attentionfgan", "ufgan", "tardal", "pix2pix"])
def test_overlays_fit_all_other_models_whose_critic_is_called_so(model: str, composed: Composed) -> None:
    for overlay in ("lsgan", "wgan_gp", "spp"):
        cfg = composed("train", f"model={model}", f"critic={overlay}", "data=tno", "model.patches.size=64")
        assert check(cfg) == []
        build(cfg["model"]["critic"])
        build(cfg["optim"]["optimiser"], params=[nn.Parameter(torch.zeros(1))], lr=0.1)


@pytest.mark.parametrize(
    ("model", "overlay"),
    [*(("mffgan", overlay) for overlay in ("minimax", "hinge", "wgan", "wgan_div", "patch")), ("fusiongan", "wgan_gp")],
)
def test_two_steps_under_another_adversary(
    model: str, overlay: str, tiny: Callable[..., tuple[dict[str, Any], Path]]
) -> None:
    data = "synthetic" if model == "mffgan" else "synthetic_infrared"
    words = (f"model={model}", f"critic={overlay}", f"data={data}", "data.size=48", "model.patches.size=44")
    cfg, out = tiny("run", *words, "debug=smoke", "run.val_every=3", "run.save_every=3")
    train.run(cfg, out)
    assert (out / "last" / "critic.safetensors").is_file()
