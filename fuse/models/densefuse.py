"""DenseFuse: a fusion approach to infrared and visible images (Li, Wu. IEEE TIP 28(5), 2019, 2614-2623).

Paper: https://doi.org/10.1109/TIP.2018.2887342
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Rule = Literal["l1", "mean", "sum", "max", "style"]
RULES = get_args(Rule)


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
    nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


def l1_weights(features: Float[Tensor, "n b c h w"], radius: int = 1) -> Float[Tensor, "n b 1 h w"]:
    """Share of each source in the L1 activity of the features, averaged over a (2r+1)^2 block (eq. 5 to 7).

    Where no source is active the shares are equal. Borders average over the pixels inside.
    """
    activity = features.abs().sum(2)
    activity = F.avg_pool2d(activity, 2 * radius + 1, 1, radius, count_include_pad=False)
    total = activity.sum(0, keepdim=True)
    share = torch.where(total > 0, activity / total.clamp_min(torch.finfo(total.dtype).tiny), 1 / len(features))
    return share.unsqueeze(2)


def styled(features: Float[Tensor, "n b c h w"], smallest: float = 1e-3) -> Float[Tensor, "b c h w"]:
    """Features of the other sources, joined by the l1 rule, with each channel's mean and deviation of the first one.

    Adaptive instance normalisation (Huang, Belongie, ICCV 2017): what is where from one modality, how it looks from
    the other. Channels that deviate by less than `smallest` (features of 0..255) are only shifted.
    """
    style, content = (
        features[0],
        features[1] if len(features) == 2 else (l1_weights(features[1:]) * features[1:]).sum(0),
    )
    (wanted, spread), (mean, own) = (
        (x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, correction=0)) for x in (style, content)
    )
    return wanted + (content - mean) * torch.where(own > smallest, spread / own.clamp_min(smallest), 1)


class DenseFuse(nn.Module):
    """Auto-encoder whose features are joined by a rule; 74,193 parameters, receptive field 17 pixels.

    Given one source it reconstructs it, which is how it is trained; given several it fuses them, in any order alike.
    `rule`: `l1` (weights by activity, the default), `mean`, `max`, or `sum`, which leaves the range the decoder knows;
    and, not the paper's, `style`: the first source's statistics on what the others show, for which order matters.
    """

    channels, luma = 1, "full"

    def __init__(self, rule: Rule = "l1") -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule '{rule}' is not known; choose {', '.join(RULES[:-1])} or {RULES[-1]}")
        self.rule = rule
        # Four convolutions, the block of the l1 rule, four convolutions; statistics are those of the whole picture.
        self.margin = None if rule == "style" else 9
        self.first = conv(1, 16)
        self.dense = nn.ModuleList([conv(16, 16), conv(32, 16), conv(48, 16)])
        self.decoder = nn.ModuleList([conv(64, 64), conv(64, 32), conv(32, 16)])
        self.last = conv(16, 1)

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; inside, the paper's 0..255. Not clipped: the output layer is linear."""
        count = len(sources)
        features = self.encode(torch.cat(sources) * 255).unflatten(0, (count, -1))
        return self.decode(self.join(features) if count > 1 else features[0]) / 255

    def encode(self, picture: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 64 h w"]:
        """Dense block on 0..255: every layer sees all earlier ones."""
        x = F.relu(self.first(picture))
        for layer in self.dense:
            x = torch.cat([x, F.relu(layer(x))], 1)
        return x

    def join(self, features: Float[Tensor, "n b 64 h w"]) -> Float[Tensor, "b 64 h w"]:
        """Features of all sources as one, by the rule."""
        if self.rule == "style":
            return styled(features)
        if self.rule == "l1":
            return (l1_weights(features) * features).sum(0)
        if self.rule == "max":
            return features.amax(0)
        return features.sum(0) if self.rule == "sum" else features.mean(0)

    def decode(self, features: Float[Tensor, "b 64 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Picture on 0..255 of features."""
        for layer in self.decoder:
            features = F.relu(layer(features))
        return self.last(features)
