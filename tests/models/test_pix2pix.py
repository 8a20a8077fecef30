"""pix2pix: the U-Net and the PatchGAN against plain functions, dropout, sizes, norms."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import infer
from fuse.config import build
from fuse.errors import InputError
from fuse.models.pix2pix import Discriminator, UNet


def pictures(count: int = 2, height: int = 32, width: int = 64, batch: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(batch, 3, height, width, generator=generator) for _ in range(count)]


def test_parameters_are_those_of_the_reference_implementation() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet().parameters()) == 54_417_027
        assert sum(p.numel() for p in UNet(sources=1).parameters()) == 54_413_955
    assert sum(p.numel() for p in Discriminator().parameters()) == 2_771_777
    assert sum(p.numel() for p in Discriminator(6).parameters()) == 2_768_705


def test_the_u_net_layer_by_layer() -> None:
    torch.manual_seed(0)
    made, sources = UNet(depth=5, norm="instance").eval(), pictures()
    w = made.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
        scale, shift = (w[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def down(x: Tensor, i: int) -> Tensor:
        return F.conv2d(x, w[f"down.{i}.weight"], stride=2, padding=1)

    def up(x: Tensor, i: int) -> Tensor:
        return F.conv_transpose2d(F.relu(x), w[f"up.{i}.weight"], w.get(f"up.{i}.bias"), stride=2, padding=1)

    d1 = down(2 * torch.cat(sources, 1) - 1, 0)
    d2 = norm(down(F.leaky_relu(d1, 0.2), 1), "down_norms.0")
    d3 = norm(down(F.leaky_relu(d2, 0.2), 2), "down_norms.1")
    d4 = norm(down(F.leaky_relu(d3, 0.2), 3), "down_norms.2")
    d5 = down(F.leaky_relu(d4, 0.2), 4)
    assert [d.shape[1] for d in (d1, d2, d3, d4, d5)] == [64, 128, 256, 512, 512]
    u = torch.cat([F.leaky_relu(d4, 0.2), norm(up(d5, 0), "up_norms.0")], 1)  # the skip is activated, as published
    u = torch.cat([F.leaky_relu(d3, 0.2), norm(up(u, 1), "up_norms.1")], 1)
    u = torch.cat([F.leaky_relu(d2, 0.2), norm(up(u, 2), "up_norms.2")], 1)
    u = torch.cat([F.leaky_relu(d1, 0.2), norm(up(u, 3), "up_norms.3")], 1)
    torch.testing.assert_close(made(*sources), (torch.tanh(up(u, 4)) + 1) / 2, rtol=1e-4, atol=1e-5)
    assert "up.4.bias" in w
    assert "up.3.bias" not in w


@pytest.mark.parametrize(("depth", "thinned"), [(5, 0), (6, 1), (7, 2), (8, 3)])
def test_dropout_thins_the_steps_next_to_the_innermost(depth: int, thinned: int) -> None:
    with torch.device("meta"):
        made = UNet(depth=depth)
    assert list(made.dropped) == list(range(1, thinned + 1))
    assert all(made.up[i].out_channels == 512 for i in made.dropped)


def test_dropout_is_noise_of_training_only() -> None:
    torch.manual_seed(0)
    made, sources = UNet(depth=6), pictures(2, 64, 64)
    assert not torch.equal(made(*sources), made(*sources))
    made.eval()
    assert torch.equal(made(*sources), made(*sources))


@pytest.mark.parametrize("size", [(5, 40), (33, 31)])
def test_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = UNet(depth=5).eval()
    sources = pictures(2, *size)
    result = made(*sources)
    assert result.shape == sources[0].shape
    assert 0 <= result.min() < result.max() <= 1
    stored = [(x * 255).round().to(torch.uint8) for x in sources]
    assert infer.fuse(made, stored).shape == (1, 3, *size)


def test_instance_norm_is_the_same_in_training_and_in_use() -> None:
    torch.manual_seed(0)
    made, sources = UNet(depth=5, norm="instance"), pictures(2, batch=2)
    torch.testing.assert_close(made.train()(*sources), made.eval()(*sources))
    other = UNet(depth=5, norm="batch")
    assert not torch.allclose(other.train()(*sources), other.eval()(*sources))
    with torch.no_grad():
        torch.testing.assert_close(made(*sources)[1:], made(*(x[1:] for x in sources)), rtol=1e-4, atol=1e-5)


def test_the_start_is_that_of_the_authors() -> None:
    torch.manual_seed(0)
    made = UNet(depth=5)
    assert made.down[3].weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert made.up_norms[0].weight.mean().item() == pytest.approx(1, abs=0.01)
    assert not made.up[4].bias.any()


def test_the_critic_sees_seventy_pixels() -> None:
    torch.manual_seed(0)
    critic = Discriminator(norm="instance").eval()
    for layer in critic.modules():
        if isinstance(layer, nn.InstanceNorm2d):
            layer.forward = lambda x: x  # statistics of the picture would see everything
    shown = torch.rand(1, 9, 128, 128, requires_grad=True)
    scores = critic(shown)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert shown.grad is not None
    seen = shown.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


def test_the_critic_layer_by_layer() -> None:
    torch.manual_seed(0)
    critic, x = Discriminator().train(), torch.rand(2, 9, 40, 40)
    w = critic.state_dict()
    y = F.leaky_relu(F.conv2d(x, w["layers.0.weight"], w["layers.0.bias"], 2, 1), 0.2)
    for number, stride in ((2, 2), (5, 2), (8, 1)):
        y = F.conv2d(y, w[f"layers.{number}.weight"], None, stride, 1)
        y = F.batch_norm(y, None, None, w[f"layers.{number + 1}.weight"], w[f"layers.{number + 1}.bias"], True)
        y = F.leaky_relu(y, 0.2)
    wanted = F.conv2d(y, w["layers.11.weight"], w["layers.11.bias"], 1, 1)
    torch.testing.assert_close(critic(x), wanted, rtol=1e-4, atol=1e-5)


def test_another_number_of_sources_is_refused() -> None:
    with pytest.raises(InputError, match=r"built for 2 sources and gets 3; train one with model\.fuser\.sources=3"):
        UNet(depth=5)(*pictures(3))


def test_every_parameter_learns() -> None:
    made = UNet(depth=5)
    made(*pictures(2, batch=2)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("settings", "words"), [({"depth": 4}, "depth=4; give at least"), ({"norm": "none"}, "norm 'none' is not known")]
)
def test_settings_that_make_no_network_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build({"_target_": "fuse.models.pix2pix.UNet", **settings})
