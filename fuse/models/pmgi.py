"""PMGI: a fast unified image fusion network based on proportional maintenance of gradient and intensity.

Zhang, Xu, Xiao, Guo, Ma. AAAI 2020, 34(7), 12797-12804. Paper: https://doi.org/10.1609/aaai.v34i07.6975
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 16
Variant = Literal["paper", "released", "ours"]


class OwnNorm(nn.BatchNorm2d):
    """Batch norm that in use takes the statistics of the picture at hand, scale 1 and shift 0."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """As any batch norm while training; in use every picture for itself."""
        return super().forward(x) if self.training else F.instance_norm(x, eps=self.eps)


NORMS: dict[str, type[nn.Module]] = {"paper": nn.BatchNorm2d, "released": OwnNorm, "ours": nn.Identity}


class Layer(nn.Module):
    """Convolution with zero padding, norm, leaky ReLU 0.2."""

    def __init__(self, inputs: int, kernel: int, variant: Variant) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, WIDTH, kernel, padding=kernel // 2)
        self.norm = NORMS[variant](WIDTH)

    def forward(self, *parts: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b 16 h w"]:
        """16 maps of all parts, concatenated."""
        return F.leaky_relu(self.norm(self.conv(torch.cat(parts, 1))), 0.2)


class Path(nn.Module):
    """The layers of one path: four convolutions and two 1x1 exchanges with the other path."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.layer1 = Layer(3, 5, variant)
        self.layer2 = Layer(WIDTH, 3, variant)
        self.exchange1 = Layer(2 * WIDTH, 1, variant)
        self.layer3 = Layer(3 * WIDTH, 3, variant)
        self.exchange2 = Layer(2 * WIDTH, 1, variant)
        self.layer4 = Layer(4 * WIDTH, 3, variant)


class PMGI(nn.Module):
    """Two unshared paths, each with one source twice and the other once; 42,017 parameters, receptive field 11 pixels.

    `variant`: `paper` normalises in use with the statistics of training; `released` as the authors' test program, with
    those of the picture itself and neither scale nor shift, which makes the result depend on how a picture is cut
    (never tiled) and costs 7 dB; `ours` has no norm at all (41,633 parameters). Order of the sources: infrared or the
    functional picture first, visible or the structural one second.
    """

    channels, luma = 1, "full"

    def __init__(self, variant: Variant = "paper") -> None:
        """
        Raises:
            ValueError: an unknown variant.
        """
        super().__init__()
        if variant not in NORMS:
            raise ValueError(f"variant '{variant}' is not known; choose {', '.join(NORMS)}")
        self.margin = None if variant == "released" else 5
        self.a, self.b = Path(variant), Path(variant)
        self.output = nn.Conv2d(8 * WIDTH, 1, 1)

    def forward(self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of two lumas in [0, 1]; inside, the paper's [-1, 1]."""
        x, y = 2 * a - 1, 2 * b - 1
        a1, b1 = self.a.layer1(x, x, y), self.b.layer1(y, y, x)
        a2, b2 = self.a.layer2(a1), self.b.layer2(b1)
        a23, b23 = self.a.exchange1(a2, b2), self.b.exchange1(a2, b2)
        a3, b3 = self.a.layer3(a1, a2, a23), self.b.layer3(b1, b2, b23)
        a34, b34 = self.a.exchange2(a3, b3), self.b.exchange2(a3, b3)
        a4, b4 = self.a.layer4(a1, a2, a3, a34), self.b.layer4(b1, b2, b3, b34)
        return (torch.tanh(self.output(torch.cat([a1, b1, a2, b2, a3, b3, a4, b4], 1))) + 1) / 2
