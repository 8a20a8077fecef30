"""Multi-focus image fusion with a deep convolutional neural network.

Liu, Chen, Peng, Wang. Information Fusion 36, 2017, 191-207. Paper: https://doi.org/10.1016/j.inffus.2016.12.001
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.guided import guided_filter
from fuse.models.masks import small_regions_removed

WINDOW, STRIDE = 16, 2  # pixels that one score is about, and pixels between scores
SMALLEST = 0.01  # share of the picture; regions below it are removed


class CNN2017(nn.Module):
    """Siamese classifier of 16x16 windows, run over whole pictures at every second pixel; 8,758,786 parameters.

    While training it returns soft weights, the mean score of all windows that hold a pixel, and tells `scores`, the
    probabilities `(b, 2, i, j)` of the windows. In use the map is thresholded at 0.5, rid of small regions and guided
    by the fused luma. The result depends a little on the order of the sources. The first fully connected layer has
    neither bias nor ReLU, as in the released program.
    """

    channels, luma, selects = 1, "full", True

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(1, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),  # odd sides: as if zeros followed
            nn.Conv2d(128, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.connect = nn.Conv2d(512, 256, WINDOW // STRIDE, bias=False)
        self.decide = nn.Conv2d(256, 2, 1)

    def forward(
        self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b 2 h w"] | tuple[Float[Tensor, "b 2 h w"], dict[str, Tensor]]:
        """Weights that sum to 1, of two lumas in [0, 1]; sides below 16 are extended by repeating the border."""
        height, width = a.shape[-2:]
        x, y = (F.pad(p, [0, max(0, WINDOW - width), 0, max(0, WINDOW - height)], mode="replicate") for p in (a, b))
        scores = self.decide(self.connect(torch.cat([self.branch(x), self.branch(y)], 1))).softmax(1)
        focus = spread(scores[:, :1], height, width)
        if self.training:
            return torch.cat([focus, 1 - focus], 1), {"scores": scores}
        mask = small_regions_removed(focus > 0.5, SMALLEST).to(a.dtype)
        mask = guided_filter(mask * a + (1 - mask) * b, mask, 8, 0.1).clamp(0, 1)
        return torch.cat([mask, 1 - mask], 1)


def spread(scores: Float[Tensor, "b 1 i j"], height: int, width: int) -> Float[Tensor, "b 1 h w"]:
    """Mean, at every pixel, of the scores of all windows it is in."""
    window = scores.new_ones(1, 1, WINDOW, WINDOW)
    total = F.conv_transpose2d(scores, window, stride=STRIDE)
    count = F.conv_transpose2d(torch.ones_like(scores[:1]), window, stride=STRIDE)
    return (total / count)[..., :height, :width]
