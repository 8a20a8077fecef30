"""TarDAL (Liu, Fan, Huang, Wu, Liu, Zhong, Luo. CVPR 2022): target-aware dual adversarial learning, and where its
targets are.

Paper: https://arxiv.org/abs/2203.16220
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.models.guided import box_mean

WIDTH = 32
SURROUNDINGS = (16, 8, 4, 2)  # parts of the shorter side that the half width of a neighbourhood is


def layer(inputs: int, outputs: int, norm: bool = True) -> nn.Sequential:
    found = nn.BatchNorm2d(outputs) if norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), found, nn.ReLU())


class Generator(nn.Module):
    """A dense block on infrared and visible and four convolutions; 296,577 parameters, receptive field 17 pixels.

    It ends in tanh, whose negative half is black in use; while training it is left as it is, since what is cut off
    gets no gradient. Running statistics in use.
    """

    channels, luma, margin = 1, "full", 8

    def __init__(self) -> None:
        super().__init__()
        self.first = layer(2, WIDTH)
        self.dense = nn.ModuleList(layer(i * WIDTH, WIDTH) for i in (1, 2, 3))
        self.decoder = nn.Sequential(
            layer(4 * WIDTH, 4 * WIDTH, norm=False), layer(4 * WIDTH, 2 * WIDTH), layer(2 * WIDTH, WIDTH)
        )
        self.output = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; in [-1, 1] while training."""
        x = self.first(torch.cat([ir, vi], 1))
        for dense in self.dense:
            x = torch.cat([x, dense(x)], 1)
        fused = torch.tanh(self.output(self.decoder(x)))
        return fused if self.training else fused.clamp(0, 1)


def targets(sample: Sample, role: str) -> Float[Tensor, "b 1 h w"]:
    """Mask m of what is brighter than its surroundings in one source, 0 to 1 in every patch; 0 where it is flat.

    On-centre saliency (Montabone and Soto 2010, the authors' classical choice): sum over four neighbourhoods of
    max(0, I - mean), brought to [0, 1] by its smallest and largest value. Half widths are 1/16, 1/8, 1/4, 1/2 of the
    shorter side. Without their off-centre half, for a target is warmer than what is around it. No gradient.
    """
    with torch.no_grad():
        picture = sample.role(role).mean(1, keepdim=True)
        side = min(picture.shape[-2:])
        excess = torch.stack([F.relu(picture - box_mean(picture, max(1, side // part))) for part in SURROUNDINGS])
        total = excess.sum(0)
        low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
        rise = high - low
        return torch.where(rise > 1e-6, (total - low) / rise.clamp_min(1e-6), 0.0)


def background(sample: Sample, role: str) -> Float[Tensor, "b 1 h w"]:
    """1 - m: where the texture of the visible picture counts."""
    return 1 - targets(sample, role)
