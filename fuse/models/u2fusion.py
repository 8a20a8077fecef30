"""U2Fusion: a unified unsupervised image fusion network (Xu, Ma, Jiang, Guo, Ling. IEEE TPAMI 44(1), 2022, 502-518).

Paper: https://doi.org/10.1109/TPAMI.2020.3012548
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 44


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class U2Fusion(nn.Module):
    """A densely connected encoder on both sources and a plain decoder; 659,217 parameters, receptive field 21 pixels.

    Two luma pictures in either order: the order matters to the weights, but training exchanges the sources at random.
    """

    channels, luma, margin = 1, "full", 10

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(2, WIDTH)
        self.dense = nn.ModuleList(conv(i * WIDTH, WIDTH) for i in range(1, 6))
        self.decoder = nn.ModuleList([conv(6 * WIDTH, 128), conv(128, 64), conv(64, 32)])
        self.output = conv(32, 1)

    def forward(self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of two luma pictures in [0, 1]."""
        x = leaky(self.first(torch.cat([a, b], 1)))
        for layer in self.dense:
            x = torch.cat([leaky(layer(x)), x], 1)  # new features first
        for layer in self.decoder:
            x = leaky(layer(x))
        return torch.tanh(self.output(x)) / 2 + 0.5
