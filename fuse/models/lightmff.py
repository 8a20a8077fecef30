"""LightMFF: a decision map in sixteen thousand parameters (Xie et al. Applied Sciences, 2025).

Code of the authors: https://github.com/Xinzhe99/LightMFF
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data import color
from fuse.losses.gradient import sobel_root
from fuse.models.sesf import cleaned, neighbourhood, variation

SIDE = 256  # pixels; in use pictures are resized to it, and the map back
WIDTHS = (8, 16, 24, 32, 48, 64)


class InceptionDepthwise(nn.Module):
    """1x1 convolution; then an eighth of the channels each under depthwise 3x3, 1x11, 11x1, the others as they are."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        part = max(1, outputs // 8)
        self.parts = (outputs - 3 * part, part, part, part)
        self.mix = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.square = nn.Conv2d(part, part, 3, padding=1, groups=part)
        self.across = nn.Conv2d(part, part, (1, 11), padding=(0, 5), groups=part)
        self.down = nn.Conv2d(part, part, (11, 1), padding=(5, 0), groups=part)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """As many places as came in."""
        kept, square, across, down = self.mix(x).split(self.parts, 1)
        return torch.cat([kept, self.square(square), self.across(across), self.down(down)], 1)


class LightMFF(nn.Module):
    """U-Net on both pictures, who has the larger spatial frequency, and their edges; 15,717 parameters.

    While training it sees patches as they are (32 pixels a side at least) and returns soft weights. In use it sees the
    pictures resized to 256x256; its map is resized back, thresholded at 0.5, opened and closed with a disk, and rid of
    regions below 1 %. Edges are divided by the largest of their picture; the authors divide by that of the batch.
    """

    channels, luma, selects = 3, "full", True

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([nn.Conv2d(10, 8, 3, padding=1)])
        self.encoders.extend(InceptionDepthwise(a, b) for a, b in pairwise(WIDTHS))
        self.encoder_norms = nn.ModuleList(nn.GroupNorm(4, width) for width in WIDTHS[:-1])
        self.decoders = nn.ModuleList(InceptionDepthwise(a, b) for a, b in pairwise(WIDTHS[:0:-1]))
        self.decoders.append(nn.Conv2d(16, 8, 3, padding=1))
        self.decoder_norms = nn.ModuleList(nn.GroupNorm(4, width) for width in WIDTHS[-2::-1])
        self.output = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
        """Weights that sum to 1, of RGB in [0, 1]."""
        if self.training:
            focus = self.focus(a, b)
        else:
            x, y = (resized(p, SIDE, SIDE) for p in (a, b))
            soft = resized(self.focus(x, y), a.shape[-2], a.shape[-1])
            focus = cleaned(soft >= 0.5).to(a.dtype)
        return torch.cat([focus, 1 - focus], 1)

    def focus(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Probability that the first picture is the sharp one."""
        height, width = a.shape[-2:]
        x, skips = clues(a, b), []
        for encode, norm in zip(self.encoders, self.encoder_norms, strict=False):
            x = F.gelu(F.max_pool2d(norm(encode(x)), 2))
            skips.append(x)
        x = F.gelu(self.encoders[-1](x))
        for decode, norm in zip(self.decoders, self.decoder_norms, strict=True):
            skip = skips.pop()
            x = F.gelu(resized(norm(decode(x)), skip.shape[-2], skip.shape[-1])) + skip
        return torch.sigmoid(resized(self.output(x), height, width))


def clues(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 10 h w"]:
    """Both pictures, 1 where the first has the larger spatial frequency and 1 where not, and both pictures' edges."""
    frequency = [neighbourhood(variation(x).sum(1, keepdim=True)) for x in (a, b)]
    first = (frequency[0] > frequency[1]).to(a.dtype)
    edges = [sobel_root(color.split(x, "full")[0]) for x in (a, b)]
    scaled = [x / x.amax((2, 3), keepdim=True) for x in edges]
    return torch.cat([a, b, first, 1 - first, *scaled], 1)


def resized(x: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c i j"]:
    """Bilinear, corners on corners; as it is where the size is right."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=True)
