"""StackMFF-V4: its parts against plain functions, no order among slices, sizes, the slope that is annealed."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.config import build
from fuse.errors import InputError
from fuse.models.stackmff import AcrossSlices, StackMFF, Vanilla


@pytest.fixture(scope="module")
def network() -> StackMFF:
    """In use, with batch norms that have seen something."""
    torch.manual_seed(0)
    made = StackMFF()
    with torch.no_grad():
        for _ in range(20):
            made(*torch.rand(2, 2, 1, 64, 64))
    return made.eval()


def pictures(count: int, height: int = 64, width: int = 96, batch: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(batch, 1, height, width, generator=generator) for _ in range(count)]


def test_parameters_are_about_those_of_the_authors() -> None:
    assert sum(p.numel() for p in StackMFF().parameters()) == 938_096


def test_stages_halve_the_size_and_have_the_widths_of_mobilenet(network: StackMFF) -> None:
    x, shapes = network.stem(torch.rand(1, 1, 64, 96)), []
    for stage in network.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(24, 16, 24), (40, 8, 12), (80, 4, 6)]
    ups = [(block.first[0].in_channels, block.second[0].out_channels) for block in network.up]
    assert ups == [(480, 240), (240, 160), (160, 80), (80, 40), (40, 24), (24, 16), (16, 16)]


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("resize", ["down", "up", "keep"])
def test_blocks_layer_by_layer(slope: float, resize: str) -> None:
    torch.manual_seed(0)
    made, x = Vanilla(6, 10, resize).eval(), torch.randn(2, 6, 8, 10)
    w = made.state_dict()

    def conv(y: Tensor, name: str) -> Tensor:
        return F.conv2d(y, w[f"{name}.0.weight"], w[f"{name}.0.bias"]) / (1 + 1e-6) ** 0.5  # batch norm as it starts

    y = conv(F.leaky_relu(conv(x, "first"), slope), "second")
    if resize == "down":
        y = F.max_pool2d(y, 2)
    if resize == "up":
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
    wanted = F.conv2d(F.relu(y), w["series.1.weight"], None, 1, 1, 1, 10) / (1 + 1e-6) ** 0.5
    torch.testing.assert_close(made(x, torch.tensor(slope), (16, 20)), wanted, rtol=1e-4, atol=1e-5)


def test_slices_meet_at_every_position_of_a_quarter_of_the_size() -> None:
    torch.manual_seed(0)
    made = AcrossSlices().eval()
    x = torch.rand(2, 3, 8, 8, 12)
    coarse = F.avg_pool2d(x.flatten(0, 1), 4).view(2, 3, 8, 2, 3)
    met = torch.zeros_like(coarse)
    with torch.no_grad():
        for b in range(2):
            for i in range(2):
                for j in range(3):
                    tokens = coarse[b, :, :, i, j][None]
                    for layer in made.layers:
                        tokens = layer(tokens)
                    met[b, :, :, i, j] = tokens[0]
        fine = F.interpolate(met.flatten(0, 1), (8, 12), mode="bilinear", align_corners=True).view(x.shape)
        torch.testing.assert_close(made(x), x + fine, rtol=1e-4, atol=1e-5)


def test_a_layer_is_pre_norm_with_four_heads() -> None:
    torch.manual_seed(0)
    layer = AcrossSlices().layers[0].train()  # there is no dropout
    given = torch.rand(1, 3, 8)
    x, w = given, dict(layer.named_parameters())
    y = F.layer_norm(x, (8,), w["norm1.weight"], w["norm1.bias"])
    q, k, v = (y @ w["self_attn.in_proj_weight"].T + w["self_attn.in_proj_bias"]).chunk(3, -1)
    q, k, v = (part.view(1, 3, 4, 2).transpose(1, 2) for part in (q, k, v))
    mixed = (q @ k.transpose(2, 3) / 2**0.5).softmax(-1) @ v
    x = x + mixed.transpose(1, 2).reshape(1, 3, 8) @ w["self_attn.out_proj.weight"].T + w["self_attn.out_proj.bias"]
    y = F.layer_norm(x, (8,), w["norm2.weight"], w["norm2.bias"])
    hidden = F.gelu(y @ w["linear1.weight"].T + w["linear1.bias"])
    wanted = x + hidden @ w["linear2.weight"].T + w["linear2.bias"]
    torch.testing.assert_close(layer(given), wanted)


def test_slices_are_seen_alone_then_meet_then_alone_then_meet(network: StackMFF) -> None:
    made, (a, b) = copy.deepcopy(network).double(), [x.double() for x in pictures(2)]
    slope = (made.steps / made.anneal).double()
    with torch.no_grad():
        x = torch.stack([made.look(a, slope), made.look(b, slope)], 1)
        x = x + made.meet[0](x)  # which has added x itself already
        x = x + torch.stack([made.refine(x[:, i], slope) for i in range(2)], 1)
        scores = (x + made.meet[1](x)).amax(2)
        weights = made(a, b)
    assert x.shape == (1, 2, 8, 64, 96)
    assert 0.02 < weights[:, 0].mean() < 0.98
    assert torch.equal(weights[:, 0] == 1, scores[:, 0] > scores[:, 1])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_slices_in_any_order(network: StackMFF, count: int) -> None:
    made, sources = copy.deepcopy(network).double(), [x.double() for x in pictures(count)]
    with torch.no_grad():
        weights = made(*sources)
        turned = made(*sources[1:], sources[0])
    assert weights.shape == (1, count, 64, 96)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 64, 96, dtype=torch.float64))
    assert torch.equal(torch.cat([turned[:, -1:], turned[:, :-1]], 1), weights)
    assert set(weights.unique().tolist()) <= {0, 1}


def test_equal_slices_share(network: StackMFF) -> None:
    x = pictures(1)[0].double()
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network).double()(x, x), torch.full((1, 2, 64, 96), 0.5, dtype=torch.float64))


@pytest.mark.parametrize(("height", "width"), [(17, 23), (5, 40), (33, 290), (2, 2)])
def test_any_size(network: StackMFF, height: int, width: int) -> None:
    stored = [torch.randint(256, (1, 3, height, width), dtype=torch.uint8) for _ in range(3)]
    fused = infer.fuse(network, stored)
    assert fused.shape == (1, 3, height, width)
    assert torch.stack([(fused == x).all(1) for x in stored]).any(0).all()  # whole pixels, each from a slice
    assert torch.equal(infer.fuse(network, stored), fused)


def test_in_training_weights_are_soft_and_the_slope_is_annealed() -> None:
    torch.manual_seed(0)
    made, sources = StackMFF(anneal=4), pictures(2, 32, 32, 2)
    weights = made(*sources)
    assert ((weights > 0.01) & (weights < 0.99)).float().mean() > 0.2
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 32, 32))
    weights[:, 0].square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    assert made.steps == 1
    slopes: list[float] = []
    handle = made.refine.register_forward_pre_hook(lambda _, given: slopes.append(given[1].item()))
    for _ in range(5):
        made(*sources)
    made.eval()(*sources)
    handle.remove()
    assert slopes == [0.25, 0.5, 0.75, 1, 1, 1]
    assert made.steps == 6
    other = StackMFF(anneal=4)
    other.load_state_dict(made.state_dict())
    assert other.steps == 6  # a resumed run goes on where it was


def test_an_anneal_that_never_ends_is_refused() -> None:
    with pytest.raises(InputError, match="anneal=0; must be at least 1"):
        build({"_target_": "fuse.models.stackmff.StackMFF", "anneal": 0})
