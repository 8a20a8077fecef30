"""MFF-GAN's networks against the same layers written with plain functions, and the variants that mend it."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import claims
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.config import build
from fuse.errors import InputError
from fuse.models.mffgan import Discriminator, Generator, Variant

LADDER: tuple[Variant, ...] = ("paper", "shared", "wide", "ours")
FIELDS: dict[Variant, int] = {"paper": 11, "shared": 11, "wide": 61, "ours": 61}


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


@pytest.mark.parametrize(("variant", "count"), list(zip(LADDER, (40_033, 20_017, 20_017, 20_016), strict=True)))
def test_parameters_of_the_variants(variant: Variant, count: int) -> None:
    made = Generator(variant=variant)
    assert claims.parameters(made) == count
    parts = {"near", "far", "output"} if variant == "paper" else {"path", "output"}
    assert {name.partition(".")[0] for name in made.state_dict()} == parts


@pytest.mark.parametrize("variant", LADDER[1:])
@pytest.mark.parametrize("count", [2, 3])
def test_shared_paths_layer_by_layer(variant: Variant, count: int) -> None:
    network = Generator(variant=variant)
    w = started(network)
    spread = dict(zip(("conv2", "conv3", "conv4"), (1, 1, 1) if variant == "shared" else (4, 8, 16), strict=True))

    def layer(name: str, *parts: Tensor) -> Tensor:
        kernel, apart = w[f"path.{name}.weight"], spread.get(name, 1)
        x = F.conv2d(torch.cat(parts, 1), kernel, padding=apart * (kernel.shape[-1] // 2), dilation=apart)
        x = x + w[f"path.{name}.bias"].view(1, -1, 1, 1)
        return torch.where(x > 0, x, 0.2 * x)

    def others(features: list[Tensor]) -> list[Tensor]:
        return [(sum(features) - own) / (count - 1) for own in features]

    sources = pictures(count)
    one = [layer("conv1", 2 * x - 1) for x in sources]
    two = [layer("conv2", x) for x in one]
    told = [layer("exchange1", *both) for both in zip(two, others(two), strict=True)]
    three = [layer("conv3", *parts) for parts in zip(one, two, told, strict=True)]
    told = [layer("exchange2", *both) for both in zip(three, others(three), strict=True)]
    four = [layer("conv4", *parts) for parts in zip(one, two, three, told, strict=True)]
    last = [F.conv2d(torch.cat(parts, 1), w["output.weight"]) for parts in zip(one, two, three, four, strict=True)]
    if variant == "ours":
        wanted = torch.cat(last, 1).softmax(1)
    else:
        wanted = (torch.tanh(sum(last) / count + w["output.bias"]) + 1) / 2
    torch.testing.assert_close(network(*sources), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", LADDER[1:])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_number_in_any_order_to_the_last_bit(variant: Variant, count: int) -> None:
    network, sources = claims.lively(Generator(variant=variant), 1.0), pictures(count)
    result = network(*sources)
    assert result.std() > 0.01
    for order in permutations(range(count)):
        moved = network(*(sources[i] for i in order))
        assert torch.equal(moved, result[:, list(order)] if variant == "ours" else result)


def test_copies_change_nothing_where_paths_are_shared() -> None:
    network, (x,) = claims.lively(Generator(variant="shared"), 1.0), pictures(1)
    torch.testing.assert_close(network(x, x, x, x), network(x, x))


@pytest.mark.parametrize("variant", LADDER)
def test_the_receptive_field_has_the_stated_width_and_no_gaps(variant: Variant) -> None:
    network = claims.lively(Generator(variant=variant), 1.0).double()
    field, margin = FIELDS[variant], infer.traits(network).margin
    assert field == 2 * (margin or 0) + 1
    middle = margin + 3
    sources = [x.double().requires_grad_() for x in pictures(2, 2 * middle + 1, 2 * middle + 1)]
    network(*sources)[0, 0, middle, middle].backward()
    for x in sources:
        seen = torch.zeros_like(x[0, 0], dtype=torch.bool)
        seen[middle - margin : middle + margin + 1, middle - margin : middle + margin + 1] = True
        assert torch.equal(x.grad[0, 0] != 0, seen)


@pytest.mark.parametrize("variant", LADDER)
def test_what_holds_for_every_network_holds_for_the_variants(variant: Variant, tmp_path: Path) -> None:
    network = claims.lively(Generator(variant=variant), 1.0)
    claims.is_settled(network)
    claims.tiles_like_whole(network, 96, 130, 32)
    claims.survives_saving(network, tmp_path, variant=variant)
    fused = infer.whole(network, pictures(2, 1, 1))
    assert fused.shape == (2, 2 if variant == "ours" else 1, 1, 1)
    result = network(*pictures(2))
    claims.learns_everywhere(network, result[:, :1])


def test_the_papers_form_takes_two_sources_and_the_others_more() -> None:
    for variant in LADDER:
        network = Generator(variant=variant)
        assert [infer.takes(network, count) for count in (1, 2, 3, 7)] == [False, True, *[variant != "paper"] * 2]
    with pytest.raises(InputError, match="a path for each of two sources and gets 3; take variant=ours"):
        Generator()(*pictures(3))


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InputError, match="variant 'mine' is not known; choose paper, shared, wide, ours"):
        build({"_target_": "fuse.models.mffgan.Generator", "variant": "mine"})


@pytest.mark.parametrize("count", [2, 3])
def test_ours_takes_pixels_of_the_sources(count: int) -> None:
    network, sources = claims.lively(Generator(variant="ours"), 1.0), pictures(count)
    weights = network(*sources)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 15, 21))
    assert weights.min() > 0
    stored = [(x[:1].expand(-1, 3, -1, -1) * 255).round().to(torch.uint8) for x in sources]
    fused = infer.fuse(network, stored)
    least, most = torch.stack(stored).amin(0), torch.stack(stored).amax(0)
    assert bool(((least <= fused) & (fused <= most)).all())
    assert torch.equal(infer.fuse(network, [stored[0]] * count), stored[0])
    assert [infer.traits(Generator(variant=variant)).selects for variant in LADDER] == [False, False, False, True]


def test_scores_of_any_size_make_weights() -> None:
    network = claims.lively(Generator(variant="ours"), 1.0)
    with torch.no_grad():
        network.output.weight.mul_(1e4)
    weights = network(*pictures(2))
    assert torch.isfinite(weights).all()
    assert set(weights.unique().tolist()) >= {0.0, 1.0}


def test_the_experiment_that_mends_all(composed: Callable[..., dict[str, Any]]) -> None:
    paper, mended = (composed("train", f"experiment={name}") for name in ("mffgan_lytro", "mffgan_ours"))
    assert paper["model"]["fuser"]["variant"] == "paper"
    assert [paper["loss"][name]["term"]["window"] for name in ("intensity", "gradient")] == [1, 1]
    assert mended["model"]["fuser"] == paper["model"]["fuser"] | {"variant": "ours", "init_std": None}
    assert mended["model"]["critic"] == paper["model"]["critic"] | {"init_std": None}
    assert [mended["loss"][name]["term"]["window"] for name in ("intensity", "gradient")] == [9, 9]
    assert mended["data"]["name"] == "mfi_whu"
    for name in ("step", "patches"):
        assert mended["model"][name] == paper["model"][name]
    assert mended["optim"] == paper["optim"]


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
