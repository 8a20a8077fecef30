"""Multi-modality medical image fusion using convolutional neural network and contrast pyramid.

Wang, Zheng, Wei, Qi, Li. Sensors 20(8), 2020, 2169. Paper: https://doi.org/10.3390/s20082169
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.cnn2017 import STRIDE, WINDOW, spread
from fuse.models.pyramid import expand, gaussian_pyramid

LEAST = 1 / 255  # what a picture is at least divided by
ALIKE = 0.6  # match from which both sources are mixed
Picture = Float[Tensor, "b 1 h w"]


class MedCNN(nn.Module):
    """A weight map from a Siamese classifier of 16x16 windows, and pyramids fused by it; 435,202 parameters.

    After Wang 2020, of which no program is public: network and rule are those of Liu et al. (FUSION 2017), on which it
    builds, the pyramid is Toet's contrast pyramid. `pyramid`: `contrast`, or Liu's `laplacian`. `levels`: five suit 256
    pixels. `offset` is added to pictures for the contrast pyramid and taken off after it: beside bright bone the ratios
    of a black background are large and win over faint tissue of the other source. The classifier learns, as in Liu
    2017, which of two windows is sharp (`fuse.proxy`); while training the result is the plain mixture by the map, and
    the windows' probabilities `scores` `(b, 2, i, j)` are told.
    """

    channels, luma = 1, "full"

    def __init__(
        self,
        pyramid: Literal["contrast", "laplacian"] = "contrast",
        levels: int = 5,
        offset: float = 0.3,
    ) -> None:
        super().__init__()
        if pyramid not in ("contrast", "laplacian") or levels < 1 or offset < LEAST:
            raise ValueError(
                f"pyramid '{pyramid}' of {levels} levels, offset {offset}: choose contrast or laplacian, 1 or more "
                "levels and an offset of 1/255 or more"
            )
        self.pyramid, self.levels = pyramid, levels
        self.offset = offset if pyramid == "contrast" else 0.0
        self.multiple, self.margin = 2**levels, 6 * 2**levels + 32
        self.branch = nn.Sequential(
            nn.Conv2d(1, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(128, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.decide = nn.Conv2d(512, 2, WINDOW // STRIDE)

    def forward(self, a: Picture, b: Picture) -> Any:
        """Fused luma in [0, 1] of two lumas in [0, 1]; sides below 16 are extended by repeating the border."""
        height, width = a.shape[-2:]
        x, y = (F.pad(p, [0, max(0, WINDOW - width), 0, max(0, WINDOW - height)], mode="replicate") for p in (a, b))
        scores = self.decide(torch.cat([self.branch(x), self.branch(y)], 1)).softmax(1)
        share = spread(scores[:, :1], *x.shape[-2:])
        if self.training:
            share = share[..., :height, :width]
            return share * a + (1 - share) * b, {"scores": scores}
        return self.blend(x, y, share).clamp(0, 1)[..., :height, :width]

    def blend(self, a: Picture, b: Picture, share: Picture) -> Picture:
        """Pictures joined band by band, `share` the weight of the first; the coarsest level by the same rule."""
        lifted = a + self.offset, b + self.offset, share
        first, second, shares = (gaussian_pyramid(x, self.levels) for x in lifted)
        fused = joined(first[-1], second[-1], shares[-1])
        for x, y, x_below, y_below, w in zip(
            first[-2::-1], second[-2::-1], first[:0:-1], second[:0:-1], shares[-2::-1], strict=True
        ):
            size = x.shape[-2:]
            below = expand(fused, *size)
            if self.pyramid == "contrast":
                x, y = (z / expand(under, *size).clamp_min(LEAST) - 1 for z, under in ((x, x_below), (y, y_below)))
                fused = (joined(x, y, w) + 1) * below.clamp_min(LEAST)
            else:
                fused = joined(x - expand(x_below, *size), y - expand(y_below, *size), w) + below
        return fused - self.offset


def joined(x: Picture, y: Picture, share: Picture) -> Picture:
    """Liu's rule: where both bands are alike their mixture by `share`, else that of more energy.

    Energy S: sum of squares over 3x3 pixels; match: 2 sum xy / (S_x + S_y), alike above 0.6, or where both are empty.
    """

    def around(z: Picture) -> Picture:
        return F.avg_pool2d(z, 3, 1, 1)

    energy_x, energy_y = around(x * x), around(y * y)
    alike = 2 * around(x * y) >= ALIKE * (energy_x + energy_y)
    stronger = torch.where(energy_x >= energy_y, x, y)
    return torch.where(alike, share * x + (1 - share) * y, stronger)
