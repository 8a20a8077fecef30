"""A fuser whose degree of fusion is set in use: a label says how much of the brightness the first source gives.

Ours. The label enters every layer as a scale and a shift of its features (FiLM, Perez et al., AAAI 2018).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Modulated(nn.Module):
    """Residual 3x3 convolution whose features are scaled and shifted by the label."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.label = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Float[Tensor, "b c h w"], balance: Float[Tensor, "b 1"]) -> Float[Tensor, "b c h w"]:
        """x + ReLU(scale * conv(x) + shift)."""
        scale, shift = self.label(balance)[..., None, None].chunk(2, 1)
        return x + F.relu((1 + scale) * self.conv(x) + shift)


class Conditional(nn.Module):
    """Convolutions that add to a mixture of two sources; 46,593 parameters, receptive field 13 pixels.

    `balance` in [0, 1], set in use (`fuse --balance`): 1 takes brightness from the first source, 0 from the second;
    detail comes from both. While training every picture draws its own, and the loss finds it inside as `balance` and
    `rest`. The result depends on the order of the sources.
    """

    channels, luma, margin = 1, "full", 6

    def __init__(self, balance: float = 0.5, width: int = 32) -> None:
        """
        Raises:
            ValueError: a balance outside [0, 1].
        """
        super().__init__()
        if not 0 <= balance <= 1:
            raise ValueError(f"balance={balance}: must be from 0 to 1")
        self.balance = balance
        self.first = nn.Conv2d(2, width, 3, padding=1, padding_mode="reflect")
        self.blocks = nn.ModuleList(Modulated(width) for _ in range(4))
        self.last = nn.Conv2d(width, 1, 3, padding=1, padding_mode="reflect")
        nn.init.zeros_(self.last.weight)  # the first picture is the plain mixture
        nn.init.zeros_(self.last.get_parameter("bias"))

    def forward(
        self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b 1 h w"] | tuple[Float[Tensor, "b 1 h w"], dict[str, Tensor]]:
        """Fused luma of two in [0, 1], not clipped; in training also the labels drawn."""
        count = a.shape[0]  # len(a) would be a constant in an exported graph
        balance = torch.rand(count, 1, device=a.device) if self.training else a.new_full((count, 1), self.balance)
        x = F.relu(self.first(torch.cat([a, b], 1) * 2 - 1))
        for block in self.blocks:
            x = block(x, balance)
        share = balance[..., None, None]
        fused = share * a + (1 - share) * b + self.last(x)
        return (fused, {"balance": share, "rest": 1 - share}) if self.training else fused
