"""MFF-GAN (Zhang, Le, Shao, Xu, Ma. Information Fusion 66, 2021, 40-53): adaptive and gradient joint constraints.

Paper: https://doi.org/10.1016/j.inffus.2020.08.022
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.errors import InputError

WIDTH = 16


def initialise(network: nn.Module, std: float | None) -> None:
    """Weights from a normal distribution cut at two deviations, biases 0; PyTorch's own start where `std` is None."""
    if std is None:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(layer.get_parameter("bias"))


class Path(nn.Module):
    """The layers of one source: four convolutions and two 1x1 exchanges with the other path."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 5, padding=2)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.exchange1 = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.conv3 = nn.Conv2d(3 * WIDTH, WIDTH, 3, padding=1)
        self.exchange2 = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.conv4 = nn.Conv2d(4 * WIDTH, WIDTH, 3, padding=1)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class Generator(nn.Module):
    """Two unshared paths that exchange features twice; 40,033 parameters, receptive field 11 pixels.

    The result depends on the order of the sources (near first), since the paths do not share weights.
    `init_std`: 0.001 in the paper's code, which starts slowly; None takes PyTorch's start.
    """

    channels, luma, margin = 1, "limited", 5  # the authors' luma comes from MATLAB's rgb2ycbcr

    def __init__(self, init_std: float | None = 0.001) -> None:
        super().__init__()
        self.near, self.far = Path(), Path()
        self.output = nn.Conv2d(8 * WIDTH, 1, 1)
        initialise(self, init_std)

    def forward(self, near: Float[Tensor, "b 1 h w"], far: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of near- and far-focused luma in [0, 1]; inside, the paper's [-1, 1]."""
        a, b = self.near, self.far
        n1, f1 = leaky(a.conv1(2 * near - 1)), leaky(b.conv1(2 * far - 1))
        n2, f2 = leaky(a.conv2(n1)), leaky(b.conv2(f1))
        both = torch.cat([n2, f2], 1)
        n23, f23 = leaky(a.exchange1(both)), leaky(b.exchange1(both))
        n3, f3 = leaky(a.conv3(torch.cat([n1, n2, n23], 1))), leaky(b.conv3(torch.cat([f1, f2, f23], 1)))
        both = torch.cat([n3, f3], 1)
        n34, f34 = leaky(a.exchange2(both)), leaky(b.exchange2(both))
        n4 = leaky(a.conv4(torch.cat([n1, n2, n3, n34], 1)))
        f4 = leaky(b.conv4(torch.cat([f1, f2, f3, f34], 1)))
        return (torch.tanh(self.output(torch.cat([n1, f1, n2, f2, n3, f3, n4, f4], 1))) + 1) / 2


class Discriminator(nn.Module):
    """Judges gradient maps of one patch size: four stride-2 convolutions and a linear layer, no sigmoid.

    389,761 parameters at 60x60. Batch norm always uses the statistics of the batch at hand.
    """

    def __init__(self, patch: int = 60, init_std: float | None = 0.001) -> None:
        super().__init__()
        widths = (1, 32, 64, 128, 256)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[2:])
        side = patch
        for _ in self.convs:
            side = (side - 3) // 2 + 1
        if side < 1:
            raise ValueError(f"patches of {patch} pixels are too small for four stride-2 convolutions; use 31 or more")
        self.linear = nn.Linear(widths[-1] * side * side, 1)
        initialise(self, init_std)

    def forward(self, gradient: Float[Tensor, "b 1 s s"]) -> Float[Tensor, " b"]:
        """One unbounded score per gradient map; about 1 means a joint gradient of the sources, about 0 a fused one."""
        x = leaky(self.convs[0](gradient))
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = leaky(norm(conv(x)))
        features = x.flatten(1)
        if features.shape[1] != self.linear.in_features:
            raise InputError(
                f"patches of {gradient.shape[-1]} pixels reach a discriminator that was built for another size; "
                "leave model.critic.patch as it is and set model.patches.size"
            )
        return self.linear(features).squeeze(1)
