"""SESF-Fuse: an unsupervised deep model for multi-focus image fusion.

Ma, Zhu, Yin, Ban, Huang, Mukeshimana. Neural Computing and Applications, 2020. Paper: https://arxiv.org/abs/1908.01703
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.guided import box_sum, guided_filter
from fuse.models.masks import closed, large_regions, opened

MEAN, DEVIATION = 0.45005, 0.26465  # grey levels of MS-COCO, which the network is trained on
FEATURES = 64
RADIUS = 5  # pixels: of the window of spatial frequency, and of the disk that opens and closes
SMALLEST = 0.01  # share of the picture; regions below it are removed


class Block(nn.Sequential):
    """3x3 convolution with zero padding, ReLU, and only then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs))


class ChannelGate(nn.Module):
    """Channel squeeze and excitation (cSE): each channel times a share in 0..1 that follows from all channel means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // 8, bias=False)
        self.excite = nn.Linear(width // 8, width, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The channels, each with its share."""
        share = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * share[..., None, None]


class Encoder(nn.Module):
    """Four blocks of 16 channels, each of which sees all before it, each with a channel gate; 14,416 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(Block(n, 16), ChannelGate(16)) for n in (1, 16, 32, 48))

    def forward(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 64 h w"]:
        """What all four blocks make of one picture."""
        parts = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            parts.append(block(torch.cat(parts, 1)))
        return torch.cat(parts, 1)


def variation(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """(x(i, j) - x(i, j-1))^2 + (x(i, j) - x(i-1, j))^2 per channel; there are zeros before the first."""
    padded = F.pad(x, [1, 0, 1, 0])
    return (x - padded[..., 1:, :-1]).square() + (x - padded[..., :-1, 1:]).square()


def neighbourhood(x: Float[Tensor, "b c h w"], radius: int = RADIUS) -> Float[Tensor, "b c h w"]:
    """Sum over the (2 radius + 1)^2 window, zeros outside."""
    return box_sum(F.pad(x, [radius] * 4), 2 * radius + 1)


def cleaned(mask: Bool[Tensor, "b 1 h w"]) -> Bool[Tensor, "b 1 h w"]:
    """Opened with a disk, small regions of 1 removed, closed, small regions of 0 filled."""
    mask = large_regions(opened(mask, RADIUS), SMALLEST)
    return ~large_regions(~closed(mask, RADIUS), SMALLEST)


class SESF(nn.Module):
    """Auto-encoder, 74,803 parameters; the spatial frequency of its features decides who is in focus.

    Given one source it reconstructs it, which is how it is trained; given several it returns weights. With two the
    first gets the cleaned map SF_1 > SF_2 and ties go to the second, as published; with more (ours) the first gets its
    map against the best of the others, the second its map against the best of those behind it, of what is left.

    The authors' guided filter has its guide in 0..255, where an epsilon of 0.1 is nothing; here it is in [0, 1] and
    epsilon 0.1^2. Small regions are 8-connected throughout.
    """

    channels, luma, selects = 1, "full", True

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Sequential(Block(FEATURES, 64), Block(64, 32), Block(32, 16), Block(16, 1))

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1 of several pictures in [0, 1]; of one, its reconstruction, which is not clipped."""
        features = [self.encoder((x - MEAN) / DEVIATION) for x in sources]
        if len(sources) == 1:
            return self.decoder(features[0]) * DEVIATION + MEAN
        frequency = [neighbourhood(variation(x).sum(1, keepdim=True)) for x in features]
        best, fused = frequency[-1], sources[-1]  # of those behind the one at hand
        weights = torch.ones_like(fused)
        for source, own in zip(sources[-2::-1], frequency[-2::-1], strict=True):
            mask = cleaned(own > best).to(source.dtype)
            mask = guided_filter(mask * source + (1 - mask) * fused, mask, 4, 0.1**2).clamp(0, 1)
            fused = mask * source + (1 - mask) * fused
            weights = torch.cat([mask, (1 - mask) * weights], 1)
            best = torch.maximum(best, own)
        return weights
