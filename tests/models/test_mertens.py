"""Exposure fusion against OpenCV's."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fuse.models.mertens import Mertens, saturation


def exposures(count: int = 3, side: int = 64) -> list[Tensor]:
    """A scene of smooth and fine colours, exposed from dark to bright."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    scene = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    scene = (scene + 0.1 * torch.rand(1, 3, side, side, generator=generator)).clamp(0, 1)
    return [(scene * 2.0**stop).clamp(0, 1) for stop in range(-count // 2, count - count // 2)]


@pytest.mark.parametrize("exponents", [(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (0.5, 0.0, 2.0)])
def test_it_agrees_with_opencv(exponents: tuple[float, float, float]) -> None:
    sources = exposures()
    arrays = [(x[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for x in sources]
    theirs = cv2.createMergeMertens(*exponents).process(arrays)  # reads its channels as RGB, whatever is said elsewhere
    ours = Mertens(*exponents)(*(torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in arrays))
    difference = np.abs(ours[0].permute(1, 2, 0).numpy() - theirs)
    assert difference.mean() < 0.002  # OpenCV mirrors at the border of the Laplacian and elsewhere; ours repeats
    assert difference[16:-16, 16:-16].max() < 0.01


def test_saturation_by_hand() -> None:
    pixels = torch.tensor([[1.0, 0, 0], [0.2, 0.2, 0.2], [0.1, 0.4, 0.7]]).T.reshape(1, 3, 1, 3)
    expected = pixels.double().std(1, correction=0)
    torch.testing.assert_close(saturation(pixels).double()[:, 0], expected)
    assert saturation(pixels)[..., 1] == 0
    assert saturation(pixels[:, :1]).tolist() == [[[[0.0, 0.0, 0.0]]]]


def test_grey_pictures_are_not_just_averaged() -> None:
    grey = [x[:, :1] for x in exposures()]
    fused = Mertens()(*grey)
    torch.testing.assert_close(Mertens()(*(x.expand(-1, 3, -1, -1) for x in grey))[:, :1], Mertens(1, 1, 3)(*grey))
    assert (fused - torch.stack(grey).mean(0)).abs().mean() > 0.05
    torch.testing.assert_close(fused, Mertens(saturation=0)(*grey))


def test_what_is_lost_in_one_exposure_comes_from_another() -> None:
    texture = 0.2 * torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    dark, bright = texture + 0.4, texture + 0.4
    dark[..., 32:], bright[..., :32] = 0.0, 1.0
    fused = Mertens()(dark, bright)
    assert fused.std((-1, -2)).min() > 0.8 * texture.std()
