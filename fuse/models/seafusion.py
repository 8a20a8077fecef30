"""SeAFusion: image fusion in the loop of high-level vision tasks (Tang, Yuan, Ma. Information Fusion 82, 2022, 28-42).

Paper: https://doi.org/10.1016/j.inffus.2021.12.004
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class GradientResidual(nn.Module):
    """GRDB: two densely connected convolutions, and beside them the gradient of the input, joined by a sum.

    The gradient is |x| + |y| of depth-wise kernels that start as Sobel's and are trained like all others.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.dense2 = nn.Conv2d(2 * inputs, inputs, 3, padding=1)
        self.mix = nn.Conv2d(3 * inputs, outputs, 1)
        self.across, self.down = (nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False) for _ in range(2))
        self.residual = nn.Conv2d(inputs, outputs, 1)
        kernel = torch.tensor(SOBEL)
        with torch.no_grad():
            self.across.weight.copy_(kernel.expand_as(self.across.weight))
            self.down.weight.copy_(kernel.T.expand_as(self.down.weight))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        x1 = torch.cat([x, leaky(self.dense1(x))], 1)
        x2 = torch.cat([x1, leaky(self.dense2(x1))], 1)
        gradient = self.across(x).abs() + self.down(x).abs()
        return F.leaky_relu(self.mix(x2) + self.residual(gradient), 0.1)


class Encoder(nn.Module):
    """Features of one modality: a convolution and two gradient residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(GradientResidual(16, 32), GradientResidual(32, 48))

    def forward(self, picture: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 48 h w"]:
        return self.blocks(leaky(self.first(picture)))


class SeAFusion(nn.Module):
    """Two unshared encoders and a plain decoder; 166,883 parameters, receptive field 19 pixels.

    226 of them belong to the batch norms of the decoder, which the authors' code makes and never calls: published
    weights hold them, untrained. `norm` calls them (ours), with running statistics in use.
    """

    channels, luma, margin = 1, "full", 9

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.ir, self.vi = Encoder(), Encoder()
        widths = (96, 64, 32, 16, 1)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.norm = norm

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]."""
        x = torch.cat([self.vi(vi), self.ir(ir)], 1)
        last = len(self.convs) - 1
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x)) if self.norm else conv(x)
            x = torch.tanh(x) / 2 + 0.5 if i == last else leaky(x)
        return x
