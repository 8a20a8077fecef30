"""What made scenes consist of: textures, shapes, and leaves painted one over the other.

Every random number is drawn on the CPU from the generator given, so a scene is the same whatever device paints it.
"""

import hashlib
import math

import torch
from jaxtyping import Float
from torch import Tensor

GAMMA = 2.2  # a lens adds light, not code values: everything here is linear light


def field(size: int, generator: torch.Generator, slope: float = 1.25, channels: int = 1) -> Float[Tensor, "c s s"]:
    """Random field of mean 0 and deviation 1 whose amplitude falls as 1/f^slope."""
    frequency = torch.fft.fftfreq(size)
    radius = torch.hypot(frequency[:, None], frequency[None, :]).clamp_min(1 / size)
    noise = torch.randn(channels, size, size, generator=generator)
    if channels == 3:
        noise = 0.9 * noise[:1] + 0.2 * noise  # mostly grey
    made = torch.fft.ifft2(torch.fft.fft2(noise) / radius**slope).real
    return (made - made.mean()) / made.std()


def texture(size: int, generator: torch.Generator) -> Float[Tensor, "3 s s"]:
    """Random colour field in [0, 1], mostly grey, with amplitude 1/f^1.25: near the spectrum of natural scenes."""
    return torch.sigmoid(1.2 * field(size, generator, channels=3))


def shape(size: int, radius: float, generator: torch.Generator) -> Float[Tensor, "s s"]:
    """Mask in [0, 1] of one random leaf: a turned superellipse, anywhere in the frame, its edge one pixel soft."""
    x0, y0, angle, flat, power = torch.rand(5, generator=generator).tolist()
    turn, axis = angle * math.pi, 0.25 + 0.75 * flat
    y, x = torch.meshgrid(torch.arange(size) - y0 * size, torch.arange(size) - x0 * size, indexing="ij")
    u = (x * math.cos(turn) + y * math.sin(turn)).abs() / radius
    v = (y * math.cos(turn) - x * math.sin(turn)).abs() / (radius * axis)
    exponent = 1.0 + 6 * power
    distance = (u**exponent + v**exponent) ** (1 / exponent)
    return ((1 - distance) * radius * axis + 0.5).clamp(0, 1)


def leaves(
    size: int, count: int, smallest: float, largest: float, generator: torch.Generator
) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "s s"]]:
    """Light (already multiplied by the coverage) and coverage of `count` textured leaves painted one over the other.

    The dead leaves model of natural scenes: radii between `smallest` and `largest`, as shares of `size`, fall as 1/r^3.
    """
    light, coverage = torch.zeros(3, size, size), torch.zeros(size, size)
    for _ in range(count):
        u, shade, contrast = torch.rand(3, generator=generator).tolist()
        radius = size * (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
        mask = shape(size, radius, generator)
        paint = 0.05 + 0.9 * shade + (0.15 + 0.6 * contrast) * (texture(size, generator) - 0.5)
        light = mask * paint.clamp(0, 1) ** GAMMA + (1 - mask) * light
        coverage = mask + (1 - mask) * coverage
    return light, coverage


def seeded(seed: int, name: str) -> torch.Generator:
    """Random numbers that follow from a seed and a name alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
