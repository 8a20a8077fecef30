"""NestFuse: an infrared and visible image fusion architecture based on nest connection (Li, Wu, Durrani. IEEE TIM 69,
2020, 9645-9656).

Paper: https://doi.org/10.1109/TIM.2020.3005230
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 112, 160, 208)  # channels of the four scales
SMALLEST = 16  # pixels per side: two at the coarsest scale, the least that can be reflected
Pooling = Literal["mean", "max", "nuclear"]
Features = Float[Tensor, "b c h w"]


def conv(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Convolution with reflected border, then ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="reflect")
    return nn.Sequential(layer, nn.ReLU())


def block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 to half the channels, 1x1 to the new ones."""
    return nn.Sequential(conv(inputs, inputs // 2, 3), conv(inputs // 2, outputs, 1))


def channel_shares(features: Float[Tensor, "n b c h w"], pooling: Pooling = "mean") -> Float[Tensor, "n b c 1 1"]:
    """Share of each source in what a channel holds in all: its mean, maximum or nuclear norm over the whole picture.

    Features are not negative. Where no source has anything the shares are equal.
    """
    if pooling == "nuclear":
        held = torch.linalg.matrix_norm(features, ord="nuc")[..., None, None]
    else:
        held = features.mean((3, 4), keepdim=True) if pooling == "mean" else features.amax((3, 4), keepdim=True)
    total = held.sum(0, keepdim=True)
    return torch.where(total > 0, held / total.clamp_min(torch.finfo(total.dtype).tiny), 1 / len(features))


def spatial_shares(features: Float[Tensor, "n b c h w"]) -> Float[Tensor, "n b 1 h w"]:
    """Soft-max over the sources of the mean over channels, at every pixel; the largest is taken off first, so that
    features on the scale of 0..255 do not overflow."""
    return torch.softmax(features.mean(2, keepdim=True), 0)


def join(features: Float[Tensor, "n b c h w"], pooling: Pooling = "mean") -> Features:
    """Mean of what the channel rule and the spatial rule make of the features of all sources."""
    return ((channel_shares(features, pooling) + spatial_shares(features)) / 2 * features).sum(0)


class NestFuse(nn.Module):
    """Auto-encoder of four scales with a densely nested decoder; 2,732,761 parameters.

    Given one source it reconstructs it, which is how it is trained; given several it fuses them scale by scale, in any
    order alike. `pooling` is that of the channel rule, which looks at the whole picture: no tiles. `deep`: the authors'
    second model, whose loss also sees what the two shallower nodes of the decoder make of the picture (130 more
    parameters, of no use after training).
    """

    channels, luma, margin = 1, "full", None

    def __init__(self, pooling: Pooling = "mean", deep: bool = False) -> None:
        super().__init__()
        if pooling not in ("mean", "max", "nuclear"):
            raise ValueError(f"pooling '{pooling}' is not known; choose mean, max or nuclear")
        self.pooling = pooling
        one, two, three, four = WIDTHS
        self.first = conv(1, 16, 1)
        self.encoder = nn.ModuleList([block(16, one), block(one, two), block(two, three), block(three, four)])
        self.decode11, self.decode21 = block(one + two, one), block(two + three, two)
        self.decode31 = block(three + four, three)
        self.decode12, self.decode22 = block(2 * one + two, one), block(2 * two + three, two)
        self.decode13 = block(3 * one + two, one)
        self.output = conv(one, 1, 1)
        self.shallow = nn.ModuleList(conv(one, 1, 1) for _ in range(2 * deep))
        self.start()

    def start(self) -> None:
        """Weights with which every layer passes on what it gets, and a last layer that starts as a mean.

        With PyTorch's own start the last ReLU is 0 everywhere in four of five cases, and nothing is ever learned.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))
        for last in (self.output, *self.shallow):
            nn.init.uniform_(last[0].get_parameter("weight"), 0, 2 / WIDTHS[0])

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Any:
        """Fused luma of luma in [0, 1]; inside, the paper's 0..255. Not negative; may exceed 1.

        In training, with `deep`, also what the nodes make: `node1`, `node2`.
        """
        height, width = sources[0].shape[-2:]
        scales = [self.encode(255 * at_least(x, SMALLEST)) for x in sources]
        joined = [join(torch.stack(x), self.pooling) if len(x) > 1 else x[0] for x in zip(*scales, strict=True)]
        *nodes, last = self.nest(joined)
        picture = self.output(last)[..., :height, :width] / 255
        if not (self.training and self.shallow):
            return picture
        made = [head(node)[..., :height, :width] / 255 for head, node in zip(self.shallow, nodes, strict=True)]
        return picture, {f"node{i}": x for i, x in enumerate(made, start=1)}

    def encode(self, picture: Float[Tensor, "b 1 h w"]) -> list[Tensor]:
        """Features at full, half, quarter and eighth size of a picture on 0..255."""
        x, scales = self.first(picture), []
        for i, layer in enumerate(self.encoder):
            x = layer(x if i == 0 else F.max_pool2d(x, 2))
            scales.append(x)
        return scales

    def decode(self, scales: Sequence[Tensor]) -> Float[Tensor, "b 1 h w"]:
        """Picture on 0..255 of features at four scales."""
        return self.output(self.nest(scales)[-1])

    def nest(self, scales: Sequence[Tensor]) -> tuple[Features, Features, Features]:
        """The three nodes of full size, the deepest last."""
        e1, e2, e3, e4 = scales
        d11 = self.decode11(torch.cat([e1, up(e2, e1)], 1))
        d21 = self.decode21(torch.cat([e2, up(e3, e2)], 1))
        d12 = self.decode12(torch.cat([e1, d11, up(d21, e1)], 1))
        d31 = self.decode31(torch.cat([e3, up(e4, e3)], 1))
        d22 = self.decode22(torch.cat([e2, d21, up(d31, e2)], 1))
        return d11, d12, self.decode13(torch.cat([e1, d11, d12, up(d22, e1)], 1))


def up(x: Float[Tensor, "b c y x"], like: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h w"]:
    """Every pixel doubled, reflected by the row or column that pooling an odd size has dropped."""
    if torch.compiler.is_exporting():  # of even and odd sizes alike, which a graph has to serve
        for axis in (-2, -1):
            places = torch.arange(like.shape[axis], device=x.device) // 2
            x = x.index_select(axis, places.clamp(max=x.shape[axis] - 1))
        return x
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    down, right = like.shape[-2] - x.shape[-2], like.shape[-1] - x.shape[-1]
    return F.pad(x, [0, right, 0, down], mode="reflect") if down or right else x


def at_least(x: Float[Tensor, "b c y x"], side: int) -> Float[Tensor, "b c h w"]:
    """Pictures smaller than `side` grown to it, to the right and down, by their border pixels."""
    right, down = (max(0, side - size) for size in (x.shape[-1], x.shape[-2]))
    return F.pad(x, [0, right, 0, down], mode="replicate") if down or right else x
