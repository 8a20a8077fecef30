"""MFIF-GAN: a new generative adversarial network for multi-focus image fusion.

Wang et al. Signal Processing: Image Communication 96, 2021, 116295. Paper: https://arxiv.org/abs/2009.09718
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.objectives import gradient_penalty
from fuse.models.guided import box_mean
from fuse.models.masks import small_regions_removed

SMALLEST = 0.001  # share of the picture; regions below it are removed


def layer(conv: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class Residual(nn.Module):
    """Two convolutions, each channel times a share in 0..1 that follows from all channel means, and what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            layer(nn.Conv2d(width, width, 3, padding=1, bias=False), width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.squeeze = nn.Linear(width, width // 16, bias=False)
        self.excite = nn.Linear(width // 16, width, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """As many features as came in."""
        y = self.convs(x)
        share = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3))))))
        return F.relu(x + y * share[..., None, None])


class Generator(nn.Module):
    """Focus map of two RGB pictures; one encoder sees each of their six planes; 13,700,928 parameters.

    While training the weights are soft; in use the map is thresholded at 0.5 and rid of small regions. Sides must be
    multiples of 4. Batch norm takes its statistics over the six planes together.
    """

    channels, luma, selects, multiple = 3, "full", True, 4

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            layer(nn.Conv2d(1, 64, 7, padding=3, bias=False), 64),
            layer(nn.Conv2d(64, 128, 3, 2, padding=1, bias=False), 128),
            layer(nn.Conv2d(128, 256, 3, 2, padding=1, bias=False), 256),
            *(Residual(256) for _ in range(9)),
        )
        self.decoder = nn.Sequential(
            layer(nn.ConvTranspose2d(512, 256, 4, 2, padding=1, bias=False), 256),
            layer(nn.ConvTranspose2d(256, 128, 4, 2, padding=1, bias=False), 128),
            nn.Conv2d(128, 1, 7, padding=3, bias=False),
        )

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
        """Weights that sum to 1, of RGB in [0, 1]; inside, the paper's [-1, 1]."""
        planes = (2 * torch.cat([a, b]) - 1).flatten(0, 1).unsqueeze(1)
        features = self.encoder(planes).unflatten(0, (2, len(a), 3)).mean(2)
        focus = torch.sigmoid(self.decoder(torch.cat([features[0], features[1]], 1)))
        if not self.training:
            focus = small_regions_removed(focus > 0.5, SMALLEST).to(a.dtype)
        return torch.cat([focus, 1 - focus], 1)


class Discriminator(nn.Module):
    """Judges a focus map beside its two pictures, place by place (6x6 places of 256x256); 3,815,105 parameters.

    The released critic ends in a sigmoid, which a Wasserstein critic must not, and has batch norm, under which a
    gradient penalty of one picture is not defined: here there is no sigmoid, and instance norm with as many parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (7, 64, 128, 256, 256, 256, 256)
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, padding=2, bias=i < 3))
            layers += [nn.InstanceNorm2d(outputs, affine=True)] if i else []
            layers.append(nn.LeakyReLU(0.01) if i < 3 else nn.ReLU())
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=2))

    def forward(self, shown: Float[Tensor, "b 7 h w"]) -> Float[Tensor, "b 1 i j"]:
        """One unbounded score for every place; higher for true maps."""
        return self.layers(shown)


def true_map(sample: Sample, radius: int = 2) -> Float[Tensor, "b 1 h w"]:
    """1 where the first source is closer to the reference than the second, on the mean over (2 radius + 1)^2 pixels.

    The authors have it from the masks their pictures were blurred with. Equally close: 0.

    Raises:
        InputError: more than two sources, or no reference.
    """
    if len(sample.sources) != 2:
        raise InputError(f"MFIF-GAN judges maps of two sources, and these data have {len(sample.sources)}")
    ideal = sample.role("reference")
    near, far = (box_mean((x - ideal).abs().mean(1, keepdim=True), radius) for x in sample.sources)
    return (near < far).to(ideal.dtype)


def real(sample: Sample) -> Float[Tensor, "b 7 h w"]:
    """Both pictures and the true map, in 0..1: the authors' label on [-1, 1] is out of a sigmoid's reach."""
    return torch.cat([*sample.sources, true_map(sample)], 1)


def fake(fused: Float[Tensor, "b 3 h w"], sample: Sample) -> Float[Tensor, "b 7 h w"]:
    """Both pictures and the map of the generator.

    Raises:
        InputError: the fuser does not select.
    """
    if sample.weights is None:
        raise InputError("the critic of MFIF-GAN judges maps, and this fuser makes pixels; name another critic")
    return torch.cat([*sample.sources, sample.weights[:, :1]], 1)


def map_penalty(
    critic: nn.Module,
    real: Float[Tensor, "b 7 h w"],
    fake: Float[Tensor, "b 7 h w"],
    generator: torch.Generator,
    weight: float = 10.0,
) -> Tensor:
    """WGAN-GP's penalty on maps between the true and the generated one; the pictures are held."""
    pictures = real[:, :-1]

    def judge(between: Tensor) -> Tensor:
        return critic(torch.cat([pictures, between], 1))

    return gradient_penalty(judge, real[:, -1:], fake[:, -1:], generator, weight)
