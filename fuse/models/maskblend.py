"""A hard decision map, and the sources blended by it in a pyramid, which removes the seams and keeps the sharpness.

P. J. Burt, E. H. Adelson, A multiresolution spline with application to image mosaics, ACM TOG 2(4), 1983.
"""

from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.masks import winners
from fuse.models.pyramid import blended
from fuse.models.sharpness import energy, luma


class MaskBlend(nn.Module):
    """Most Laplacian energy in `window`^2 pixels wins; the sources are blended by that in a Laplacian pyramid.

    Decided on luma, blended in every channel alike. Equal energies share.
    """

    channels = 3

    def __init__(self, levels: int = 5, window: int = 17) -> None:
        super().__init__()
        self.levels, self.window = levels, window
        self.multiple = 2**levels  # tiles must begin where the coarsest samples lie
        self.margin = 4 * 2**levels + window // 2 + 1

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Fused picture of pictures (RGB or grey) in [0, 1]; may overshoot the range."""
        return blended(sources, winners(energy(luma(sources), self.window)), self.levels)
