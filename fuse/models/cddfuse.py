"""CDDFuse: correlation-driven dual-branch feature decomposition for multi-modality image fusion (Zhao, Bai, Zhang,
Zhang, Xu, Lin, Timofte, Van Gool. CVPR 2023).

Paper: https://arxiv.org/abs/2211.14461
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS = 64, 8
Features = Float[Tensor, "b c h w"]


def point(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class Norm(nn.Module):
    """Layer norm over the channels of every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Features) -> Features:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attention between channels (Restormer): softmax(t q k') v with q, k of unit length over all pixels.

    `mix` is the 3x3 convolution of q, k and v after their 1x1: depth-wise, or full, which is most of the base branch.
    """

    def __init__(self, full: bool) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.qkv = point(WIDTH, 3 * WIDTH)
        self.mix = nn.Conv2d(3 * WIDTH, 3 * WIDTH, 3, padding=1, groups=1 if full else 3 * WIDTH, bias=False)
        self.output = point(WIDTH, WIDTH)

    def forward(self, x: Features) -> Features:
        height, width = x.shape[-2:]
        q, k, v = (y.unflatten(1, (HEADS, -1)).flatten(3) for y in self.mix(self.qkv(x)).chunk(3, 1))
        shares = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        mixed = shares.softmax(-1) @ v
        return self.output(mixed.flatten(1, 2).unflatten(-1, (height, width)))


class Gate(nn.Module):
    """Gated feed-forward: of two halves of the hidden channels one, through GELU, gates the other.

    `groups`: of the 3x3 convolution in the middle.
    """

    def __init__(self, hidden: int, groups: int) -> None:
        super().__init__()
        self.input = point(WIDTH, 2 * hidden)
        self.mix = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=groups, bias=False)
        self.output = point(hidden, WIDTH)

    def forward(self, x: Features) -> Features:
        gate, value = self.mix(self.input(x)).chunk(2, 1)
        return self.output(F.gelu(gate) * value)


class Block(nn.Module):
    """x + attention, then x + gated feed-forward, each after a norm: Restormer's block, or the base branch (`full`)."""

    def __init__(self, full: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.attention = Attention(full)
        self.gate = Gate(WIDTH, WIDTH) if full else Gate(2 * WIDTH, 4 * WIDTH)

    def forward(self, x: Features) -> Features:
        x = x + self.attention(self.norm1(x))
        return x + self.gate(self.norm2(x))


class Bottleneck(nn.Sequential):
    """1x1 to twice the channels, depth-wise 3x3 with reflected border, 1x1 back; ReLU6 between; no skip."""

    def __init__(self, width: int) -> None:
        super().__init__(
            point(width, 2 * width),
            nn.ReLU6(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, padding_mode="reflect", groups=2 * width, bias=False),
            nn.ReLU6(),
            point(2 * width, width),
        )


class Detail(nn.Module):
    """Invertible node: mixed and split in halves, z2 += phi(z1), then z1 = z1 exp(rho(z2)) + eta(z2)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(WIDTH, WIDTH, 1)
        self.phi, self.rho, self.eta = (Bottleneck(WIDTH // 2) for _ in range(3))

    def forward(self, x: Features) -> Features:
        z1, z2 = self.mix(x).chunk(2, 1)
        z2 = z2 + self.phi(z1)
        z1 = z1 * self.rho(z2).exp() + self.eta(z2)
        return torch.cat([z1, z2], 1)


class Encoder(nn.Module):
    """Base and detail features of any picture, from shared features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1, bias=False)
        self.shared = nn.Sequential(*(Block() for _ in range(4)))
        self.base = Block(full=True)
        self.detail = nn.Sequential(*(Detail() for _ in range(3)))

    def forward(self, picture: Float[Tensor, "b 1 h w"]) -> tuple[Features, Features]:
        shared = self.shared(self.first(picture))
        return self.base(shared), self.detail(shared)


class Decoder(nn.Module):
    """Picture of base and detail features, added to a residual before the sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = point(2 * WIDTH, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))
        self.output = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.Conv2d(WIDTH // 2, 1, 3, padding=1, bias=False),
        )

    def forward(self, base: Features, detail: Features, residual: Tensor | None) -> Float[Tensor, "b 1 h w"]:
        x = self.output(self.blocks(self.reduce(torch.cat([base, detail], 1))))
        return torch.sigmoid(x if residual is None else x + residual)


class CDDFuse(nn.Module):
    """Features split into base and detail, fused apart; 1,188,272 parameters.

    Given one source it reconstructs it, which is the first phase of training; given two it fuses them. `residual`: the
    picture added before the sigmoid when fusing; `second` is the visible one (infrared and visible), `none` the
    authors' medical model, `sum` both. Attention weighs channels by all pixels of the picture: no tiles. No stretch of
    the result; the authors stretch every picture by its own extremes before they measure it.
    """

    channels, luma, margin = 1, "full", None

    def __init__(self, residual: Literal["second", "none", "sum"] = "second") -> None:
        super().__init__()
        if residual not in ("second", "none", "sum"):
            raise ValueError(f"residual '{residual}' is not known; choose second, none or sum")
        self.residual = residual
        self.encoder, self.decoder = Encoder(), Decoder()
        self.base, self.detail = Block(full=True), Detail()

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Any:
        """Fused luma in [0, 1] of one or two luma pictures in [0, 1]: infrared and visible, or CT and MRI.

        In training also their features `base` and `detail`, numbered (`base1`, `detail2`) where there are two.
        """
        count = len(sources)
        base, detail = self.encoder(torch.cat(sources))
        told = {"base": base, "detail": detail}
        if count == 1:
            picture = self.decoder(base, detail, None if self.residual == "none" else sources[0])
        else:
            residual = {"second": sources[-1], "none": None, "sum": torch.stack(sources).sum(0)}[self.residual]
            joined = [x.unflatten(0, (count, -1)).sum(0) for x in (base, detail)]
            picture = self.decoder(self.base(joined[0]), self.detail(joined[1]), residual)
        if count > 1 and self.training:
            told = {f"{name}{i}": x for name, both in told.items() for i, x in enumerate(both.chunk(count), 1)}
        return (picture, told) if self.training else picture
