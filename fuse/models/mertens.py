"""Exposure fusion: what is well exposed, coloured and contrasty, blended in a pyramid.

T. Mertens, J. Kautz, F. Van Reeth, Exposure fusion, Pacific Graphics 2007.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.pyramid import blended
from fuse.models.sharpness import laplace, luma
from fuse.order import summed

SPREAD = 0.2  # of the Gaussian around mid-grey that says how well a level is exposed


class Mertens(nn.Module):
    """Weights contrast^a saturation^b exposedness^c, divided by their sum; the pyramid goes down to a pixel or two.

    Contrast: |Laplacian| of luma. Saturation: standard deviation of the channels; where no source has any, it is left
    out, so that grey pictures can be fused. Exposedness: product over the channels of exp(-(x - 1/2)^2 / (2 0.2^2)).
    The exponents are 1, as in the paper; OpenCV's third is 0.
    """

    channels = 3
    everywhere = "its pyramid goes down to a pixel or two"  # hence no margin

    def __init__(self, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 1.0) -> None:
        super().__init__()
        self.exponents = contrast, saturation, exposedness

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Fused picture of pictures (RGB or grey) in [0, 1], in any order; may overshoot the range."""
        colourful = torch.cat([saturation(x) for x in sources], 1)
        colourful = torch.where(colourful.amax(1, keepdim=True) > 0, colourful, 1)
        exposed = [torch.exp(((x - 0.5) ** 2).sum(1, keepdim=True) / (-2 * SPREAD**2)) for x in sources]
        weights = torch.ones_like(colourful)
        for measure, exponent in zip(
            (laplace(luma(sources)).abs(), colourful, torch.cat(exposed, 1)), self.exponents, strict=True
        ):
            weights = weights * measure**exponent
        weights = weights + 1e-12  # equal shares where all are 0
        levels = min(weights.shape[-2:]).bit_length() - 1
        return blended(sources, weights / summed(weights.split(1, 1)), levels, smallest=1)


def saturation(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Standard deviation of the three channels, from their differences, so that it is exactly 0 for grey."""
    if x.shape[1] == 1:
        return torch.zeros_like(x)
    red, green, blue = x.split(1, 1)
    return torch.sqrt((red - green) ** 2 + (green - blue) ** 2 + (blue - red) ** 2) / 3
