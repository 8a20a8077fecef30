"""GANMcC: a generative adversarial network with multiclassification constraints (Ma, Zhang, Shao, Liang, Xu. IEEE TIM
70, 2021, 1-14).

Paper: https://doi.org/10.1109/TIM.2020.3038013
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.fusiongan import TRIM, WIDTHS, Statistics, Trunk, normed, surrounded


class Generator(nn.Module):
    """Two trunks of FusionGAN, one shown [ir, ir, vi], one [vi, vi, ir]; 1,864,129 parameters, receptive field 13.

    The trunks are named after the source that leads them. The last convolution takes the features of both twice, as in
    the authors' program. While training there is no padding, as in the paper: of patches of
    132 pixels the middle 120 are fused; in use the border is repeated first. `statistics`, `init_std`: see FusionGAN.
    """

    channels, luma = 1, "full"

    def __init__(self, statistics: Statistics = "running", init_std: float | None = 0.001) -> None:
        super().__init__()
        self.ir, self.vi = Trunk(3, statistics, init_std), Trunk(3, statistics, init_std)
        self.output = normed(4 * WIDTHS[-1], 1, 1, init_std)
        self.margin = TRIM if statistics == "running" else None

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; inside, the paper's [-1, 1]."""
        x, y = (surrounded(2 * source - 1, self.training) for source in (ir, vi))
        features = [self.ir(torch.cat([x, x, y], 1)), self.vi(torch.cat([y, y, x], 1))]
        return (torch.tanh(self.output(torch.cat(2 * features, 1))) + 1) / 2
