"""StackMFF-V4: focus stacks of any length (Xinzhe Xie et al.; the network of OpenFocus).

Code of the authors: https://github.com/Xinzhe99/OpenFocus
"""

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.masks import winners

FEATURES = 8  # of every pixel of every slice
MULTIPLE = 32  # pixels; slices are resized to sides that are multiples of it
AT_ONCE = 2**15  # positions a transformer layer takes together; GPUs refuse more than 2^16
DEEP = (80, 160, 240, 480)
Resize = Literal["down", "up", "keep"]


class Vanilla(nn.Module):
    """Two 1x1 convolutions with batch norm, a resize, and ReLU followed by a depthwise 3x3 convolution.

    The leaky ReLU between the convolutions has a slope that goes from 0 to 1 in training; at 1 the two convolutions
    are one. The slope is given from outside.
    """

    def __init__(self, inputs: int, outputs: int, resize: Resize) -> None:
        super().__init__()
        self.resize = resize
        self.first = nn.Sequential(nn.Conv2d(inputs, inputs, 1), nn.BatchNorm2d(inputs, 1e-6))
        self.second = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs, 1e-6))
        self.series = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False),
            nn.BatchNorm2d(outputs, 1e-6),
        )

    def forward(
        self, x: Float[Tensor, "b c h w"], slope: Float[Tensor, ""], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "b d i j"]:
        """`size`: what `up` enlarges to, twice as large or one less where pooling has dropped a row or column."""
        x = self.first(x)
        x = self.second(torch.where(x > 0, x, slope * x))
        if self.resize == "down" and min(x.shape[-2:]) > 1:
            x = F.max_pool2d(x, 2)
        if self.resize == "up":
            x = F.interpolate(x, size, mode="bilinear")
        return self.series(x)


class AcrossSlices(nn.Module):
    """Two transformer layers over the slices at every position of a quarter of the size, with no notion of order."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(FEATURES, 4, 4 * FEATURES, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )

    def forward(self, x: Float[Tensor, "b n 8 h w"]) -> Float[Tensor, "b n 8 h w"]:
        """Features that know of the other slices, added to those that came in."""
        batch, count, _, height, width = x.shape
        coarse = F.avg_pool2d(x.flatten(0, 1), 4)
        rows, columns = coarse.shape[-2:]
        tokens = coarse.view(batch, count, FEATURES, rows * columns).permute(0, 3, 1, 2).flatten(0, 1)
        for layer in self.layers:
            chunks = [tokens] if torch.compiler.is_exporting() else tokens.split(AT_ONCE)
            tokens = torch.cat([layer(part) for part in chunks])
        coarse = tokens.view(batch, rows * columns, count, FEATURES).permute(0, 2, 3, 1).reshape(coarse.shape)
        fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        return x + fine.view(x.shape)


class StackMFF(nn.Module):
    """Scores every pixel of every slice; the best slice gives it. 938,096 parameters, any number of sources.

    A U-Net on MobileNetV3-Large sees each slice alone, then the slices see each other, twice; no order is told. While
    training it returns the soft-max of the scores. In use the best slice has all the weight (equal scores share), and
    its pixels are copied, with a hard seam. The batch norms of MobileNetV3 follow the data slowly (momentum 0.01): runs
    of a few hundred steps score lower than what they have learned. `anneal`: training steps until the inner slopes have
    gone from 0 to 1.
    """

    channels, luma, selects = 1, "full", True

    def __init__(self, anneal: int = 10000) -> None:
        """
        Raises:
            ValueError: `anneal` below 1.
        """
        from torchvision.models import mobilenet_v3_large

        super().__init__()
        if anneal < 1:
            raise ValueError(f"anneal={anneal}; must be at least 1")
        self.anneal = anneal
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        blocks = mobilenet_v3_large(weights=None).features
        self.stem = nn.Conv2d(1, 16, 3, 2, padding=1, bias=False)
        self.stages = nn.ModuleList([blocks[1:3], blocks[3:6], blocks[6:10]])
        self.down = nn.ModuleList(Vanilla(a, b, "down") for a, b in pairwise(DEEP))
        self.up = nn.ModuleList(Vanilla(a, b, "up") for a, b in pairwise((*DEEP[::-1], 40, 24, 16, 16)))
        self.project = nn.Conv2d(16, FEATURES, 1)
        self.meet = nn.ModuleList([AcrossSlices(), AcrossSlices()])
        self.refine = Vanilla(FEATURES, FEATURES, "keep")

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1, of lumas in [0, 1]."""
        height, width = sources[0].shape[-2:]
        rows, columns = ((side + MULTIPLE - 1) // MULTIPLE * MULTIPLE for side in (height, width))
        stack = torch.stack([F.interpolate(x, (rows, columns), mode="bilinear") for x in sources], 1)
        slope = (self.steps / self.anneal).clamp_max(1)
        if self.training:
            self.steps += 1
        x = self.look(stack.flatten(0, 1), slope).unflatten(0, (-1, len(sources)))
        x = x + self.meet[0](x)
        x = x + self.refine(x.flatten(0, 1), slope).view(x.shape)
        scores = (x + self.meet[1](x)).amax(2)
        scores = F.interpolate(scores, (height, width), mode="nearest")
        return scores.softmax(1) if self.training else winners(scores)

    def look(self, slices: Float[Tensor, "b 1 h w"], slope: Float[Tensor, ""]) -> Float[Tensor, "b 8 h w"]:
        """Focus features of each slice for itself."""
        levels = [self.stem(slices)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        for block in self.down:
            levels.append(block(levels[-1], slope))
        x = levels.pop()
        for block, skip in zip(self.up, [*levels[::-1], None], strict=True):
            size = slices.shape[-2:] if skip is None else skip.shape[-2:]
            x = block(x, slope, (size[0], size[1]))
            x = x if skip is None else x + skip
        return self.project(x)
