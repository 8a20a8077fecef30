"""The plainest decision map: Laplacian energy under a Gaussian window."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.metrics.windows import gaussian, smooth
from fuse.models.masks import winners
from fuse.models.sharpness import laplace


class Gaussian(nn.Module):
    """Per pixel the source with the most Laplacian energy under a Gaussian window; hard, equal ones are averaged.

    Window of `sigma` pixels, cut at three of them; the outermost values are repeated beyond the border.
    """

    selects, luma = True, "full"

    def __init__(self, sigma: float = 5.0) -> None:
        super().__init__()
        self.window = gaussian(2 * round(3 * sigma) + 1, sigma)
        self.margin = len(self.window) // 2 + 1

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1."""
        around = [len(self.window) // 2] * 4
        return winners(smooth(F.pad(laplace(torch.cat(sources, 1)) ** 2, around, mode="replicate"), self.window))
