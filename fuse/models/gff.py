"""GFF: two scales, each weighted by saliency that a guided filter brings to the edges of the picture.

S. Li, X. Kang, J. Hu, Image fusion with guided filtering, IEEE TIP 22(7), 2013.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.metrics.windows import gaussian, smooth
from fuse.models.guided import box_mean, guided_filter
from fuse.models.masks import winners
from fuse.models.sharpness import laplace, luma
from fuse.order import summed

BASE_RADIUS = 15  # of the 31x31 mean that splits base and detail
SALIENCY_WINDOW = gaussian(11, 5.0)
OF_BASE = (45, 0.3)  # radius and eps of the guided filter, for luma in [0, 1]
OF_DETAIL = (7, 1e-6)


class Gff(nn.Module):
    """Guided filter fusion, for any number of sources; of the rules here the best for multi-focus.

    What has little texture loses, however bright: people in infrared pictures can vanish; `Laplacian` and `Swt` keep
    them.

    Saliency S = Gaussian of |Laplacian| of luma; P = 1 where S is the largest of all; weights = guided filter of P by
    luma, clipped at 0 and divided by their sum. F = sum W_base base + W_detail (x - base), the same weights for every
    channel.
    """

    channels = 3
    margin = 96  # two box means of radius 45, and 6 pixels of saliency before

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Fused picture of pictures (RGB or grey) in [0, 1]; may overshoot the range a little."""
        guides = luma(sources)
        salient = smooth(F.pad(laplace(guides).abs(), [5, 5, 5, 5], mode="replicate"), SALIENCY_WINDOW)
        chosen = winners(salient)
        of_base, of_detail = (refined(chosen, guides, *settings) for settings in (OF_BASE, OF_DETAIL))
        parts = []
        for number, source in enumerate(sources):
            base = box_mean(source, BASE_RADIUS)
            parts.append(of_base[:, number, None] * base + of_detail[:, number, None] * (source - base))
        return summed(parts)


def refined(
    weights: Float[Tensor, "b n h w"], guides: Float[Tensor, "b n h w"], radius: int, eps: float
) -> Float[Tensor, "b n h w"]:
    """Every map filtered by its own guide, clipped at 0, divided by the sum; equal shares where nothing is left."""
    shape = weights.shape
    maps = guided_filter(guides.reshape(-1, 1, *shape[2:]), weights.reshape(-1, 1, *shape[2:]), radius, eps)
    kept = maps.reshape(shape).clamp_min(0)
    total = summed(kept.split(1, 1))
    return torch.where(total > 0, kept / total, 1 / shape[1])
