"""Focus measures of luma, without weights."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data import color
from fuse.models.guided import box_sum


def luma(sources: Sequence[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b n h w"]:
    """Full-range luma of RGB or grey sources, one channel each."""
    return torch.cat([color.split(x, "full")[0] for x in sources], 1)


def laplace(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Signed four-neighbour Laplacian; the outermost pixels are repeated, so that the border is no edge."""
    padded = F.pad(x, [1, 1, 1, 1], mode="replicate")
    up, down = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    return up + down + left + right - 4 * x


def gradients(x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """Differences to the next pixel across and down; 0 at the last one."""
    across = F.pad(x[..., 1:] - x[..., :-1], [0, 1])
    return across, F.pad(x[..., 1:, :] - x[..., :-1, :], [0, 0, 0, 1])


def energy(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """Sum of the squared Laplacian over `size` x `size` (odd) pixels, of those that are inside the picture."""
    return box_sum(F.pad(laplace(x) ** 2, [size // 2] * 4), size)
