"""MUFusion: a general unsupervised image fusion network based on memory unit (Cheng, Xu, Wu. Information Fusion 92,
2023, 80-92).

Paper: https://doi.org/10.1016/j.inffus.2022.11.010
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.nestfuse import at_least


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="reflect")


class MUFusion(nn.Module):
    """Two scales with dense skips; 554,721 parameters.

    Trained with a memory: what the network of the epoch before made of the same patch (`fuse.memory`). Sides must be
    even; the order of the sources matters.
    """

    channels, luma, margin, multiple = 1, "full", 24, 2

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(2, 32), conv(32, 32)
        self.c, self.d, self.e, self.f = conv(64, 64, 2), conv(64, 64), conv(128, 64), conv(192, 64)
        self.to_f, self.to_e, self.to_d, self.to_c = conv(64, 64), conv(128, 64), conv(128, 64), conv(128, 64)
        self.to_b, self.output = conv(96, 32), conv(64, 1)

    def forward(self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of two luma pictures in [0, 1]: infrared, PET or CT first. Between -1 and 1 (tanh)."""
        height, width = a.shape[-2:]
        x1 = F.relu(self.a(at_least(torch.cat([a, b], 1), 4)))  # two pixels at half size, to be reflected
        x2 = F.relu(self.b(x1))
        x3 = F.relu(self.c(torch.cat([x1, x2], 1)))
        x4 = F.relu(self.d(x3))
        x5 = F.relu(self.e(torch.cat([x3, x4], 1)))
        x6 = F.relu(self.f(torch.cat([x3, x4, x5], 1)))
        y = F.relu(self.to_f(x6))
        y = F.relu(self.to_e(torch.cat([x5, y], 1)))
        y = F.relu(self.to_d(torch.cat([x4, y], 1)))
        y = F.relu(self.to_c(torch.cat([x3, y], 1)))
        y = F.interpolate(y, scale_factor=2, mode="bicubic")
        y = F.relu(self.to_b(torch.cat([x2, y], 1)))
        return torch.tanh(self.output(torch.cat([x1, y], 1)))[..., :height, :width]
