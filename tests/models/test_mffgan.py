"""MFF-GAN's networks against the same layers written with plain functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.config import build
from fuse.errors import InputError
from fuse.models.mffgan import Discriminator, Generator


def started(network: torch.nn.Module) -> dict[str, Tensor]:
    """The network's own weights by name, after values with which every layer matters."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.state_dict()


def pictures(count: int, height: int = 15, width: int = 21) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(2, 1, height, width, generator=generator) for _ in range(count)]


def test_generator_layer_by_layer() -> None:
    network = Generator()
    w = started(network)

    def layer(x: Tensor, name: str) -> Tensor:
        kernel = w[f"{name}.weight"]
        return F.leaky_relu(F.conv2d(x, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2), 0.2)

    near, far = pictures(2)
    x, y = (p * 255 / 127.5 - 1 for p in (near, far))
    n1, f1 = layer(x, "near.conv1"), layer(y, "far.conv1")
    n2, f2 = layer(n1, "near.conv2"), layer(f1, "far.conv2")
    n23, f23 = (layer(torch.cat([n2, f2], 1), f"{path}.exchange1") for path in ("near", "far"))
    n3, f3 = layer(torch.cat([n1, n2, n23], 1), "near.conv3"), layer(torch.cat([f1, f2, f23], 1), "far.conv3")
    n34, f34 = (layer(torch.cat([n3, f3], 1), f"{path}.exchange2") for path in ("near", "far"))
    n4 = layer(torch.cat([n1, n2, n3, n34], 1), "near.conv4")
    f4 = layer(torch.cat([f1, f2, f3, f34], 1), "far.conv4")
    last = F.conv2d(torch.cat([n1, f1, n2, f2, n3, f3, n4, f4], 1), w["output.weight"], w["output.bias"])
    torch.testing.assert_close(network(near, far), (127.5 * torch.tanh(last) + 127.5) / 255)


def test_kernels_are_those_of_the_paper() -> None:
    shapes = {name: tuple(p.shape) for name, p in Generator().named_parameters() if name.endswith("weight")}
    kernels = [(16, 1, 5, 5), (16, 16, 3, 3), (16, 48, 3, 3), (16, 64, 3, 3)]
    for path in ("near", "far"):
        assert [shapes[f"{path}.conv{number}.weight"] for number in (1, 2, 3, 4)] == kernels
        assert shapes[f"{path}.exchange1.weight"] == shapes[f"{path}.exchange2.weight"] == (16, 32, 1, 1)
    assert shapes["output.weight"] == (1, 128, 1, 1)


def test_the_order_of_the_sources_matters() -> None:
    network = Generator()
    started(network)
    near, far = pictures(2)
    assert (network(near, far) - network(far, near)).abs().max() > 0.01


def test_the_start_of_the_paper_and_that_of_pytorch() -> None:
    torch.manual_seed(0)
    small = torch.cat([p.flatten() for name, p in Generator().named_parameters() if "weight" in name])
    assert small.abs().max() <= 0.002  # cut at two deviations
    assert 0.0007 < small.std() < 0.001
    assert all(not p.any() for name, p in Generator().named_parameters() if "bias" in name)
    near, far = pictures(2)
    torch.testing.assert_close(Generator()(near, far), torch.full_like(near, 0.5), rtol=0, atol=1e-3)
    assert Generator(init_std=None).near.conv1.weight.std() > 0.05


def test_discriminator_layer_by_layer() -> None:
    network = Discriminator(60)
    w = started(network)
    x = torch.randn(3, 1, 60, 60, generator=torch.Generator().manual_seed(0)).abs()
    wanted, sides, statistics = x, [], {}
    for i in range(4):
        wanted = F.conv2d(wanted, w[f"convs.{i}.weight"], w[f"convs.{i}.bias"], stride=2)
        if i > 0:
            mean, variance = wanted.mean((0, 2, 3)), wanted.var((0, 2, 3), unbiased=False)
            statistics[f"norms.{i - 1}"] = mean.detach(), wanted.var((0, 2, 3), unbiased=True).detach()
            wanted = (wanted - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + 1e-5).sqrt()
            wanted = wanted * w[f"norms.{i - 1}.weight"].view(1, -1, 1, 1) + w[f"norms.{i - 1}.bias"].view(1, -1, 1, 1)
        wanted = F.leaky_relu(wanted, 0.2)
        sides.append(wanted.shape[-1])
    assert sides == [29, 14, 6, 2]
    wanted = wanted.flatten(1) @ w["linear.weight"].T + w["linear.bias"]
    scores = network(x)
    assert scores.shape == (3,)
    torch.testing.assert_close(scores, wanted[:, 0], rtol=1e-4, atol=1e-4)
    for name, (mean, variance) in statistics.items():  # moved a tenth of the way, once
        torch.testing.assert_close(w[f"{name}.running_mean"], 0.1 * mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(w[f"{name}.running_var"], 0.9 + 0.1 * variance, rtol=1e-4, atol=1e-5)


def test_scores_depend_on_the_batch_at_hand() -> None:
    network = Discriminator(31)
    started(network)
    x = torch.randn(4, 1, 31, 31, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(network(x)[:2], network(x[:2]))
    torch.testing.assert_close(network(x), network(x))  # what was seen before does not matter


@pytest.mark.parametrize(("patch", "side"), [(31, 1), (46, 1), (47, 2), (60, 2), (63, 3), (128, 7)])
def test_the_critic_is_built_for_its_patches(patch: int, side: int) -> None:
    network = Discriminator(patch)
    assert network.linear.in_features == 256 * side**2
    with torch.no_grad():
        assert network(torch.rand(2, 1, patch, patch)).shape == (2,)


def test_patches_too_small_for_the_critic_are_refused() -> None:
    with pytest.raises(InputError, match="patches of 30 pixels are too small for four stride-2 convolutions; use 31"):
        build({"_target_": "fuse.models.mffgan.Discriminator", "patch": 30})
