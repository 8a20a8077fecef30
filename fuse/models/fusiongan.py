"""FusionGAN (Ma, Yu, Liang, Li, Jiang. Information Fusion 48, 2019, 11-26): a GAN for infrared and visible fusion.

Paper: https://doi.org/10.1016/j.inffus.2018.09.004
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (256, 128, 64, 32)
KERNELS = (5, 5, 3, 3)
TRIM = 6  # pixels that these convolutions take from every side

Statistics = Literal["running", "instance"]


def normed(inputs: int, outputs: int, kernel: int, init_std: float | None) -> nn.Conv2d:
    """A convolution without padding under spectral norm, started from a normal distribution cut at two deviations."""
    layer = nn.Conv2d(inputs, outputs, kernel)
    if init_std is not None:
        nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
        nn.init.zeros_(layer.get_parameter("bias"))
    spectral_norm(layer)
    return layer


def surrounded(x: Float[Tensor, "b c h w"], training: bool) -> Float[Tensor, "b c y x"]:
    """What the trunk takes away from every side is put there first by repeating the border; not while training."""
    return x if training else F.pad(x, [TRIM] * 4, mode="replicate")


class Trunk(nn.Module):
    """Convolutions 5, 5, 3, 3 of 256, 128, 64, 32 channels with batch norm and leaky ReLU, without padding.

    `statistics`, in use: `running`, those of training, or `instance`, those of the picture itself.
    """

    def __init__(self, inputs: int, statistics: Statistics = "running", init_std: float | None = 0.001) -> None:
        """
        Raises:
            ValueError: other statistics.
        """
        super().__init__()
        if statistics not in ("running", "instance"):
            raise ValueError(f"statistics={statistics}; choose running or instance")
        self.statistics = statistics
        widths = (inputs, *WIDTHS)
        self.convs = nn.ModuleList(
            normed(widths[i], widths[i + 1], kernel, init_std) for i, kernel in enumerate(KERNELS)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 32 y x"]:
        """Features, 12 pixels less in height and width than the input."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            if self.training or self.statistics == "running":
                x = norm(x)
            else:
                x = F.instance_norm(x, weight=norm.get_parameter("weight"), bias=norm.get_parameter("bias"))
            x = F.leaky_relu(x, 0.2)
        return x


class Generator(nn.Module):
    """Five convolutions on infrared and visible as two channels; 925,633 parameters, receptive field 13 pixels.

    While training it has no padding, as in the paper: of patches of 132 pixels it fuses the middle 120. In use the
    border is repeated first, so that the result is as large as the sources.
    `statistics`: the authors' program normalises by the picture at hand and forgets the trained scale and shift;
    `running` takes what training has found, `instance` the moments of the picture, whatever its size, with the trained
    scale and shift. `init_std`: 0.001 in the authors' program; None takes PyTorch's start.
    """

    channels, luma = 1, "full"

    def __init__(self, statistics: Statistics = "running", init_std: float | None = 0.001) -> None:
        super().__init__()
        self.trunk = Trunk(2, statistics, init_std)
        self.output = normed(WIDTHS[-1], 1, 1, init_std)
        self.margin = TRIM if statistics == "running" else None

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; inside, the paper's [-1, 1]."""
        x = surrounded(2 * torch.cat([ir, vi], 1) - 1, self.training)
        return (torch.tanh(self.output(self.trunk(x))) + 1) / 2
