"""pix2pix: image-to-image translation with conditional adversarial networks (Isola, Zhu, Zhou, Efros. CVPR 2017).

Paper: https://arxiv.org/abs/1611.07004
"""

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.errors import InputError

Norm = Literal["batch", "instance"]


def normalisation(norm: Norm, width: int) -> nn.Module:
    """The layer of that name, with scale and shift.

    Raises:
        ValueError: an unknown norm.
    """
    if norm not in ("batch", "instance"):
        raise ValueError(f"norm '{norm}' is not known; choose batch or instance")
    return nn.BatchNorm2d(width) if norm == "batch" else nn.InstanceNorm2d(width, affine=True)


def initialise(network: nn.Module) -> None:
    """Weights from N(0, 0.02), scales from N(1, 0.02), biases and shifts 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, 0.02)
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
        if isinstance(getattr(layer, "bias", None), Tensor):
            nn.init.zeros_(layer.get_parameter("bias"))


class UNet(nn.Module):
    """Halves the sources `depth` times and doubles them back, with skips.

    54,417,027 parameters for two RGB pictures and depth 8.

    `sources`: how many RGB pictures are its condition. `depth`: 8 for patches of 256 pixels, 7 for 128. `norm`: with
    `batch` the statistics of training are used in use, where single-picture batches are known to suffer; `instance`
    takes the picture's own, always. Dropout is noise of training only. Sides that are no multiple of 2^depth are
    extended by repeating the border, and cut back.
    """

    channels, luma = 3, "full"

    def __init__(self, sources: int = 2, depth: int = 8, norm: Norm = "batch") -> None:
        """
        Raises:
            ValueError: no sources, less than five halvings, an unknown norm.
        """
        super().__init__()
        if sources < 1 or depth < 5:
            raise ValueError(f"sources={sources}, depth={depth}; give at least 1 source and 5 halvings")
        self.sources = sources
        self.step = self.multiple = 2**depth
        widths = [64, 128, 256] + [512] * (depth - 3)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, padding=1, bias=False) for a, b in pairwise([3 * sources, *widths])
        )
        self.down_norms = nn.ModuleList(normalisation(norm, width) for width in widths[1:-1])
        below = [widths[-1]] + [2 * width for width in widths[-2::-1]]  # what each step up takes: skip and step below
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, padding=1, bias=b == 3)
            for a, b in zip(below, [*widths[-2::-1], 3], strict=True)
        )
        self.up_norms = nn.ModuleList(normalisation(norm, width) for width in widths[-2::-1])
        self.dropped = range(1, depth - 4)  # steps up whose result dropout thins: those next to the innermost
        initialise(self)

    def forward(self, *sources: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Fused RGB in [0, 1] of RGB in [0, 1]; inside, the paper's [-1, 1].

        Raises:
            InputError: another number of sources than it was built for.
        """
        if len(sources) != self.sources:
            raise InputError(
                f"this network was built for {self.sources} sources and gets {len(sources)}; train one with "
                f"model.fuser.sources={len(sources)}"
            )
        height, width = sources[0].shape[-2:]
        x = F.pad(2 * torch.cat(sources, 1) - 1, [0, -width % self.step, 0, -height % self.step], "replicate")
        skips: list[Tensor] = []
        for i, conv in enumerate(self.down):
            x = conv(F.leaky_relu(x, 0.2) if i else x)
            if 0 < i < len(self.down) - 1:
                x = self.down_norms[i - 1](x)
            skips.append(x)
        x = skips.pop()
        for i, norm in enumerate(self.up_norms):
            x = norm(self.up[i](F.relu(x)))
            if i in self.dropped:
                x = F.dropout(x, 0.5, self.training)
            x = torch.cat([skips.pop(), x], 1)
        return (torch.tanh(self.up[-1](F.relu(x)))[..., :height, :width] + 1) / 2


class Discriminator(nn.Module):
    """PatchGAN: each score judges 70x70 pixels; 2,771,777 parameters for nine channels, 2,768,705 for six."""

    def __init__(self, inputs: int = 9, norm: Norm = "batch") -> None:
        """
        Raises:
            ValueError: an unknown norm.
        """
        super().__init__()
        layers: list[nn.Module] = []
        widths = (inputs, 64, 128, 256, 512, 1)
        for i, ((a, b), stride) in enumerate(zip(pairwise(widths), (2, 2, 2, 1, 1), strict=True)):
            layers.append(nn.Conv2d(a, b, 4, stride, padding=1, bias=i in (0, 4)))
            layers += [normalisation(norm, b)] if 0 < i < 4 else []
            layers += [nn.LeakyReLU(0.2)] if i < 4 else []
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, shown: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 i j"]:
        """One unbounded score for every place; higher for real pictures."""
        return self.layers(shown)
