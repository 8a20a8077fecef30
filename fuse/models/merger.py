"""ImageMerger: a convolution for each source and two for all of them, a teaching baseline.

No paper; one of the small networks this project began with.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.errors import InputError

WIDTH = 64


class Merger(nn.Module):
    """Convolutions 3x3 of a fixed number of sources, unshared, so their order matters; receptive field 7 pixels.

    79,107 parameters for two RGB pictures, 117,763 for three, 75,649 for two lumas (`channels` 3 or 1).
    """

    luma, margin = "full", 3

    def __init__(self, sources: int = 2, channels: int = 3) -> None:
        """
        Raises:
            ValueError: no sources, or neither one channel nor three.
        """
        super().__init__()
        if sources < 1 or channels not in (1, 3):
            raise ValueError(f"sources={sources}, channels={channels}; give at least 1 source, and 1 or 3 channels")
        self.channels = channels
        self.inputs = nn.ModuleList(nn.Conv2d(channels, WIDTH, 3, padding=1) for _ in range(sources))
        self.merge = nn.Conv2d(sources * WIDTH, WIDTH, 3, padding=1)
        self.output = nn.Conv2d(WIDTH, channels, 3, padding=1)

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Fused pictures of pictures in [0, 1]; not clipped, the output layer is linear.

        Raises:
            InputError: another number of sources than it was built for.
        """
        return self.output(self.features(*sources))

    def features(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 64 h w"]:
        """What the last convolution takes.

        Raises:
            InputError: another number of sources than it was built for.
        """
        if len(sources) != len(self.inputs):
            raise InputError(
                f"this network was built for {len(self.inputs)} sources and gets {len(sources)}; train one with "
                f"model.fuser.sources={len(sources)}"
            )
        parts = [F.relu(layer(x)) for layer, x in zip(self.inputs, sources, strict=True)]
        return F.relu(self.merge(torch.cat(parts, 1)))
