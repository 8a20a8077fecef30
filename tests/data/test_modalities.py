"""Made scenes of two sensors: what each alone knows is in the reference, and the other does not show it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fuse.data.modalities import colours, ct_mri, infrared_visible, pet_mri
from fuse.data.optics import Scene
from fuse.metrics import cc

SCENES: list[tuple[Callable[..., Scene], tuple[int, int]]] = [
    (infrared_visible, (1, 3)),
    (ct_mri, (1, 1)),
    (pet_mri, (3, 1)),
]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def luma(picture: Tensor) -> Tensor:
    return picture.mean(0)


@pytest.mark.parametrize(("make", "channels"), SCENES)
def test_pictures_of_the_right_form_the_same_for_ever(make: Callable[..., Scene], channels: tuple[int, int]) -> None:
    scene, again = make(64, rng(5)), make(64, rng(5))
    assert tuple(x.shape[0] for x in scene.sources) == channels
    for one, other in zip((*scene.sources, scene.reference), (*again.sources, again.reference), strict=True):
        assert torch.equal(one, other)
        assert one.min() >= 0
        assert one.max() <= 1
        assert one.shape[1:] == (64, 64)
        assert one.std() > 0.02


@pytest.mark.parametrize("seed", range(4))
def test_targets_are_known_to_the_infrared_alone(seed: int) -> None:
    infrared, visible = infrared_visible(96, rng(seed)).sources
    scene = infrared_visible(96, rng(seed))
    assert scene.focus is not None
    warm = scene.focus[0] > 0
    assert 20 < warm.sum() < 96 * 96 / 2
    assert infrared[0][warm].mean() - infrared[0][~warm].mean() > 0.25
    assert (luma(scene.reference)[warm] - luma(visible)[warm]).mean() > 0.05
    torch.testing.assert_close(scene.reference[:, ~warm], visible[:, ~warm])


def test_texture_is_known_to_the_visible_alone() -> None:
    detail = [0.0, 0.0]
    for seed in range(4):
        scene = infrared_visible(96, rng(seed), targets=0)
        for i, source in enumerate(scene.sources):
            detail[i] += luma(source).diff(dim=-1).abs().mean().item()
    assert detail[1] > 1.5 * detail[0]


@pytest.mark.parametrize("seed", range(3))
def test_bone_is_known_to_ct_and_tissue_to_mri(seed: int) -> None:
    scene = ct_mri(96, rng(seed))
    (ct,), (mri,) = scene.sources
    assert scene.focus is not None
    bone = scene.focus[0] > 0
    brain = ~bone & (mri > 0.2)
    assert ct[bone].mean() > 0.6
    assert mri[bone].mean() < 0.3
    assert mri[brain].std() > 2 * ct[brain].std()
    assert torch.equal(scene.reference[0], torch.where(bone, ct, mri))
    corner = slice(0, 4)
    assert scene.reference[0, corner, corner].max() == 0  # the ground is empty


def test_activity_is_coarser_than_tissue_and_its_colours_run_in_order() -> None:
    scene = pet_mri(96, rng(1))
    pet, mri = (luma(x)[30:66, 30:66] for x in scene.sources)
    fine = [(x.diff(dim=-1).abs().mean() / x.std()).item() for x in (pet, mri)]
    assert fine[0] < 0.5 * fine[1]
    ramp = colours(torch.linspace(0, 1, 5).expand(5, 5))[:, 0].T
    assert ramp.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    one = [x[None, None] * 255 for x in (luma(scene.reference), luma(scene.sources[1]))]
    assert cc(one[0], [one[1]]).item() > 0.5
