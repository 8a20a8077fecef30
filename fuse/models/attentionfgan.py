"""After AttentionFGAN (Li, Huo, Li, Wang, Feng. IEEE TMM 23, 2021, 1383-1396): attention maps, and critics that see
through them.

Not a reproduction: there is no code of the authors, and the paper's layer widths and weights were not at hand. What its
abstract says is built from FusionGAN's and GANMcC's parts. Paper: https://doi.org/10.1109/TMM.2020.2997127
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.losses.gradient import Operator, response
from fuse.models.fusiongan import TRIM, WIDTHS, Trunk, normed, surrounded

WIDTH = 16
CELLS = (1, 2, 4)

Map = Float[Tensor, "b 1 h w"]
Fused = Tensor | tuple[Tensor, dict[str, Tensor]]


class Attention(nn.Module):
    """Multi-scale attention: where one source has what is typical of it, 0 to 1.

    Two 3x3 convolutions; their features beside their means over 1, 2x2 and 4x4 cells of the picture, brought back to
    its size (bilinear); a 3x3 convolution and a sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, WIDTH, 3, padding=1, padding_mode="replicate") for a in (1, WIDTH))
        self.output = nn.Conv2d(WIDTH * (1 + len(CELLS)), 1, 3, padding=1, padding_mode="replicate")

    def forward(self, source: Float[Tensor, "b 1 h w"]) -> Map:
        """Map of a source in [-1, 1]."""
        x = source
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        size = x.shape[-2:]
        pool = pooled if torch.compiler.is_exporting() else F.adaptive_avg_pool2d
        means = [F.interpolate(pool(x, cells), size, mode="bilinear") for cells in CELLS]
        return torch.sigmoid(self.output(torch.cat([x, *means], 1)))


def pooled(x: Tensor, cells: int) -> Tensor:
    """`adaptive_avg_pool2d` for exported graphs; ONNX has no pooling over cells that follow the size of a picture."""
    for axis in (-1, -2):
        size = x.shape[axis]
        spans = [(i * size // cells, ((i + 1) * size + cells - 1) // cells) for i in range(cells)]
        x = torch.stack([x.narrow(axis, a, b - a).mean(axis) for a, b in spans], axis)
    return x


class Generator(nn.Module):
    """FusionGAN's network on both sources and an attention map of each; 944,547 parameters.

    A pixel matters everywhere, through the maps. While training there is no padding, as in FusionGAN, and the maps of
    the middle are told as `attention_ir` and `attention_vi`; in use the border is repeated first. Running statistics in
    use. `init_std`: of the fusing layers, as FusionGAN; None takes PyTorch's start.
    """

    channels, luma = 1, "full"

    def __init__(self, init_std: float | None = 0.001) -> None:
        super().__init__()
        self.ir, self.vi = Attention(), Attention()
        self.trunk = Trunk(4, "running", init_std)
        self.output = normed(WIDTHS[-1], 1, 1, init_std)

    def forward(self, ir: Float[Tensor, "b 1 h w"], vi: Float[Tensor, "b 1 h w"]) -> Fused:
        """Fused luma in [0, 1] of infrared and visible luma in [0, 1]; inside, [-1, 1]."""
        x, y = 2 * ir - 1, 2 * vi - 1
        maps = {"attention_ir": self.ir(x), "attention_vi": self.vi(y)}
        inputs = surrounded(torch.cat([x, y, *maps.values()], 1), self.training)
        fused = (torch.tanh(self.output(self.trunk(inputs))) + 1) / 2
        if not self.training:
            return fused
        return fused, {name: found[..., TRIM:-TRIM, TRIM:-TRIM] for name, found in maps.items()}


def attention(sample: Sample, name: str) -> Map:
    """One of the maps that the fuser told, as a mask of views; no gradient.

    With one, the fuser could please every critic by attending to nothing.
    """
    return sample.inside[name].detach()


def attended(
    fused: Float[Tensor, "b 1 h w"], sample: Sample, role: str, name: str, operator: Operator | None = None
) -> Tensor:
    """sum A (G f - G I)^2 / sum A: squared error to source I where the fuser attends to it; A gets no gradient.

    G is the identity where `operator` is None, else one of `fuse.losses.gradient.OPERATORS`.
    """
    weight = attention(sample, name)
    made, wanted = (x if operator is None else response(x, operator) for x in (fused, sample.role(role)))
    return (weight * (made - wanted).square()).sum() / weight.sum().clamp_min(1e-6)
