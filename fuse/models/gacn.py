"""GACN: end-to-end learning for simultaneously generating decision map and multi-focus image fusion result.

Ma, Yin, Wu, Shen, Ban, Wang. Neurocomputing 470, 2022, 204-216. Paper: https://arxiv.org/abs/2010.08751
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.metrics.windows import gaussian, smooth
from fuse.models.guided import guided_filter
from fuse.models.sesf import FEATURES, Block, Encoder, neighbourhood, variation

STEEP = 1000.0  # slope of the sigmoids that stand for hard decisions
BLUR = gaussian(9, 8.0)  # of the decision, to find its boundary
WIDTHS = (FEATURES, 48, 32, 16, 1)


class SpatialGate(nn.Module):
    """Spatial squeeze and excitation (sSE): all channels of a pixel times one share in 0..1 of a 7x7 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, 1, 7, padding=3, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The pixels, each with its share."""
        return x * torch.sigmoid(self.squeeze(x))


def smoothed_at_boundary(
    decision: Float[Tensor, "b 1 h w"], a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """The decision, where it changes guided by the picture that it makes of a and b, elsewhere as it is."""
    g = smooth(F.pad(decision, (4,) * 4), BLUR)
    sure = (g > 0.8) * g + (g < 0.1) * (1 - g)
    band = 1 - (2 * (g * sure + (1 - sure) * 0.5) - 1).abs()
    guide = decision * a + (1 - decision) * b
    return guided_filter(guide, decision, 3, 0.1) * band + decision * (1 - band)


class GACN(nn.Module):
    """SESF-Fuse's encoder, and convolutions that read the decision off the spatial frequencies; 68,820 parameters.

    Two sources get m and 1 - m. More are compared with the first one by one and calibrated (hard, the likeliest wins).
    While training it tells `decision`, the map before its boundary is smoothed, which the Dice term is on.
    """

    channels, luma, selects = 1, "full", True

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        layers: list[nn.Module] = [SpatialGate(WIDTHS[0])]
        for inputs, outputs in pairwise(WIDTHS):
            layers += [Block(inputs, outputs), SpatialGate(outputs)]
        self.decide = nn.Sequential(*layers)

    def forward(
        self, *sources: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b n h w"] | tuple[Float[Tensor, "b n h w"], dict[str, Tensor]]:
        """Weights that sum to 1, of pictures in [0, 1]; they can leave [0, 1] a little, as guided filters do."""
        frequency = [neighbourhood(variation(self.encoder(x))) for x in sources]
        first, others = sources[0], sources[1:]
        decisions = [
            torch.sigmoid(STEEP * self.decide(torch.sigmoid(STEEP * (frequency[0] - f)))) for f in frequency[1:]
        ]
        maps = [smoothed_at_boundary(m, first, x) for m, x in zip(decisions, others, strict=True)]
        if len(sources) > 2:
            return calibrated(torch.cat(maps, 1).clamp(0, 1))
        weights = torch.cat([maps[0], 1 - maps[0]], 1)
        return (weights, {"decision": decisions[0]}) if self.training else weights


def calibrated(first_wins: Float[Tensor, "b m h w"]) -> Float[Tensor, "b n h w"]:
    """One-hot weights of n = m + 1 sources from the probabilities that the first beats each of the others.

    The first has p_2, the second 1 - p_2, the i-th p_2 (1 - p_i) / (p_i + 1e-4); the largest wins.
    """
    p = first_wins[:, :1]
    rest = first_wins[:, 1:]
    volume = torch.cat([p, 1 - p, p * (1 - rest) / (rest + 1e-4)], 1)
    return F.one_hot(volume.argmax(1), volume.shape[1]).movedim(-1, 1).to(p.dtype)
