"""A decision map, blended: who wins, and what happens at the seam."""

import numpy as np
import torch
from scipy.ndimage import laplace, uniform_filter
from torch import Tensor

from fuse.data import color
from fuse.models.maskblend import MaskBlend
from fuse.models.pyramid import blended
from fuse.models.sharpness import energy
from fuse.models.sharpness import laplace as our_laplace


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_energy_agrees_with_scipy() -> None:
    x = noise(1, 2, 30, 26)
    for ours, theirs, picture in zip(our_laplace(x)[0], energy(x, 7)[0], x[0].numpy(), strict=True):
        filtered = laplace(picture, mode="nearest")
        assert np.allclose(ours, filtered, rtol=0, atol=1e-13)
        assert np.allclose(theirs, uniform_filter(filtered**2, 7, mode="constant") * 49, rtol=0, atol=1e-10)


def test_it_is_the_blend_of_the_hard_choice_on_luma() -> None:
    sources = list(noise(3, 1, 3, 44, 50))
    seen = torch.cat([energy(color.split(x, "full")[0], 5) for x in sources], 1)
    hard = torch.nn.functional.one_hot(seen.argmax(1), 3).movedim(-1, 1).double()
    assert (hard.sum((2, 3)) > 100).all()
    torch.testing.assert_close(MaskBlend(3, 5)(*sources), blended(sources, hard, 3))


def test_away_from_the_seam_the_winner_is_untouched_and_at_the_seam_there_is_no_step() -> None:
    texture = 0.1 * noise(1, 1, 64, 128)
    near, far = texture + 0.2, texture + 0.6
    near[..., 64:], far[..., :64] = 0.25, 0.65  # flat where out of focus; far is brighter everywhere
    fused = MaskBlend(3, 5)(near, far)
    torch.testing.assert_close(fused[..., :32], near[..., :32], rtol=0, atol=1e-12)
    torch.testing.assert_close(fused[..., 96:], far[..., 96:], rtol=0, atol=1e-12)
    profile = fused.mean((0, 1, 2))
    assert (profile[1:] - profile[:-1]).abs().max() < 0.1
