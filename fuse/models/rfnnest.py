"""RFN-Nest: an end-to-end residual fusion network for infrared and visible images (Li, Wu, Kittler. Information Fusion
73, 2021, 72-86).

Paper: https://doi.org/10.1016/j.inffus.2021.02.023
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.nestfuse import SMALLEST, WIDTHS, NestFuse, at_least, conv

Features = Float[Tensor, "b c h w"]


class ResidualFusion(nn.Module):
    """RFN: a first fusion of two feature maps by one convolution, and a branch of five that corrects it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start = conv(2 * width, width, 3)
        self.ir, self.vi = conv(width, width, 3), conv(width, width, 3)
        self.branch = nn.Sequential(conv(2 * width, width, 1), conv(width, width, 3), conv(width, width, 3))

    def forward(self, ir: Features, vi: Features) -> Features:
        branch = self.branch(torch.cat([self.ir(ir), self.vi(vi)], 1))
        return self.start(torch.cat([ir, vi], 1)) + branch


class RFNNest(nn.Module):
    """NestFuse's auto-encoder (2,732,761 parameters), and one learned fusion block per scale (4,791,488).

    Given one source it reconstructs it, which trains the auto-encoder alone; given infrared and visible it fuses. The
    fused features are nine times a source's (the loss asks for 6 infrared + 3 visible), so the result is stretched to
    [0, 1] by its own minimum and maximum, as the authors do in training and in use: no tiles.
    """

    channels, luma, margin = 1, "full", None

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = NestFuse()
        self.blocks = nn.ModuleList(ResidualFusion(width) for width in WIDTHS)

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"] | None = None) -> Any:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; of a single source its reconstruction.

        In training also the features `ir`, `vi` and `fused` at every scale, named `ir1` to `fused4`, on 0..255.
        """
        if vi is None:
            return self.autoencoder(ir)
        height, width = ir.shape[-2:]
        of_ir, of_vi = (self.autoencoder.encode(255 * at_least(x, SMALLEST)) for x in (ir, vi))
        fused = [block(a, b) for block, a, b in zip(self.blocks, of_ir, of_vi, strict=True)]
        picture = stretched(self.autoencoder.decode(fused)[..., :height, :width])
        if not self.training:
            return picture
        told = {"ir": of_ir, "vi": of_vi, "fused": fused}
        return picture, {f"{name}{i}": x for name, scales in told.items() for i, x in enumerate(scales, 1)}


def stretched(picture: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Every picture brought to [0, 1] by its own minimum and maximum; a flat one becomes 0."""
    low, high = picture.amin((1, 2, 3), keepdim=True), picture.amax((1, 2, 3), keepdim=True)
    return (picture - low) / (high - low).clamp_min(1e-6)
