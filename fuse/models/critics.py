"""One critic that is most papers' discriminator: strided convolutions and a head, under its configuration."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from fuse.errors import InputError

Padding = Literal["zeros", "reflect", "replicate"]
Norm = Literal["none", "batch", "instance"]
Head = Literal["flatten", "patch", "gap", "gmp", "spp"]
PYRAMID = (1, 2, 4)  # cells along each side, 21 in all (He et al. 2015, spatial pyramid pooling)


class Critic(nn.Module):
    """Convolutions, each with norm and leaky ReLU, and a head of `outputs` unbounded scores, no sigmoid.

    `patch`: side of the pictures it will see; only the head `flatten` is bound to it. `trim`: pixels that a fuser
    without padding takes from every side of its patches before the critic sees them. `shrink`: how many times smaller
    per side its pictures are than the patch, for a source of lower resolution. `inputs`: channels of a picture.
    `widths`: channels after each convolution. `stride`: one for all convolutions or one each. `padding_mode`: as in
    `nn.Conv2d`. `norm`: after every convolution, the first one only with `norm_first`. `spectral`: spectral norm
    (Miyato et al. 2018, one power iteration per use) of every weight. `slope`: of the leaky ReLU, 0 for ReLU.

    `head`: `flatten`, a linear layer on all features; `patch`, one score per place by another convolution of the same
    kernel at stride 1 (PatchGAN, Isola et al. 2017); `gap`, `gmp`, a linear layer on the mean or largest of each
    channel; `spp`, on the largest in 1, 2x2 and 4x4 cells. `init_std`: weights from a normal distribution cut at two
    deviations, biases 0; PyTorch's own start where it is None.
    """

    def __init__(
        self,
        patch: int | None = None,
        trim: int = 0,
        shrink: int = 1,
        inputs: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256),
        kernel: int = 3,
        stride: int | Sequence[int] = 2,
        padding: int = 0,
        padding_mode: Padding = "zeros",
        norm: Norm = "none",
        norm_first: bool = False,
        spectral: bool = False,
        slope: float = 0.2,
        head: Head = "flatten",
        outputs: int = 1,
        init_std: float | None = None,
    ) -> None:
        """
        Raises:
            ValueError: an unknown norm or head, strides that do not fit the widths, patches too small for the layers.
        """
        super().__init__()
        strides = [stride] * len(widths) if isinstance(stride, int) else list(stride)
        if norm not in ("none", "batch", "instance") or head not in ("flatten", "patch", "gap", "gmp", "spp"):
            raise ValueError(
                f"norm={norm}, head={head}; norm is none, batch or instance, head is flatten, patch, gap, gmp or spp"
            )
        if len(strides) != len(widths):
            raise ValueError(f"{len(strides)} strides for {len(widths)} widths; give one stride, or one for each width")
        self.head, self.slope, self.outputs, self.seen = head, slope, outputs, None
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, s, padding, padding_mode=padding_mode)
            for (a, b), s in zip(pairwise([inputs, *widths]), strides, strict=True)
        )
        self.norms = nn.ModuleList(
            normalisation(norm if i or norm_first else "none", width) for i, width in enumerate(widths)
        )
        side = None if patch is None else (patch - 2 * trim) // shrink
        if side is not None:
            self.seen = side
            for s in [*strides, 1] if head == "patch" else strides:
                side = (side + 2 * padding - kernel) // s + 1
            smallest = 2 if norm == "instance" and head != "patch" else 1  # a single place has no deviation
            if side < smallest:
                raise ValueError(
                    f"patches of {patch} pixels are too small for the {len(widths)} convolutions of this critic; "
                    "set a larger model.patches.size or fewer widths"
                )
        self.score: nn.Module
        if head == "patch":
            self.score = nn.Conv2d(widths[-1], outputs, kernel, 1, padding, padding_mode=padding_mode)
        elif head == "flatten" and side is None:
            raise ValueError("head=flatten needs the size of its pictures; set patch, or take head gap, gmp or spp")
        else:
            cells = {"flatten": (side or 0) ** 2, "spp": sum(n * n for n in PYRAMID)}.get(head, 1)
            self.score = nn.Linear(widths[-1] * cells, outputs)
        for layer in [*self.convs, self.score]:
            if init_std is not None:
                nn.init.trunc_normal_(layer.get_parameter("weight"), std=init_std, a=-2 * init_std, b=2 * init_std)
                nn.init.zeros_(layer.get_parameter("bias"))
            if spectral:
                spectral_norm(layer)

    def forward(self, picture: Float[Tensor, "b c h w"]) -> Float[Tensor, "b ..."]:
        """Scores `(b,)`, `(b, k)` where it has k > 1 outputs, or `(b, k, y, x)` from the head `patch`.

        Raises:
            InputError: pictures of another size than a `flatten` head was built for.
        """
        if self.head == "flatten" and picture.shape[-2:] != (self.seen, self.seen):
            raise InputError(
                f"pictures of {picture.shape[-1]}x{picture.shape[-2]} pixels reach a critic that was built for "
                f"{self.seen}x{self.seen}; leave its patch to follow model.patches.size, or take head gap, gmp or spp"
            )
        x = picture
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), self.slope)
        if self.head == "patch":
            return self.score(x)
        scores = self.score(self.pooled(x))
        return scores.squeeze(1) if self.outputs == 1 else scores

    def pooled(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        """Features as the linear layer of the head takes them."""
        if self.head == "gap":
            return features.mean((2, 3))
        if self.head == "gmp":
            return features.amax((2, 3))
        if self.head == "spp":
            return torch.cat([F.adaptive_max_pool2d(features, cells).flatten(1) for cells in PYRAMID], 1)
        return features.flatten(1)


def normalisation(norm: Norm, width: int) -> nn.Module:
    """The layer of that name, with scale and shift."""
    if norm == "batch":
        return nn.BatchNorm2d(width)
    return nn.InstanceNorm2d(width, affine=True) if norm == "instance" else nn.Identity()
