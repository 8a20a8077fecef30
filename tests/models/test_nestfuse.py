"""NestFuse: its layers against plain convolutions, and the rules that join features."""

from pathlib import Path

import claims
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from fuse.config import CONF, build
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.models.nestfuse import NestFuse, channel_shares, join, spatial_shares, up
from fuse.steps import forward
from fuse.train import recipe

WIDTHS = (64, 112, 160, 208)


def plain(network: NestFuse, picture: Tensor) -> Tensor:
    """Reconstruction on 0..255, from the drawing of the nest: x_ij is made of x_i0 .. x_i(j-1) and x_(i+1)(j-1)."""
    w = network.state_dict()

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = w[f"{name}.0.weight"]
        if kernel.shape[-1] == 3:
            x = F.pad(x, [1, 1, 1, 1], mode="reflect")
        return F.conv2d(x, kernel, w[f"{name}.0.bias"]).clamp_min(0)

    def block(name: str, *parts: Tensor) -> Tensor:
        return conv(conv(torch.cat(parts, 1), f"{name}.0"), f"{name}.1")

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    x, nodes = conv(picture, "first"), {}
    for i in range(4):
        nodes[i, 0] = x = block(f"encoder.{i}", x if i == 0 else F.max_pool2d(x, 2))
    for j in (1, 2, 3):
        for i in range(4 - j):
            beside = [nodes[i, k] for k in range(j)]
            nodes[i, j] = block(f"decode{i + 1}{j}", *beside, doubled(nodes[i + 1, j - 1]))
    return conv(nodes[0, 3], "output")


def test_layers_are_those_of_the_paper() -> None:
    network = NestFuse()
    claims.lively(network, 1.4)
    picture = claims.pictures(32, 48, 1)[0]
    with torch.no_grad():
        wanted = plain(network, 255 * picture) / 255
        assert wanted.std() > 1e-3
        torch.testing.assert_close(network(picture), wanted, rtol=1e-4, atol=1e-4)


def test_parameters_and_widths_are_those_of_the_paper() -> None:
    network = NestFuse()
    assert claims.parameters(network) == 2_732_761
    scales = network.encode(torch.rand(1, 1, 32, 48))
    assert [tuple(x.shape[1:]) for x in scales] == [(width, 32 >> i, 48 >> i) for i, width in enumerate(WIDTHS)]


def test_deep_supervision_sees_the_shallower_nodes_in_training_only() -> None:
    network = NestFuse(deep=True)
    assert claims.parameters(network) == 2_732_891
    picture = claims.pictures(32, 48, 1)[0]
    made, told = network.train()(picture)
    assert list(told) == ["node1", "node2"]
    assert all(x.shape == picture.shape for x in told.values())
    claims.learns_everywhere(network, torch.stack([made, *told.values()]))
    alone = NestFuse()
    alone.load_state_dict({name: x for name, x in network.state_dict().items() if not name.startswith("shallow")})
    assert torch.equal(network.eval()(picture, picture), alone.eval()(picture, picture))


def test_deep_supervision_trains() -> None:
    loss = recipe(yaml.safe_load(Path(CONF, "loss", "nestfuse_deep.yaml").read_text()))
    network = NestFuse(deep=True).train()
    picture = claims.pictures(192, 192, 1)[0]
    _, terms = loss(*loss.view(*forward(network, Sample((picture,), picture, (), ("source",)))))
    assert list(terms) == ["pixel", "ssim", "pixel_node1", "ssim_node1", "pixel_node2", "ssim_node2"]
    assert len({float(value) for value in terms.values()}) == 6


def test_in_use(tmp_path: Path) -> None:
    network = NestFuse()
    claims.lively(network, 1.4)
    claims.fits_any_size(network, ranged=False)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)
    assert network.margin is None


def test_every_layer_learns() -> None:
    network = NestFuse()
    claims.learns_everywhere(network, network(*claims.pictures(32, 32, 1)))


def test_no_start_is_dead() -> None:
    picture = claims.pictures(16, 16, 1)[0]
    for seed in range(6):
        torch.manual_seed(seed)
        made = NestFuse()(picture)
        assert (made > 0).all()
        assert 0.02 < made.mean() < 20


@pytest.mark.parametrize("pooling", ["mean", "max", "nuclear"])
def test_the_order_of_three_sources_does_not_matter_and_equal_ones_are_one(pooling: str) -> None:
    network = NestFuse(pooling)
    claims.lively(network, 1.4)
    a, b, c = claims.pictures(24, 24, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(a, b, c), network(c, a, b), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(a, a), network(a), rtol=1e-4, atol=1e-5)


def test_channel_shares_by_hand() -> None:
    first = torch.tensor([[4.0, 0.0], [0.0, 4.0]]).view(1, 1, 2, 2)
    second = torch.ones(1, 1, 2, 2)
    features = torch.stack([first, second])
    wanted = {"mean": (2, 1), "max": (4, 1), "nuclear": (8, 2)}  # singular values 4, 4 and 2, 0
    for pooling, (a, b) in wanted.items():
        shares = channel_shares(features, pooling).flatten()
        torch.testing.assert_close(shares, torch.tensor([a / (a + b), b / (a + b)]))
    assert torch.equal(channel_shares(torch.zeros(2, 1, 3, 2, 2)), torch.full((2, 1, 3, 1, 1), 0.5))


def test_spatial_shares_by_hand_and_without_overflow() -> None:
    features = torch.zeros(2, 1, 2, 1, 2)
    features[0, 0, :, 0, 0] = torch.tensor([1.0, 3.0])  # mean 2 against 0
    features[1, 0, :, 0, 1] = 1000.0
    shares = spatial_shares(features)
    assert shares[0, 0, 0, 0, 0].item() == pytest.approx(1 / (1 + torch.e**-2))
    assert shares[:, 0, 0, 0, 1].tolist() == [0, 1]


def test_join_is_the_mean_of_both_rules() -> None:
    features = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    channel = (channel_shares(features) * features).sum(0)
    spatial = (spatial_shares(features) * features).sum(0)
    torch.testing.assert_close(join(features), (channel + spatial) / 2)


def test_odd_sizes_are_doubled_and_reflected() -> None:
    x = torch.tensor([[1.0, 2.0]]).expand(1, 1, 2, 2)
    assert up(x, torch.zeros(1, 5, 4, 5))[0, 0, 0].tolist() == [1, 1, 2, 2, 2]
    assert up(x, torch.zeros(1, 1, 5, 4)).shape == (1, 1, 5, 4)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(InputError, match="pooling 'sum' is not known; choose mean, max or nuclear"):
        build({"_target_": "fuse.models.nestfuse.NestFuse", "pooling": "sum"})
