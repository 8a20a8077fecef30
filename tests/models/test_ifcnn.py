"""IFCNN: layers against plain functions, its rules, its two kinds of pictures, and the layer that is not trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import checkpoint, infer
from fuse.config import build
from fuse.data import color
from fuse.errors import InputError
from fuse.models import ifcnn
from fuse.models.ifcnn import IFCNN

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def network(*settings: object) -> IFCNN:
    """In use, with batch norms that have seen something."""
    torch.manual_seed(0)
    made = IFCNN(*settings)
    with torch.no_grad():
        made(torch.rand(4, made.channels, 24, 24))
    return made.eval()


def pictures(count: int, channels: int = 3, height: int = 19, width: int = 26) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(1, channels, height, width, generator=generator) for _ in range(count)]


def plain(made: IFCNN, sources: list[Tensor], join: Callable[[Tensor], Tensor]) -> Tensor:
    w = made.state_dict()

    def block(x: Tensor, name: str) -> Tensor:
        x = F.conv2d(F.pad(x, (1,) * 4, mode="replicate"), w[f"{name}.0.weight"])
        norm = [w[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *norm))

    features = [block(F.conv2d(F.pad(x, (3,) * 4, mode="replicate"), w["first.weight"]), "extract") for x in sources]
    return F.conv2d(block(join(torch.stack(features)), "rebuild"), w["output.weight"], w["output.bias"])


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in IFCNN().parameters()) == 83_587


JOIN: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.max(0).values,
    "mean": lambda x: x.mean(0),
    "sum": lambda x: x.sum(0),
}


@pytest.mark.parametrize("rule", JOIN)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_layers_are_those_of_the_paper(rule: str, count: int) -> None:
    made, sources = network(rule), pictures(count)
    wanted = plain(made, [(x - MEAN) / DEVIATION for x in sources], JOIN[rule]) * DEVIATION + MEAN
    torch.testing.assert_close(made(*sources), wanted, rtol=1e-4, atol=1e-5)


def test_luma_goes_in_three_times_as_it_is_and_comes_out_as_luma() -> None:
    made, sources = network("max", 1), pictures(2, 1)
    wanted = plain(made, [x.expand(-1, 3, -1, -1) for x in sources], JOIN["max"])
    torch.testing.assert_close(made(*sources), color.split(wanted, "full")[0], rtol=1e-4, atol=1e-5)


def test_the_order_of_the_sources_does_not_matter() -> None:
    made, (a, b, c) = network(), pictures(3)
    assert torch.equal(made(a, b, c), made(c, a, b))
    assert torch.equal(made(a, b, b), made(b, a))  # a copy adds nothing to a maximum


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_join_to_the_whole(channels: int) -> None:
    made = network("max", channels)
    stored = [(x * 255).round().to(torch.uint8) for x in pictures(2, 3, 45, 38)]
    whole = infer.fuse(made, stored)
    assert whole.shape == (1, 3, 45, 38)
    assert (infer.fuse(made, stored, tile=16).int() - whole.int()).abs().max() <= 1


def test_every_parameter_learns() -> None:
    made = IFCNN()
    made(*pictures(2)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


def test_the_pretrained_layer_is_fetched_once_and_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Tensor] = []

    def kernels() -> Tensor:
        fetched.append(torch.rand(64, 3, 7, 7))
        return fetched[-1]

    monkeypatch.setattr(ifcnn, "imagenet_kernels", kernels)
    made, sources = IFCNN(pretrained=True), pictures(2)
    assert not fetched  # nothing happens before it is used
    assert sum(p.numel() for p in made.parameters()) == 83_587 - 64 * 3 * 49
    made(*sources)
    made(*sources)
    assert len(fetched) == 1
    assert torch.equal(made.first.weight, fetched[0])
    node = {"_target_": "fuse.models.ifcnn.IFCNN", "pretrained": True}
    checkpoint.save(tmp_path / "c", {"fuser": made}, {"fuser": node}, {}, {})
    loaded, _ = checkpoint.load(tmp_path / "c")
    assert torch.equal(loaded(*sources), made.eval()(*sources))
    assert len(fetched) == 1


def test_what_cannot_be_downloaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet101_Weights

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(ResNet101_Weights, "get_state_dict", offline)
    with pytest.raises(InputError, match=r"no network; set model\.fuser\.pretrained=false"):
        IFCNN(pretrained=True)(*pictures(2))


@pytest.mark.usefixtures("unchecked_types")
def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="rule=l1, channels=3; rule is max, mean or sum"):
        build({"_target_": "fuse.models.ifcnn.IFCNN", "rule": "l1"})
