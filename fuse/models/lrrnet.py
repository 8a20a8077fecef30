"""LRRNet: a novel representation learning guided fusion network for infrared and visible images (Li, Xu, Wu, Lu,
Kittler. IEEE TPAMI 45(9), 2023, 11040-11052).

Paper: https://doi.org/10.1109/TPAMI.2023.3268209
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.rfnnest import stretched

WIDTH = 256  # channels of the representation: 128 low-rank, 128 sparse
BLOCKS = 4
Picture = Float[Tensor, "b 1 h w"]


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


def shrink(x: Float[Tensor, "b c h w"], threshold: Float[Tensor, " c"]) -> Float[Tensor, "b c h w"]:
    """Soft threshold sign(x) max(|x| - t, 0), one t per channel, taken as its absolute value."""
    limit = threshold.abs().view(-1, 1, 1)
    return x - x.clamp(-limit, limit)


class Decomposition(nn.Module):
    """Unrolled low-rank and sparse coding of one source: Z <- shrink(k Z + W'(x - W Z), t), four times.

    W and W' are convolutions of each block's own; k and t are shared over the blocks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = conv(1, WIDTH)
        self.synthesis = nn.ModuleList(conv(WIDTH, 1) for _ in range(BLOCKS))
        self.analysis = nn.ModuleList(conv(1, WIDTH) for _ in range(BLOCKS))
        self.keep = nn.Parameter(torch.ones(1))
        self.threshold = nn.Parameter(torch.full((WIDTH,), 0.01))

    def forward(self, picture: Picture) -> Float[Tensor, "b 256 h w"]:
        z = shrink(self.start(picture), self.threshold)
        for synthesis, analysis in zip(self.synthesis, self.analysis, strict=True):
            z = shrink(self.keep * z + analysis(picture - synthesis(z)), self.threshold)
        return z


class LRRNet(nn.Module):
    """Low-rank and sparse parts of both sources, each made a picture, joined and added; 49,204 parameters.

    Sources and result are stretched to [0, 1] by their own minimum and maximum, in training and in use, as the authors
    do: no tiles. Takes 256 channels at full size, about 1.5 GB per megapixel. The start of k (1) and t (0.01) is ours.
    """

    channels, luma, margin = 1, "full", None

    def __init__(self) -> None:
        super().__init__()
        self.ir, self.vi = Decomposition(), Decomposition()
        self.low_ir, self.low_vi, self.sparse_ir, self.sparse_vi = (conv(WIDTH // 2, 1) for _ in range(4))
        self.low, self.sparse = conv(2, 1), conv(2, 1)

    def forward(self, ir: Picture, vi: Picture) -> Picture:
        """Fused luma in [0, 1] of infrared and visible luma."""
        (low_x, sparse_x), (low_y, sparse_y) = (
            part(stretched(picture)).chunk(2, 1) for part, picture in ((self.ir, ir), (self.vi, vi))
        )
        low = self.low(torch.cat([self.low_ir(low_x), self.low_vi(low_y)], 1))
        sparse = self.sparse(torch.cat([self.sparse_ir(sparse_x), self.sparse_vi(sparse_y)], 1))
        return stretched(low + sparse)
