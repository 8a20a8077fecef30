"""Pictures continued beyond their borders."""

import torch
from jaxtyping import Float
from torch import Tensor


def mirrored(x: Float[Tensor, "b c h w"], top: int, bottom: int, left: int, right: int) -> Float[Tensor, "b c y x"]:
    """Continued by the mirror image about the outermost pixels, which are not repeated, and so on as far as asked."""
    for axis, before, after in ((-2, top, bottom), (-1, left, right)):
        last = x.shape[axis] - 1
        places = torch.arange(-before, last + 1 + after, device=x.device) % max(2 * last, 1)
        x = x.index_select(axis, torch.minimum(places, 2 * last - places))
    return x
