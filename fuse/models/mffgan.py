"""MFF-GAN (Zhang, Le, Shao, Xu, Ma. Information Fusion 66, 2021, 40-53): adaptive and gradient joint constraints.

Paper: https://doi.org/10.1016/j.inffus.2020.08.022
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.errors import InputError
from fuse.order import summed

WIDTH = 16
Variant = Literal["paper", "shared", "wide", "ours"]
# Of the three 3x3 convolutions. As 5x5 precedes, dilations up to 4, 12 and 28 leave no pixel between unseen.
DILATIONS = {"paper": (1, 1, 1), "shared": (1, 1, 1), "wide": (4, 8, 16), "ours": (4, 8, 16)}
Maps = list[Tensor]  # `(b, c, h, w)` of every source


def initialise(network: nn.Module, std: float | None) -> None:
    """Weights from a normal distribution cut at two deviations, biases 0; PyTorch's own start where `std` is None."""
    if std is None:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class Path(nn.Module):
    """The layers of one source: four convolutions and two 1x1 exchanges with the other path."""

    def __init__(self, dilations: tuple[int, int, int] = (1, 1, 1)) -> None:
        super().__init__()
        second, third, fourth = dilations
        self.conv1 = nn.Conv2d(1, WIDTH, 5, padding=2)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=second, dilation=second)
        self.exchange1 = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.conv3 = nn.Conv2d(3 * WIDTH, WIDTH, 3, padding=third, dilation=third)
        self.exchange2 = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.conv4 = nn.Conv2d(4 * WIDTH, WIDTH, 3, padding=fourth, dilation=fourth)


def through(layers: Iterable[nn.Conv2d], *parts: Maps) -> Maps:
    """Leaky ReLU of a layer per source, which sees its source's place of all parts, concatenated."""
    return [leaky(layer(torch.cat(seen, 1))) for layer, *seen in zip(layers, *parts, strict=True)]


class Generator(nn.Module):
    """Two unshared paths that exchange features twice; 40,033 parameters, receptive field 11 pixels.

    `variant`: a ladder, each rung with all below it.
    `paper` depends on the order of its two sources (near first), since the paths do not share weights.
    `shared`: one path for all sources, which exchanges its own features with the mean of the others', and one output
    layer, averaged over the sources: any number of them, in any order alike to the last bit; 20,017 parameters.
    `wide`: 3x3 convolutions dilated 4, 8 and 16 times, which leave no gaps; receptive field 61 pixels.
    `ours`: the output layer gives scores, their soft-max over the sources weights: it selects; 20,016 parameters.
    `init_std`: 0.001 in the paper's code, which starts slowly; None takes PyTorch's start.
    """

    channels, luma = 1, "limited"  # the authors' luma comes from MATLAB's rgb2ycbcr

    def __init__(self, init_std: float | None = 0.001, variant: Variant = "paper") -> None:
        """
        Raises:
            ValueError: an unknown variant.
        """
        super().__init__()
        if variant not in DILATIONS:
            raise ValueError(f"variant '{variant}' is not known; choose {', '.join(DILATIONS)}")
        dilations = DILATIONS[variant]
        self.margin = 2 + sum(dilations)
        self.shares, self.selects = variant != "paper", variant == "ours"
        self.arity = None if self.shares else 2
        if self.shares:
            self.path = Path(dilations)
            self.output = nn.Conv2d(4 * WIDTH, 1, 1, bias=not self.selects)  # soft-max is blind to what all have
        else:
            self.near, self.far = Path(), Path()
            self.output = nn.Conv2d(8 * WIDTH, 1, 1)
        initialise(self, init_std)

    def forward(
        self, near: Float[Tensor, "b 1 h w"], far: Float[Tensor, "b 1 h w"], *more: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b n h w"]:
        """Fused luma in [0, 1] (`ours`: weights that sum to 1) of lumas in [0, 1]; inside, the paper's [-1, 1].

        Raises:
            InputError: `paper` with more than two sources.
        """
        if more and not self.shares:
            raise InputError(f"MFF-GAN has a path for each of two sources and gets {len(more) + 2}; take variant=ours")
        layers = self.features([2 * x - 1 for x in (near, far, *more)])
        if not self.shares:
            return (torch.tanh(self.output(torch.cat([x for layer in layers for x in layer], 1))) + 1) / 2
        told = [self.output(torch.cat(own, 1)) for own in zip(*layers, strict=True)]
        if not self.selects:
            return (torch.tanh(summed(told) / len(told)) + 1) / 2
        scores = torch.cat(told, 1)
        powers = (scores - scores.amax(1, keepdim=True)).exp()
        return powers / summed(powers.split(1, 1))

    def features(self, sources: Maps) -> tuple[Maps, Maps, Maps, Maps]:
        """What the four convolutions make of every source; in the paper n1 f1, n2 f2, n3 f3, n4 f4."""
        paths = [self.path] * len(sources) if self.shares else [self.near, self.far]
        one = through((path.conv1 for path in paths), sources)
        two = through((path.conv2 for path in paths), one)
        told = through((path.exchange1 for path in paths), self.exchanged(two))
        three = through((path.conv3 for path in paths), one, two, told)
        told = through((path.exchange2 for path in paths), self.exchanged(three))
        return one, two, three, through((path.conv4 for path in paths), one, two, three, told)

    def exchanged(self, told: Maps) -> Maps:
        """What every path sees in an exchange: near and far in the paper, else its own and the mean of the others."""
        if not self.shares:
            return [torch.cat(told, 1)] * 2
        others = [summed(told[:i] + told[i + 1 :]) / (len(told) - 1) for i in range(len(told))]
        return [torch.cat(both, 1) for both in zip(told, others, strict=True)]


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
