"""Metrics of edges: how well the fused picture keeps the gradients of the sources."""

import math

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.difference import correlation
from fuse.metrics.levels import Image, Images, Mask, Scores, combined, grey, total
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.windows import separable

TINY = 1e-300  # changes no level, but 0 / 0 into 0 and the derivative of the root at 0 into a number
SMOOTHING, DIFFERENCE = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)


def root(square: Tensor) -> Tensor:
    """Square root whose derivative is finite at 0: flat areas must not spoil a gradient."""
    return torch.sqrt(square + TINY)


def sobel(
    image: Float[Tensor, "b 1 h w"], border: str = "zeros"
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Sobel responses across (right minus left) and down (lower minus upper), not normalised.

    `border`: `zeros`, `replicate` (the border pixel again) or `reflect` (mirrored without the border pixel).
    """
    mode = "constant" if border == "zeros" else border
    padded = functional.pad(image, (1, 1, 1, 1), mode=mode)
    return separable(padded, SMOOTHING, DIFFERENCE), separable(padded, DIFFERENCE, SMOOTHING)


def ei(fused: Image, *, border: str = "replicate", memo: Memo | None = None) -> Scores:
    """EI, edge intensity: mean Sobel magnitude (kernels 1 2 1, not normalised, border pixels repeated), levels.

    `border` as in `sobel`. Higher is better, but noise raises it too. Differentiable.
    """
    memo = memo or Memo()
    across, down = memo(sobel, memo(grey, fused), border)
    return average(root(across**2 + down**2))


def strength_and_angle(image: Float[Tensor, "b 1 h w"], memo: Memo) -> tuple[Tensor, Tensor]:
    """Sobel magnitude and orientation atan(Y / X) in -pi/2..pi/2, where X looks left; +pi/2 where X is 0."""
    across, down = memo(sobel, image, "zeros")
    upright = (across == 0).to(image.dtype)
    return root(across**2 + down**2), torch.atan2(upright - down * torch.sign(across), torch.abs(across))


def edge_preservation(source: Tensor, fused: Tensor, memo: Memo) -> Tensor:
    """Q of Xydeas & Petrovic at every pixel: how much of the source's edge strength and direction `fused` has, 0..1.

    Where both strengths are equal the relative strength is the strength itself, as in the code that everybody uses.
    """
    strength, angle = memo(strength_and_angle, source, memo)
    strength_fused, angle_fused = memo(strength_and_angle, fused, memo)
    low, high = torch.minimum(strength, strength_fused), torch.maximum(strength, strength_fused)
    relative = torch.lerp(low / (high + TINY), strength_fused, (low == high).to(low.dtype))
    alignment = 1 - torch.abs(angle - angle_fused) / (math.pi / 2)
    return 0.9994 * 0.9879 * torch.sigmoid(15 * (relative - 0.5)) * torch.sigmoid(22 * (alignment - 0.8))


def q_g(
    fused: Image, sources: Images, *, combine: str = "weighted", mask: Mask | None = None, memo: Memo | None = None
) -> Scores:
    """Q_G or Qabf: edge preservation Q of each source, weighted by the source's Sobel strength, over all pixels, 0..1.

    sum(Q_k g_k) / sum(g_k) over pixels and sources, zero padding, on grey levels 0..255. `combine`: `weighted` over
    all sources at once; `min`, `mean` of each source's own ratio. `mask`: both sums are over its pixels alone (see
    `q_g_body`). NaN where no source has an edge. Higher is better; it does not see where a weak edge was taken from the
    wrong source. Round to 8 bits first: unrounded levels move it by .001 to .003. Xydeas & Petrovic 2000.
    """
    memo = memo or Memo()
    preserved, strengths = [], []
    for source in (memo(grey, source) for source in sources):
        strength, _ = memo(strength_and_angle, source, memo)
        preserved.append(total(memo(edge_preservation, source, memo(grey, fused), memo) * strength, mask))
        strengths.append(total(strength, mask))
    if combine == "weighted":
        return torch.stack(preserved).sum(0) / torch.stack(strengths).sum(0)
    return combined([part / weight for part, weight in zip(preserved, strengths, strict=True)], combine)


def laplacian(image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Mean of the eight neighbours minus the pixel, times 8/3, zeros outside: MATLAB's Laplacian of shape 0.5."""
    padded = functional.pad(image, (1, 1, 1, 1))
    return (separable(padded, (1, 1, 1), (1, 1, 1)) - 9 * image) / 3


def epi(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """EPI: Pearson correlation of the Laplacians of F and of a source, averaged over the sources, -1..1.

    Higher is better. Differentiable. NaN for constant pictures.
    """
    memo = memo or Memo()
    result = memo(laplacian, memo(grey, fused))
    return combined([correlation(memo(laplacian, memo(grey, source)), result) for source in sources], combine)
