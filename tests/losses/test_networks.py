"""Frozen networks: which layers, which weights, what goes in; and what is said when weights are missing."""

import logging
from pathlib import Path

import pytest
import torch
from made import pictures
from torch import Tensor
from torch.nn import functional as F
from torchvision import models

from fuse import checkpoint
from fuse.config import construct
from fuse.errors import InputError
from fuse.losses.gradient import differences
from fuse.losses.networks import MEAN, Encoder, ImageNet, Pyramid
from fuse.losses.terms import laplacian
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet

DEVIATION = (0.229, 0.224, 0.225)
FILES = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth", "resnet101": "resnet101-63fe2227.pth"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def vgg(hub: Path) -> dict[str, Tensor]:
    """Made weights of the first two blocks of VGG-16, in the cache."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for number, (inputs, outputs) in {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}.items():
        shape = (outputs, inputs, 3, 3)
        weights[f"features.{number}.weight"] = torch.randn(shape, generator=generator) / (inputs * 9) ** 0.5
        weights[f"features.{number}.bias"] = torch.randn(outputs, generator=generator)
    torch.save(weights | {"classifier.0.bias": torch.zeros(3)}, hub / FILES["vgg16"])
    return weights


def by_hand(x: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    seen = {}
    for number, name in {0: "1_1", 2: "1_2", 5: "2_1", 7: "2_2"}.items():
        if number == 5:
            x = seen["pool1"] = F.max_pool2d(x, 2)
        weight, bias = (weights[f"features.{number}.{kind}"].to(x) for kind in ("weight", "bias"))
        seen[f"conv{name}"] = F.conv2d(x, weight, bias, padding=1)
        x = seen[f"relu{name}"] = seen[f"conv{name}"].relu()
    return seen


def test_vgg_shows_the_layers_that_are_asked_for(vgg: dict[str, Tensor]) -> None:
    x = pictures(1, 16, 20, channels=3)[0]
    layers = ["conv1_2", "relu2_2", "relu1_1", "pool1", "conv2_1"]
    seen = ImageNet(layers=layers, normalise=False)(x)
    expected = by_hand(x, vgg)
    assert list(seen) == layers
    for name in layers:
        assert torch.allclose(seen[name], expected[name]), name
    assert seen["conv1_2"].min() < 0  # not overwritten by what comes after


def test_pictures_are_brought_to_what_the_weights_want(vgg: dict[str, Tensor]) -> None:
    grey = pictures(1, 16, 20)[0]
    mean, deviation = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, DEVIATION))
    expected = by_hand((grey.expand(-1, 3, -1, -1) - mean) / deviation, vgg)["relu2_2"]
    for low, high in ((0, 1), (-1, 1), (0, 255)):
        seen = ImageNet(layers=["relu2_2"], span=[low, high])(low + (high - low) * grey)
        assert torch.allclose(seen["relu2_2"], expected)


def test_the_network_is_frozen_and_gradients_pass(vgg: dict[str, Tensor], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        network = ImageNet(layers=["relu1_2"])
    assert "loss through vgg16, layers relu1_2, ImageNet weights" in caplog.text
    assert not any(p.requires_grad for p in network.stages.parameters())
    x = torch.rand(1, 1, 8, 8).requires_grad_()
    network(x)["relu1_2"].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_resnet_agrees_with_torchvision(hub: Path) -> None:
    torch.manual_seed(0)
    theirs = models.resnet101(weights=None)
    torch.save(
        {
            key: value
            for key, value in theirs.state_dict().items()
            if key[:6] in ("conv1.", "bn1.we", "bn1.bi", "bn1.ru", "bn1.nu", "layer1")
        },
        hub / FILES["resnet101"],
    )
    x = torch.rand(1, 3, 32, 32)
    theirs.eval()
    with torch.no_grad():
        expected = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x)))))
        assert torch.allclose(ImageNet("resnet101", ["layer1"], normalise=False)(x)["layer1"], expected)


@pytest.mark.parametrize("network", FILES)
def test_missing_weights_are_a_users_mistake_that_says_what_to_do(network: str, hub: Path) -> None:
    with pytest.raises(
        InputError, match=f"not in .*{FILES[network]}; get them once with: python -c .*Encoder.*Pyramid"
    ):
        ImageNet(network)
    assert not list(hub.iterdir())  # nothing was fetched


def test_damaged_weights_and_unknown_names_are_refused(vgg: dict[str, Tensor], hub: Path) -> None:
    with pytest.raises(InputError, match="vgg16 has no relu9_9; it has conv1_1, relu1_1"):
        ImageNet(layers=["relu9_9"])
    with pytest.raises(InputError, match="nothing for conv3_1"):
        ImageNet(layers=["relu3_3"])
    with pytest.raises(InputError, match="network=alexnet: choose vgg16, vgg19, resnet101"):
        ImageNet("alexnet")
    (hub / FILES["vgg16"]).write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        ImageNet()


def test_the_message_survives_the_recipe(hub: Path) -> None:
    features = {"_target_": "fuse.losses.networks.ImageNet"}
    with pytest.raises(InputError, match="the IMAGENET1K_V1 weights of vgg16 are not in"):
        construct({"_target_": "fuse.losses.perceptual.content", "role": "vi", "features": features})


def test_the_encoder_of_a_checkpoint_takes_the_range_of_the_recipe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fuser, card = DenseFuse(), {"fuser": {"_target_": "fuse.models.densefuse.DenseFuse"}}
    checkpoint.save(tmp_path / "best", {"fuser": fuser}, card, {}, {})
    x = torch.rand(2, 1, 9, 8)
    with torch.no_grad(), caplog.at_level(logging.INFO):
        expected = fuser.encode(255 * x)
        assert torch.allclose(Encoder(str(tmp_path))(x)["encoder"], expected, atol=1e-4)
        assert torch.allclose(Encoder(str(tmp_path), span=[-1, 1])(2 * x - 1)["encoder"], expected, atol=1e-3)
        assert torch.allclose(Encoder(str(tmp_path), span=[0, 255])(255 * x)["encoder"], expected, atol=1e-4)
    assert f"the encoder of {tmp_path}, {checkpoint.digest(tmp_path)}" in caplog.text
    assert not any(p.requires_grad for p in Encoder(str(tmp_path)).fuser.parameters())


def test_a_checkpoint_without_an_encoder_is_refused(tmp_path: Path) -> None:
    card = {"fuser": {"_target_": "fuse.models.fusionnet.FusionNet"}}
    checkpoint.save(tmp_path / "best", {"fuser": FusionNet()}, card, {}, {})
    with pytest.raises(InputError, match="FusionNet, which has no encoder; train model=densefuse"):
        Encoder(str(tmp_path))
    with pytest.raises(InputError, match="holds no checkpoint"):
        Encoder(str(tmp_path / "nowhere"))


def test_a_pyramid_by_hand() -> None:
    x = torch.tensor([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0], [1.0, 3.0, 7.0]], dtype=torch.float64)[None, None]
    seen = Pyramid(5)(x)
    assert list(seen) == ["level1", "level2", "level3"]  # then one pixel is left
    assert torch.equal(seen["level1"], x)
    assert seen["level2"][0, 0].tolist() == [[2, 5], [2, 7]]
    assert seen["level3"].item() == 4
    edges = Pyramid(1, gradients=True)(x)["level1"]
    assert torch.equal(edges, torch.cat([x, differences(x), laplacian(x)], 1))
    with pytest.raises(InputError, match="levels=0"):
        Pyramid(0)
