"""CNN and contrast pyramid: the classifier, the rule of the bands by hand, pyramids that give back what they took."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import pytest
import torch
from torch.nn import functional as F

from fuse import train
from fuse.config import build
from fuse.errors import InputError
from fuse.models.medcnn import MedCNN, joined

Tiny = Callable[..., tuple[dict[str, Any], Path]]


def test_parameters_and_shapes_are_those_of_the_table() -> None:
    network = MedCNN()
    assert claims.parameters(network) == 435_202
    shapes = [tuple(p.shape) for p in network.parameters() if p.dim() == 4]
    assert shapes == [(64, 1, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (2, 512, 8, 8)]


def test_a_window_of_sixteen_gets_one_score_and_every_second_pixel_starts_one() -> None:
    network = MedCNN()
    a, b = claims.pictures(16, 22, batch=2)
    fused, told = network(a, b)
    assert told["scores"].shape == (2, 2, 1, 4)
    share = told["scores"][:, :1]
    first = share[..., :1]  # the two leftmost columns lie in the first window alone
    torch.testing.assert_close(fused[..., :2], first * a[..., :2] + (1 - first) * b[..., :2])
    torch.testing.assert_close(told["scores"].sum(1), torch.ones(2, 1, 4))


def test_the_classifier_by_its_layers() -> None:
    network = MedCNN()
    a, b = claims.pictures(16, 16)
    w = network.state_dict()

    def branch(x: torch.Tensor) -> torch.Tensor:
        for i, pooled in ((0, False), (2, True), (5, False)):
            x = F.conv2d(x, w[f"branch.{i}.weight"], w[f"branch.{i}.bias"], padding=1).clamp_min(0)
            x = F.max_pool2d(x, 2) if pooled else x
        return x

    features = torch.cat([branch(a), branch(b)], 1)
    logits = torch.einsum("bchw,ochw->bo", features, w["decide.weight"]) + w["decide.bias"]
    torch.testing.assert_close(network(a, b)[1]["scores"].flatten(1), logits.softmax(1))


def test_bands_that_are_alike_are_mixed_and_others_are_chosen_by_energy() -> None:
    x = torch.ones(1, 1, 5, 5)
    share = torch.full_like(x, 0.25)
    torch.testing.assert_close(joined(x, 2 * x, share), 0.25 * x + 0.75 * 2 * x)  # match 2 * 2 / 5 = 0.8
    assert torch.equal(joined(x, 4 * x, share), 4 * x)  # match 8 / 17 = 0.47
    assert torch.equal(joined(3 * x, -x, share), 3 * x)  # against each other
    assert not joined(0 * x, 0 * x, share).any()


@pytest.mark.parametrize("pyramid", ["contrast", "laplacian"])
@pytest.mark.parametrize("size", [(33, 47), (64, 64)])
def test_of_one_picture_twice_that_picture_is_left(pyramid: str, size: tuple[int, int]) -> None:
    network = MedCNN(pyramid)
    claims.lively(network)
    picture = claims.pictures(*size, 1)[0]
    picture[..., :20, :20] = 0  # a black background must not divide by zero
    with torch.no_grad():
        torch.testing.assert_close(network(picture, picture), picture, rtol=0, atol=2e-6)


def test_an_offset_keeps_faint_tissue_near_bone_from_turning_black() -> None:
    bone, tissue = torch.zeros(2, 1, 1, 32, 32).unbind()
    bone[..., :12, :], tissue[..., 16:26, :] = 1.0, 0.3
    left = []
    for offset in (1 / 255, 0.3):
        fused = MedCNN("contrast", 3, offset).blend(bone, tissue, torch.full_like(bone, 0.5))
        left.append(fused[..., 16:26, :].mean().item() / 0.3)
    assert left[1] > 0.3 > 5 * left[0]


@pytest.mark.parametrize("pyramid", ["contrast", "laplacian"])
def test_in_use(pyramid: str, tmp_path: Path) -> None:
    network = MedCNN(pyramid, 3)
    claims.lively(network, 1.0)
    claims.fits_any_size(network)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path, pyramid=pyramid, levels=3)
    claims.tiles_like_whole(network, 40, 230, 32)


def test_what_is_farther_than_the_margin_does_not_matter() -> None:
    network = MedCNN(levels=2)
    claims.lively(network, 1.0).double()
    given, farthest = [x.double() for x in claims.pictures(16, 96)], 0
    with torch.no_grad():
        before = network(*given)
        for place in range(44, 48):
            others = [given[0].clone(), given[1]]
            others[0][..., 8, place] += 0.5
            moved = ((network(*others) - before).abs().amax((0, 1, 2)) > 1e-13).nonzero()
            farthest = max(farthest, int((moved - place).abs().max()))
    assert 20 < farthest <= network.margin == 56


def test_it_learns_which_window_is_sharp(tiny: Tiny) -> None:
    cfg, out = tiny("run", "model=medcnn", "model.patches.size=16", "model.patches.batch=16", "run.steps=30")
    cfg["run"] |= {"evaluate": False, "val_every": 30, "ema": 0, "log_every": 1}
    train.run(cfg, out)
    lines = (out / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("cross_entropy")
    values = [float(line.split(",")[column]) for line in lines[1:]]
    assert sum(values[-6:]) / 6 < 0.8 * sum(values[:3]) / 3


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_pyramid_is_refused() -> None:
    with pytest.raises(InputError, match=r"pyramid 'dwt' of 5 levels, offset 0\.3: choose contrast or"):
        build({"_target_": "fuse.models.medcnn.MedCNN", "pyramid": "dwt"})
