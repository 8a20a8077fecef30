"""FusionNet: ten plain convolutions from six colour channels to three, a supervised teaching baseline.

No paper; the network of https://github.com/nishJay/Multi-Focus-Image-Fusion-Using-Pytorch. Although its page speaks
of multi-scale features it has no pooling and no skips.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (6, 64, 128, 256, 128, 64)


class FusionNet(nn.Module):
    """Convolutions on the concatenated sources; 1,702,211 parameters, receptive field 23 pixels.

    `residual` lets the network predict what to add to the average of the sources instead of the picture itself:
    ours, it starts as a fair fuser and keeps brightness from the first step.
    """

    channels, luma, margin = 3, "full", 11

    def __init__(self, residual: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(WIDTHS):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.output = nn.Conv2d(WIDTHS[-1], 3, 3, padding=1)
        self.residual = residual

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Fused RGB in [0, 1] of two RGB pictures in [0, 1]; with `residual` not clipped."""
        x = self.output(self.body(torch.cat([a, b], 1)))
        return (a + b) / 2 + x if self.residual else torch.sigmoid(x)
