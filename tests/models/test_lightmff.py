"""LightMFF: its block and its U-Net against plain functions, what it sees by hand, its map in use."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.models.lightmff import InceptionDepthwise, LightMFF, clues
from fuse.models.sesf import cleaned


def network() -> LightMFF:
    torch.manual_seed(0)
    return LightMFF()


def pictures(height: int = 64, width: int = 96, batch: int = 1) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    return a, b


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in LightMFF().parameters()) == 15_717


def block(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, w[f"{name}.mix.weight"], w[f"{name}.mix.bias"])
    g = x.shape[1] // 8
    square, across, down = x[:, -3 * g : -2 * g], x[:, -2 * g : -g], x[:, -g:]
    parts = [x[:, : -3 * g]]
    for part, kernel, padding in ((square, "square", (1, 1)), (across, "across", (0, 5)), (down, "down", (5, 0))):
        parts.append(F.conv2d(part, w[f"{name}.{kernel}.weight"], w[f"{name}.{kernel}.bias"], 1, padding, 1, g))
    return torch.cat(parts, 1)


def test_the_u_net_layer_by_layer() -> None:
    made, (a, b) = network(), pictures()
    w = made.state_dict()

    def up(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def normed(x: Tensor, name: str) -> Tensor:
        return F.group_norm(x, 4, w[f"{name}.weight"], w[f"{name}.bias"])

    x, t = clues(a, b), []
    for i in range(5):
        x = F.conv2d(x, w["encoders.0.weight"], w["encoders.0.bias"], 1, 1) if i == 0 else block(w, f"encoders.{i}", x)
        x = F.gelu(F.max_pool2d(normed(x, f"encoder_norms.{i}"), 2))
        t.append(x)
    assert [tuple(y.shape[1:]) for y in t] == [(8, 32, 48), (16, 16, 24), (24, 8, 12), (32, 4, 6), (48, 2, 3)]
    x = F.gelu(block(w, "encoders.5", x))
    x = F.gelu(normed(block(w, "decoders.0", x), "decoder_norms.0")) + t[4]
    for i in (1, 2, 3):
        x = F.gelu(up(normed(block(w, f"decoders.{i}", x), f"decoder_norms.{i}"))) + t[4 - i]
    x = F.conv2d(x, w["decoders.4.weight"], w["decoders.4.bias"], 1, 1)
    x = F.gelu(up(normed(x, "decoder_norms.4"))) + t[0]
    wanted = torch.sigmoid(up(F.conv2d(x, w["output.weight"], w["output.bias"], 1, 1)))
    torch.testing.assert_close(made(a, b), torch.cat([wanted, 1 - wanted], 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("outputs", "parts"), [(16, (10, 2, 2, 2)), (24, (15, 3, 3, 3)), (4, (1, 1, 1, 1))])
def test_three_eighths_of_the_channels_are_filtered(outputs: int, parts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made = InceptionDepthwise(outputs, outputs)
    assert made.parts == parts
    x = torch.rand(1, outputs, 13, 13)
    assert torch.equal(made(x)[:, : parts[0]], x[:, : parts[0]])  # equal widths need no 1x1 convolution


def test_what_it_sees_by_hand() -> None:
    a, b = torch.full((2, 3, 20, 20), 0.5), torch.full((2, 3, 20, 20), 0.5)
    a[1, :, 10, 3], b[1, :, 10, 16] = 1, 0.9
    seen = clues(a, b)
    assert torch.equal(seen[:, :3], a)
    assert torch.equal(seen[:, 3:6], b)
    assert not seen[0, 6].any()  # equal frequencies: the second
    assert seen[1, 6, 10, 4] == 1
    assert seen[1, 6, 10, 15] == 0
    assert torch.equal(seen[:, 6] + seen[:, 7], torch.ones(2, 20, 20))
    assert torch.equal(seen[:, 8:].amax((2, 3)), torch.ones(2, 2))  # each divided by its own largest
    assert seen[1, 8, 10, 10] < 1e-3


def test_the_map_in_use_is_made_at_256_and_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    made, (a, b) = network().eval(), pictures(90, 70)
    seen: list[Tensor] = []
    soft = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(5))
    soft = F.interpolate(soft, (256, 256), mode="bilinear")

    def focus(x: Tensor, y: Tensor) -> Tensor:
        seen.extend([x, y])
        return soft

    monkeypatch.setattr(made, "focus", focus)
    weights = made(a, b)
    for shown, given in zip(seen, (a, b), strict=True):
        torch.testing.assert_close(shown, F.interpolate(given, (256, 256), mode="bilinear", align_corners=True))
    mask = F.interpolate(soft, (90, 70), mode="bilinear", align_corners=True) >= 0.5
    assert 0.1 < cleaned(mask).float().mean() < 0.9
    assert not torch.equal(cleaned(mask), mask)
    assert torch.equal(weights[:, :1], cleaned(mask).float())
    assert torch.equal(weights.sum(1), torch.ones(1, 90, 70))


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 17, 23), (1, 5, 300), (3, 2, 2)])
def test_pictures_of_any_size_are_selected_from(channels: int, height: int, width: int) -> None:
    made = network().eval()
    stored = [torch.randint(256, (1, channels, height, width), dtype=torch.uint8) for _ in range(2)]
    fused = infer.fuse(made, stored)
    assert ((fused == stored[0]).all(1) | (fused == stored[1]).all(1)).all()
    assert torch.equal(infer.fuse(made, stored), fused)


@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_patches_are_seen_as_they_are(size: tuple[int, int]) -> None:
    made, (a, b) = network(), pictures(*size, 2)
    weights = made(a, b)
    assert weights.shape == (2, 2, *size)
    torch.testing.assert_close(weights[1:], made(a[1:], b[1:]), rtol=1e-4, atol=1e-5)
    weights[:, 0].square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
