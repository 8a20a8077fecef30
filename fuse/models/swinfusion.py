"""SwinFusion: cross-domain long-range learning for general image fusion via Swin transformer (Ma, Tang, Fan, Huang,
Mei, Ma. IEEE/CAA JAS 9(7), 2022, 1200-1217).

Paper: https://doi.org/10.1109/JAS.2022.105686
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, WINDOW = 60, 6, 8
CHUNK = 1024  # windows that attend at a time; bounds the memory of large pictures
DROP = 0.1  # stochastic depth of the last block; it rises to there from 0
Tokens = Float[Tensor, "b h w c"]
Windows = Float[Tensor, "b n t c"]


def cut(x: Tokens, shift: int) -> Windows:
    """Windows of 8x8 pixels, row by row, after a cyclic shift up and to the left; their 64 pixels row by row."""
    x = torch.roll(x, (-shift, -shift), (1, 2)) if shift else x
    rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
    x = x.unflatten(2, (columns, WINDOW)).unflatten(1, (rows, WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def uncut(windows: Windows, height: int, width: int, shift: int) -> Tokens:
    """What `cut` has cut, put together again."""
    rows, columns = height // WINDOW, width // WINDOW
    x = windows.unflatten(2, (WINDOW, WINDOW)).unflatten(1, (rows, columns))
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return torch.roll(x, (shift, shift), (1, 2)) if shift else x


def places() -> Int[Tensor, "t t"]:
    """Number of the relative position (15 x 15 of them) of every two pixels of a window."""
    pixel = torch.arange(WINDOW**2)
    y, x = pixel // WINDOW, pixel % WINDOW
    down, right = y[:, None] - y[None] + WINDOW - 1, x[:, None] - x[None] + WINDOW - 1
    return down * (2 * WINDOW - 1) + right


def walls(height: int, width: int, shift: int, device: torch.device) -> Float[Tensor, "n t t"] | None:
    """-100 between pixels that the cyclic shift has made neighbours across the border, else 0."""
    if not shift:
        return None

    def region(size: int) -> Tensor:  # a shifted picture ends in two bands that do not belong together
        place = torch.arange(size, device=device)
        return (place >= size - WINDOW).long() + (place >= size - shift).long()

    number = (3 * region(height)[:, None] + region(width)[None]).float()
    cells = cut(number[None, :, :, None], 0)[0, :, :, 0]
    return (cells[:, :, None] != cells[:, None, :]).float() * -100


def spelled_out(q: Tensor, k: Tensor, v: Tensor, add: Tensor) -> Tensor:
    """`scaled_dot_product_attention` for exported graphs, which know it for four dimensions only."""
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + add).softmax(-1) @ v


class Attention(nn.Module):
    """Multi-head attention inside windows, with a learned bias per relative position."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key_value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, HEADS))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("places", places(), persistent=False)

    def forward(self, asking: Tokens, asked: Tokens, shift: int) -> Tokens:
        height, width = asking.shape[1:3]
        wall = walls(height, width, shift, asking.device)
        bias = self.bias[self.get_buffer("places")].permute(2, 0, 1)
        windows, others = cut(asking, shift), cut(asked, shift)
        whole = torch.compiler.is_exporting()  # a graph cannot hold a number of chunks that follows the size
        chunks = [[windows], [others]] if whole else [x.split(CHUNK, 1) for x in (windows, others)]
        parts = []
        for i, (a, b) in enumerate(zip(*chunks, strict=True)):
            q, kv = self.query(a), self.key_value(b)
            q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(2, 3) for x in (q, *kv.chunk(2, -1)))
            add = bias if wall is None else bias + wall[i * CHUNK : i * CHUNK + a.shape[1], None]
            attend = spelled_out if whole else F.scaled_dot_product_attention
            mixed = attend(q, k, v, add.to(q.dtype))
            parts.append(self.output(mixed.transpose(2, 3).flatten(3)))
        return uncut(torch.cat(parts, 1), height, width, shift)


class Block(nn.Module):
    """Swin block: x + attention, then x + MLP, each after a layer norm; `other` is who is asked, else x itself."""

    def __init__(self, shift: int, drop: float) -> None:
        super().__init__()
        self.shift, self.drop = shift, drop
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tokens, other: Tokens | None = None) -> Tokens:
        asking = self.norm1(x)
        asked = asking if other is None else other
        x = x + self.kept(self.attention(asking, asked, self.shift))
        return x + self.kept(self.mlp(self.norm2(x)))

    def kept(self, x: Tokens) -> Tokens:
        """Stochastic depth: in training the branch of a picture is left out with probability `drop`."""
        if not self.training or self.drop == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop
        return x * keep / (1 - self.drop)


class Cross(nn.Module):
    """Two blocks side by side: the queries of each source ask the keys and values of the other."""

    def __init__(self, shift: int, drop: float) -> None:
        super().__init__()
        self.a, self.b = Block(shift, drop), Block(shift, drop)

    def forward(self, a: Tokens, b: Tokens) -> tuple[Tokens, Tokens]:
        return self.a(a, self.b.norm1(b)), self.b(b, self.a.norm1(a))


def stack(depth: int) -> nn.ModuleList:
    """Blocks of which every second has its windows shifted by half, stochastic depth rising over them."""
    return nn.ModuleList(Block(i % 2 * WINDOW // 2, DROP * i / max(1, depth - 1)) for i in range(depth))


class Unit(nn.Module):
    """Fusion unit: two blocks within each source, then two across."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = stack(2), stack(2)
        self.cross = nn.ModuleList([Cross(0, 0.0), Cross(WINDOW // 2, DROP)])

    def forward(self, a: Tokens, b: Tokens) -> tuple[Tokens, Tokens]:
        for in_a, in_b in zip(self.a, self.b, strict=True):
            a, b = in_a(a), in_b(b)
        for cross in self.cross:
            a, b = cross(a, b)
        return a, b


class SwinFusion(nn.Module):
    """Convolutions, window attention within and across the sources, convolutions; 973,681 parameters.

    As its code trains it (4 blocks an extractor, 2 fusion units of 2 + 2, 4 blocks to reconstruct; the depths in its
    options are ignored). `variant`: in the `released` code both sources go through the first convolutions of A, and
    those of B (8,430 parameters, 30 channels wide) are never called; `ours` gives B its own, as the paper draws it
    (981,811 parameters). Attention stays inside windows, so large pictures are tiled; sides are brought to multiples
    of 8 by reflection.
    """

    channels, luma, margin, multiple = 1, "full", 72, 8

    def __init__(self, variant: Literal["released", "ours"] = "released") -> None:
        super().__init__()
        if variant not in ("released", "ours"):
            raise ValueError(f"variant '{variant}' is not known; choose released or ours")
        self.variant = variant
        half = WIDTH // 2
        self.first_a = nn.ModuleList([conv(1, half), conv(half, WIDTH)])
        self.first_b = nn.ModuleList([conv(1, half), conv(half, WIDTH if variant == "ours" else half)])
        self.embed = nn.LayerNorm(WIDTH)
        self.extract_a, self.extract_b = stack(4), stack(4)
        self.units = nn.ModuleList([Unit(), Unit()])
        self.rebuild = stack(4)
        self.norms = nn.ModuleDict({name: nn.LayerNorm(WIDTH) for name in ("a", "b", "fused_a", "fused_b", "rebuilt")})
        self.mix = conv(2 * WIDTH, WIDTH)
        self.last = nn.ModuleList([conv(WIDTH, half), conv(half, half // 2), conv(half // 2, 1)])

    def forward(self, a: Float[Tensor, "b 1 h w"], b: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of two luma pictures in [0, 1]. Not clipped: the last layer is linear."""
        height, width = a.shape[-2:]
        first_b = self.first_a if self.variant == "released" else self.first_b
        x = self.tokens(shallow(self.first_a, to_windows(a)))
        y = self.tokens(shallow(first_b, to_windows(b)))
        x, y = self.norms["a"](through(self.extract_a, x)), self.norms["b"](through(self.extract_b, y))
        x, y = self.embed(x), self.embed(y)
        for unit in self.units:
            x, y = unit(x, y)
        both = torch.cat([self.norms["fused_a"](x), self.norms["fused_b"](y)], -1).permute(0, 3, 1, 2)
        z = self.norms["rebuilt"](through(self.rebuild, self.tokens(leaky(self.mix(both))))).permute(0, 3, 1, 2)
        for i, layer in enumerate(self.last):
            z = leaky(layer(z)) if i < 2 else layer(z)
        return z[..., :height, :width]

    def tokens(self, x: Float[Tensor, "b c h w"]) -> Tokens:
        """Channels last, normed as on the way into every group of blocks."""
        return self.embed(x.permute(0, 2, 3, 1))


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def shallow(layers: nn.ModuleList, picture: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 60 h w"]:
    for layer in layers:
        picture = leaky(layer(picture))
    return picture


def through(blocks: nn.ModuleList, x: Tokens) -> Tokens:
    for block in blocks:
        x = block(x)
    return x


def to_windows(picture: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
    """Reflected to the right and down to a multiple of the window; what is too small to reflect is repeated."""
    down, right = -picture.shape[-2] % WINDOW, -picture.shape[-1] % WINDOW
    small = down >= picture.shape[-2] or right >= picture.shape[-1]
    return F.pad(picture, [0, right, 0, down], mode="replicate" if small else "reflect") if down or right else picture
