"""IFCNN: a general image fusion framework based on convolutional neural network.

Zhang, Liu, Sun, Yan, Zhao, Zhang. Information Fusion 54, 2020, 99-118. Paper: https://doi.org/10.1016/j.inffus.2019.07.011
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.data import color
from fuse.errors import InputError

Rule = Literal["max", "mean", "sum"]
WIDTH = 64
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Block(nn.Sequential):
    """3x3 convolution without bias, borders repeated, batch norm, ReLU."""

    def __init__(self) -> None:
        conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, padding_mode="replicate", bias=False)
        super().__init__(conv, nn.BatchNorm2d(WIDTH), nn.ReLU())


def imagenet_kernels() -> Float[Tensor, "64 3 7 7"]:
    """First convolution of ResNet-101 trained on ImageNet; torchvision downloads 171 MB once.

    Raises:
        InputError: it cannot be downloaded.
    """
    from torchvision.models import ResNet101_Weights

    try:
        return ResNet101_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)["conv1.weight"]
    except OSError as problem:
        raise InputError(
            f"ResNet-101 cannot be downloaded: {problem}; set model.fuser.pretrained=false to learn the first layer"
        ) from problem


class IFCNN(nn.Module):
    """Features of every source, joined element by element, and a picture of them; 83,587 parameters.

    Takes any number of sources, in any order alike (`max` and `mean`). `rule`: `max` for focus, infrared and medical
    pictures, `mean` for exposures, or `sum`. `channels`: 3 fuses RGB, standardised as ImageNet (focus); 1 fuses luma,
    three times over and as it is, and returns the luma of the result (all else). `pretrained`: the first layer is that
    of ResNet-101, frozen, as published; it is fetched when training begins. Else it is learned with the rest.
    """

    luma, margin = "full", 5

    def __init__(self, rule: Rule = "max", channels: Literal[1, 3] = 3, pretrained: bool = False) -> None:
        """
        Raises:
            ValueError: an unknown rule or number of channels.
        """
        super().__init__()
        if rule not in ("max", "mean", "sum") or channels not in (1, 3):
            raise ValueError(f"rule={rule}, channels={channels}; rule is max, mean or sum, channels 1 or 3")
        self.rule, self.channels = rule, channels
        self.first = nn.Conv2d(3, WIDTH, 7, padding=3, padding_mode="replicate", bias=False)
        self.extract, self.rebuild = Block(), Block()
        self.output = nn.Conv2d(WIDTH, 3, 1)
        self.unfetched = pretrained
        if pretrained:  # a buffer: saved and averaged with the network, but not trained
            shape = self.first.weight.shape
            del self.first.weight
            self.first.register_buffer("weight", torch.zeros(shape))

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Fused RGB or luma, of sources in [0, 1]; not clipped, the output layer is linear."""
        if self.unfetched:  # unless a checkpoint has been loaded meanwhile
            if not self.first.weight.any():
                self.first.weight.copy_(imagenet_kernels())
            self.unfetched = False
        mean, deviation = (sources[0].new_tensor(x).view(1, 3, 1, 1) for x in (MEAN, DEVIATION))
        if self.channels == 1:
            mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
        pictures = [(x.expand(-1, 3, -1, -1) - mean) / deviation for x in sources]
        features = torch.stack([self.extract(self.first(x)) for x in pictures])
        fused = self.output(self.rebuild(self.joined(features))) * deviation + mean
        return color.split(fused, "full")[0] if self.channels == 1 else fused

    def joined(self, features: Float[Tensor, "n b 64 h w"]) -> Float[Tensor, "b 64 h w"]:
        """Features of all sources as one, by the rule."""
        if self.rule == "max":
            return features.amax(0)
        return features.mean(0) if self.rule == "mean" else features.sum(0)
