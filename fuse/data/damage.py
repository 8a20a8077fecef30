"""What goes wrong between two sensors: functions of pictures `(c, h, w)` in [0, 1], for training and for tests.

Everything random comes from the generator given. Each damages the picture it is given and nothing else: the caller
says which source is hit.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data import io
from fuse.data.scenes import seeded

Picture = Float[Tensor, "c h w"]
Damage = Mapping[str, Sequence[Callable[..., Tensor]]]  # per role, one after the other


def applied(
    pictures: Sequence[Tensor], roles: Sequence[str], damage: Damage, seed: int, name: str
) -> tuple[Tensor, ...]:
    """The pictures of a scene, grey or colour, damaged by role; what is random follows from `seed` and `name`."""
    harmed = []
    for role, picture in zip(roles, pictures, strict=True):
        for number, harm in enumerate(damage.get(role, ())):
            picture = harm(picture, seeded(seed, f"{name}/{role}/{number}"))
        harmed.append(picture)
    return tuple(harmed)


def misaligned(picture: Picture, generator: torch.Generator, shift: float = 2.0, turn: float = 0.5) -> Picture:
    """Shifted by up to `shift` pixels, turned by up to `turn` degrees and scaled by as much, each uniform; bicubic."""
    u = 2 * torch.rand(4, generator=generator) - 1
    height, width = picture.shape[-2:]
    angle = math.radians(turn) * float(u[0])
    scale = 1 + math.radians(turn) * float(u[1])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    move = 2 * shift * u[2:] / torch.tensor([width, height])
    matrix = torch.tensor([[cos, -sin * height / width, float(move[0])], [sin * width / height, cos, float(move[1])]])
    return sampled(picture, F.affine_grid(matrix[None], [1, *picture.shape], align_corners=False))


def elastic(picture: Picture, generator: torch.Generator, amplitude: float = 2.0, coarse: int = 8) -> Picture:
    """Displaced by a smooth random field of up to about `amplitude` pixels, drawn on a `coarse` x `coarse` grid."""
    height, width = picture.shape[-2:]
    drawn = 2 * torch.rand(1, 2, coarse, coarse, generator=generator) - 1
    field = F.interpolate(drawn, (height, width), mode="bicubic", align_corners=True)
    move = 2 * amplitude * field / torch.tensor([width, height]).view(1, 2, 1, 1)
    identity = F.affine_grid(torch.eye(2, 3)[None], [1, *picture.shape], align_corners=False)
    return sampled(picture, identity + move.permute(0, 2, 3, 1))


def noisy(picture: Picture, generator: torch.Generator, read: float = 0.01, shot: float = 0.01) -> Picture:
    """Sensor noise of variance read^2 + shot^2 I: Gaussian, every channel by itself."""
    noise = torch.randn(picture.shape, generator=generator)
    return (picture + noise * (read**2 + shot**2 * picture).sqrt()).clamp(0, 1)


def exposed(picture: Picture, generator: torch.Generator, stops: float = 0.3) -> Picture:
    """Brighter or darker by up to `stops` stops, in linear light; what exceeds white is lost."""
    factor = 2 ** (stops * (2 * torch.rand((), generator=generator).item() - 1))
    return (picture**2.2 * factor).clamp(0, 1) ** (1 / 2.2)


def coarse(picture: Picture, generator: torch.Generator, factor: int = 2) -> Picture:
    """Seen at a resolution lower by `factor` and enlarged again, both bicubic; the size stays."""
    height, width = picture.shape[-2:]
    small = (max(1, height // factor), max(1, width // factor))
    reduced = F.interpolate(picture[None], small, mode="bicubic", antialias=True)
    return F.interpolate(reduced, (height, width), mode="bicubic")[0].clamp(0, 1)


def compressed(picture: Picture, generator: torch.Generator, quality: int = 90) -> Picture:
    """Through JPEG of that quality (1 to 100)."""
    return io.decode(io.encode((picture * 255).round().to(torch.uint8), ".jpg", quality)).float() / 255


def sampled(picture: Picture, grid: Float[Tensor, "1 h w 2"]) -> Picture:
    """Bicubic, borders reflected."""
    made = F.grid_sample(picture[None], grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return made[0].clamp(0, 1)
