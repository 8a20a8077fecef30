"""ReCoNet: recurrent correction network for fast and efficient multi-modality image fusion (Huang, Liu, Fan, Liu,
Zhong, Luo. ECCV 2022), its fuser.

Paper: https://arxiv.org/abs/2209.14021
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Picture = Float[Tensor, "b 1 h w"]


class ReCoNet(nn.Module):
    """A fused picture corrected three times by the same small layer; 7,527 parameters, receptive field 31 pixels.

    Without the registration that goes before it in the paper: sources must be aligned. Batch norm uses its running
    statistics in use; since the same norms serve all loops, they average over them.
    """

    channels, luma, margin = 1, "full", 15

    def __init__(self, loops: int = 3) -> None:
        super().__init__()
        self.loops = loops
        self.margin = 5 * loops
        self.attention_a, self.attention_b = (nn.Conv2d(2, 1, 3, padding=1, bias=False) for _ in range(2))
        self.dilated = nn.ModuleList(nn.Conv2d(3, 64, 3, padding=d, dilation=d) for d in (1, 2, 3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(64) for _ in range(3))
        self.output, self.norm = nn.Conv2d(192, 1, 3, padding=1), nn.BatchNorm2d(1)

    def forward(self, a: Picture, b: Picture) -> Picture:
        """Fused luma of two luma pictures in [0, 1]: infrared and visible. Between -1 and 1 (tanh)."""
        fused = torch.maximum(a, b)
        for _ in range(self.loops):
            parts = [a * attention(self.attention_a, a, fused), fused, b * attention(self.attention_b, b, fused)]
            x = torch.cat(parts, 1)
            seen = [F.relu(norm(conv(x))) for conv, norm in zip(self.dilated, self.norms, strict=True)]
            fused = torch.tanh(self.norm(self.output(torch.cat(seen, 1))))
        return fused


def attention(layer: nn.Conv2d, source: Picture, fused: Picture) -> Picture:
    """sigmoid(conv [max, mean]) of a source and the fused picture so far."""
    both = torch.cat([source, fused], 1)
    return torch.sigmoid(layer(torch.cat([both.amax(1, keepdim=True), both.mean(1, keepdim=True)], 1)))
