"""PMGI: its layers against plain functions, and the three ways to normalise."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.config import build
from fuse.errors import InputError
from fuse.models.pmgi import PMGI, Variant


def network(variant: Variant = "paper") -> PMGI:
    """In use, every weight and statistic of its own."""
    made, generator = PMGI(variant), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.2 + 0.15 * torch.rand(tensor.shape, generator=generator).sub(0.5))
    return made.eval()


def pictures(height: int = 17, width: int = 22, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, batch, 1, height, width, generator=generator)
    return a, b


@pytest.mark.parametrize(("variant", "count"), [("paper", 42_017), ("released", 42_017), ("ours", 41_633)])
def test_parameters_are_those_of_the_paper(variant: Variant, count: int) -> None:
    made = PMGI(variant)
    assert sum(p.numel() for p in made.parameters()) == count
    if variant != "ours":  # with the running statistics, as many floats as the released files hold
        floats = [x for x in made.state_dict().values() if x.is_floating_point()]
        assert sum(x.numel() for x in floats) == 42_401


@pytest.mark.parametrize("variant", ["paper", "released", "ours"])
def test_layer_by_layer(variant: Variant) -> None:
    made, (a, b) = network(variant), pictures()
    w = made.state_dict()

    def layer(name: str, *parts: Tensor) -> Tensor:
        kernel = w[f"{name}.conv.weight"]
        x = F.conv2d(torch.cat(parts, 1), kernel, w[f"{name}.conv.bias"], padding=kernel.shape[-1] // 2)
        if variant == "paper":
            mean, variance, scale, shift = (
                w[f"{name}.norm.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
            )
            x = (x - mean) / (variance + 1e-5).sqrt() * scale + shift
        if variant == "released":
            x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        return torch.where(x > 0, x, 0.2 * x)

    x, y = (p * 255 / 127.5 - 1 for p in (a, b))
    a1, b1 = layer("a.layer1", x, x, y), layer("b.layer1", y, y, x)
    a2, b2 = layer("a.layer2", a1), layer("b.layer2", b1)
    a23, b23 = (layer(f"{path}.exchange1", a2, b2) for path in "ab")
    a3, b3 = layer("a.layer3", a1, a2, a23), layer("b.layer3", b1, b2, b23)
    a34, b34 = (layer(f"{path}.exchange2", a3, b3) for path in "ab")
    a4, b4 = layer("a.layer4", a1, a2, a3, a34), layer("b.layer4", b1, b2, b3, b34)
    last = F.conv2d(torch.cat([a1, b1, a2, b2, a3, b3, a4, b4], 1), w["output.weight"], w["output.bias"])
    torch.testing.assert_close(made(a, b), (127.5 * torch.tanh(last) + 127.5) / 255, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "released", "ours"])
def test_pictures_in_use_do_not_depend_on_their_company(variant: Variant) -> None:
    torch.manual_seed(0)
    made, (a, b) = PMGI(variant).eval(), pictures()
    with torch.no_grad():
        torch.testing.assert_close(made(a, b)[1:], made(a[1:], b[1:]), rtol=1e-4, atol=1e-5)


def test_only_the_released_form_depends_on_the_crop() -> None:
    torch.manual_seed(0)
    a, b = pictures(40, 40, 1)
    for variant, same in (("paper", True), ("ours", True), ("released", False)):
        made = PMGI(variant).eval()
        with torch.no_grad():
            whole, part = made(a, b)[..., 5:25, 5:25], made(a[..., :30, :30], b[..., :30, :30])[..., 5:25, 5:25]
        assert torch.allclose(whole, part, atol=1e-5) == same
        assert infer.traits(made).margin == (5 if same else None)


def test_in_training_all_norms_but_none_take_the_statistics_of_the_batch() -> None:
    a, b = pictures()
    for variant in ("paper", "released"):
        torch.manual_seed(0)
        made = PMGI(variant)
        torch.manual_seed(0)
        other = PMGI("paper")
        torch.testing.assert_close(made(a, b), other(a, b))
        assert made.a.layer1.norm.running_mean.any()
        made(a, b).mean().backward()
        assert all(p.grad is not None for p in made.parameters())


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_variant_is_refused_with_the_known() -> None:
    with pytest.raises(InputError, match="variant 'old' is not known; choose paper, released, ours"):
        build({"_target_": "fuse.models.pmgi.PMGI", "variant": "old"})
