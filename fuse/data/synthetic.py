"""Made scenes with two depths, photographed twice: the data set that needs no download and whose truth is known."""

import hashlib
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError

SMALLEST = 16  # pixels per side; the widest blur reaches over five
GAMMA = 2.2  # a lens adds light, not code values: blur happens on linear intensities


def texture(size: int, generator: torch.Generator) -> Float[Tensor, "3 s s"]:
    """Random field in [0, 1], mostly grey, with amplitude 1/f^1.25: near the spectrum of natural scenes."""
    frequency = torch.fft.fftfreq(size)
    radius = torch.hypot(frequency[:, None], frequency[None, :]).clamp_min(1 / size)
    noise = torch.randn(3, size, size, generator=generator)
    noise = 0.9 * noise[:1] + 0.2 * noise
    field = torch.fft.ifft2(torch.fft.fft2(noise) / radius**1.25).real
    return torch.sigmoid(1.2 * (field - field.mean()) / field.std())


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


def defocus(light: Float[Tensor, "c h w"], radius: float) -> Float[Tensor, "c h w"]:
    """Blur by a uniform disc, the picture of a point out of focus; radius in pixels; borders are reflected."""
    reach = math.ceil(radius)
    line = torch.arange(-reach, reach + 1.0)
    disc = (radius + 0.5 - torch.hypot(line[:, None], line[None, :])).clamp(0, 1)
    kernel = (disc / disc.sum()).expand(len(light), 1, -1, -1)
    return F.conv2d(F.pad(light[None], [reach] * 4, mode="reflect"), kernel, groups=len(light))[0]


def focus_pair(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Near-focused, far-focused and all-in-focus picture `(3, s, s)` in [0, 1] of one scene.

    Foreground f with mask m before background g, in linear light: near = m f + (1 - m) blur(g), the foreground's
    edge crisp; far = blur(m f) + (1 - blur(m)) g, the blurred foreground spilling over the sharp background, where
    no source is sharp; truth = m f + (1 - m) g.
    """
    ground = (0.15 + 0.7 * texture(size, generator)) ** GAMMA
    behind, coverage = leaves(size, 24, 0.05, 0.3, generator)
    sharp = behind + (1 - coverage) * ground
    front, mask = leaves(size, 3, 0.12, 0.45, generator)
    radius = 1.5 + 3.5 * torch.rand((), generator=generator).item()
    near = front + (1 - mask) * defocus(sharp, radius)
    far = defocus(front, radius) + (1 - defocus(mask[None], radius)) * sharp
    truth = front + (1 - mask) * sharp
    near, far, truth = (picture.clamp(0, 1) ** (1 / GAMMA) for picture in (near, far, truth))
    return near, far, truth


class Synthetic:
    """Made multi-focus pairs with reference. Scene k of a split is the same for ever, given `seed` and `size`."""

    task, roles, reference, name = "focus", ("near", "far"), "reference", "synthetic"

    def __init__(self, size: int = 160, train: int = 24, val: int = 4, test: int = 6, seed: int = 0) -> None:
        """
        Raises:
            InputError: scenes too small to have a depth of field, or a split without scenes.
        """
        if size < SMALLEST or min(train, val, test) < 1:
            raise InputError(
                f"data.size={size}, data.train={train}, data.val={val}, data.test={test}: scenes have at least "
                f"{SMALLEST} pixels per side, and every split at least one"
            )
        self.size, self.seed = size, seed
        self.counts = {"train": train, "val": val, "test": test}

    def stems(self, split: str) -> list[str]:
        """Names of the scenes of a split.

        Raises:
            InputError: unknown split.
        """
        if split == "all":
            return [stem for part in self.counts for stem in self.stems(part)]
        if split not in self.counts:
            raise InputError(f"made data has no split '{split}'; it has all, {', '.join(self.counts)}")
        return [f"{split}-{number:03d}" for number in range(self.counts[split])]

    def samples(self, split: str) -> Iterator[Sample]:
        """Scenes as 8 bit RGB, each picture `(1, 3, size, size)`."""
        for stem in self.stems(split):
            seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{stem}".encode()).digest()[:4], "big")
            pair = focus_pair(self.size, torch.Generator().manual_seed(seed))
            near, far, truth = ((picture * 255).round().to(torch.uint8)[None] for picture in pair)
            yield Sample((near, far), truth, (stem,), self.roles)

    def identity(self, split: str) -> str:
        """Twelve hex digits that stand for the scenes of a split."""
        return hashlib.sha256(f"{self.size}/{self.seed}/{self.stems(split)}".encode()).hexdigest()[:12]
