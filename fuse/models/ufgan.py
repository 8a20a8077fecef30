"""UFGAN: a U-Net that starts from the mean of infrared and visible, trained against a critic of any size.

No paper; the project https://github.com/drowning-in-codes/UFGAN, in the reading that its slides promise. Its program
pairs infrared and visible pictures at random, gives its style terms no gradient, compares every score with every label,
shrinks the picture by 8 pixels and drops features in use too; here none of that is so.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from fuse.errors import InputError
from fuse.models.critics import normalisation

Norm = Literal["batch", "instance"]
Residual = Literal["none", "mean", "blocks"]
SLOPE = 0.01


def spectral(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer under spectral norm, from He's normal start."""
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    return spectral_norm(layer)


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    return spectral(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect"))


def faint(inputs: int) -> nn.Module:
    """A last layer that says next to nothing at first, which under spectral norm none could."""
    layer = nn.Conv2d(inputs, 1, 1)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


class Stage(nn.Module):
    """Two convolutions with norm and activation; with `shortcut`, a 1x1 convolution of the input is added before the
    second activation."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, shortcut: bool, last: bool = False) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv(inputs, outputs), conv(outputs, outputs)])
        self.norms = nn.ModuleList(normalisation(norm, outputs) for _ in range(2))
        self.activation: nn.Module = nn.Tanh() if last else nn.LeakyReLU(SLOPE)
        self.shortcut = conv(inputs, outputs, 1) if shortcut else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        inner = self.activation(self.norms[0](self.convs[0](x)))
        inner = self.norms[1](self.convs[1](inner))
        return self.activation(inner if self.shortcut is None else inner + self.shortcut(x))


class Rise(nn.Module):
    """Twice the size in half the channels."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv = spectral(nn.ConvTranspose2d(inputs, outputs, 2, 2))
        self.norm = normalisation(norm, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


class Generator(nn.Module):
    """U-Net on infrared and visible as two channels under spectral norm; 31,044,865 parameters.

    `widths`: channels of the stages; half as many (32 ... 512) is the light variant with 7,766,657 parameters.
    `norm`: `batch`, running statistics in use, or `instance`, which makes every pixel matter everywhere.
    `residual`: `mean`, the network predicts what to add to the mean of the sources, cut to the range; it starts close
    to nothing, its last layer being free of spectral norm. `blocks`, every stage adds its input through a 1x1
    convolution. `none`, as the project's program.
    """

    channels, luma = 1, "full"

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        norm: Norm = "batch",
        residual: Residual = "mean",
    ) -> None:
        """
        Raises:
            ValueError: an unknown norm or residual, or fewer than two widths.
        """
        super().__init__()
        if norm not in ("batch", "instance") or residual not in ("none", "mean", "blocks") or len(widths) < 2:
            raise ValueError(
                f"widths={widths}, norm={norm}, residual={residual}; two or more widths, norm batch or instance, "
                "residual none, mean or blocks"
            )
        self.residual = residual
        blocks, pools = residual == "blocks", len(widths) - 1
        self.encoder = nn.ModuleList(Stage(a, b, norm, blocks) for a, b in pairwise([2, *widths]))
        self.rises = nn.ModuleList(Rise(b, a, norm) for a, b in reversed([*pairwise(widths)]))
        self.decoder = nn.ModuleList(
            Stage(2 * widths[i], widths[i], norm, blocks, last=i == 0) for i in reversed(range(pools))
        )
        self.output = faint(widths[0]) if residual == "mean" else conv(widths[0], 1, 1)
        self.unit, self.multiple = 2**pools, 2 ** (pools + 1)  # two pixels at the bottom, for reflection
        self.margin = None if norm == "instance" else 7 * self.unit - 4

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; inside, [-1, 1].

        Raises:
            InputError: sides that cannot be halved as often as the network does.
        """
        if any(side % self.unit or side < self.multiple for side in ir.shape[-2:]):
            raise InputError(
                f"pictures of {ir.shape[-1]}x{ir.shape[-2]} cannot be halved {len(self.rises)} times; make "
                f"model.patches.size a multiple of {self.unit}, at least {self.multiple}"
            )
        x = inputs = 2 * torch.cat([ir, vi], 1) - 1
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = stage(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for rise, stage, skip in zip(self.rises, self.decoder, skips[-2::-1], strict=True):
            x = stage(torch.cat([skip, rise(x)], 1))
        made = torch.tanh(self.output(x))
        if self.residual == "mean":
            made = (inputs.mean(1, keepdim=True) + made).clamp(-1, 1)
        return (made + 1) / 2
