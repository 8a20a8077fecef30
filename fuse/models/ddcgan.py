"""DDcGAN (Ma, Xu, Jiang, Mei, Zhang. IEEE TIP 29, 2020, 4980-4995): a dual-discriminator conditional GAN for sources of
unequal resolution, and the two terms of its loss.

Paper: https://doi.org/10.1109/TIP.2020.2977573
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.losses.gradient import ring
from fuse.losses.views import fused_like

WIDTH = 48
DECODER = (5 * WIDTH, 240, 128, 64, 32)


def conv(inputs: int, outputs: int, init_std: float | None, bias: bool = True) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect", bias=bias)
    if init_std is not None:
        nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
        if bias:
            nn.init.zeros_(layer.get_parameter("bias"))
    return layer


def layer(inputs: int, outputs: int, init_std: float | None) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, init_std), nn.BatchNorm2d(outputs), nn.ReLU())


class Generator(nn.Module):
    """Densely connected encoder and a decoder, for sources of any two sizes; 1,097,683 parameters, 18 in the bridge.

    Receptive field 23 pixels where the sizes are equal. The bridge: the smaller source is brought to the size of the
    larger (bicubic), then each goes through a 3x3 convolution of its own. The authors' transposed convolutions of
    stride 4 know one ratio and leave every fourth row and column empty. Their program also applies the first decoder
    layer twice, once without norm; here it is applied once. Running statistics in use.
    `init_std`: 0.05 in the authors' program; None takes PyTorch's start.
    """

    channels, luma, resizes = 1, "full", True

    def __init__(self, init_std: float | None = 0.05) -> None:
        super().__init__()
        self.ir_bridge, self.vi_bridge = (conv(1, 1, init_std, bias=False) for _ in range(2))
        self.encoder = nn.ModuleList(layer(max(2, i * WIDTH), WIDTH, init_std) for i in range(5))
        self.decoder = nn.Sequential(*(layer(a, b, init_std) for a, b in pairwise(DECODER)))
        self.output = conv(DECODER[-1], 1, init_std)

    def forward(self, ir: Float[Tensor, "b 1 u v"], vi: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] at the size of the larger of infrared and visible luma in [0, 1]."""
        size = max(ir.shape[-2:], vi.shape[-2:], key=lambda sides: sides[0] * sides[1])
        ir, vi = (grown(x, size[0], size[1]) for x in (ir, vi))
        inputs = torch.cat([self.vi_bridge(vi), self.ir_bridge(ir)], 1)
        features = self.encoder[0](inputs)
        for dense in self.encoder[1:]:
            features = torch.cat([dense(features), features], 1)
        return torch.tanh(self.output(self.decoder(features))) / 2 + 0.5


def grown(x: Float[Tensor, "b c y x"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Bicubic, only where the size differs."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bicubic").clamp(0, 1)


def intensity(fused: Float[Tensor, "b 1 h w"], sample: Sample, role: str) -> Tensor:
    """||f_down - I||_F^2, f_down the fused picture at the size of source I: sum over pixels, mean over the batch."""
    return (fused_like(fused, sample, role) - sample.role(role)).square().sum((1, 2, 3)).mean()


def outlines(fused: Float[Tensor, "b 1 h w"], sample: Sample, role: str) -> Tensor:
    """sum |g(f) - g(I)|, g the mean of eight neighbours minus the pixel: sum over pixels, mean over the batch."""
    return (ring(fused) - ring(sample.role(role))).abs().sum((1, 2, 3)).mean()
