"""Multi-focus pictures of made scenes as a lens makes them: discs of confusion, in linear light, that spill over."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.scenes import GAMMA, leaves, texture


class Scene(NamedTuple):
    """Pictures of one scene in [0, 1], code values: what each camera saw, the truth, and who sees each place best.

    `focus`: one-hot over the sources, or None where more than one may be right.
    """

    sources: tuple[Float[Tensor, "_ s s"], ...]
    reference: Float[Tensor, "_ s s"]
    focus: Float[Tensor, "n s s"] | None = None


def defocus(light: Float[Tensor, "c h w"], radius: float) -> Float[Tensor, "c h w"]:
    """Blur by a uniform disc, the picture of a point out of focus; radius in pixels; borders are reflected."""
    reach = math.ceil(radius)
    line = torch.arange(-reach, reach + 1.0)
    disc = (radius + 0.5 - torch.hypot(line[:, None], line[None, :])).clamp(0, 1)
    kernel = (disc / disc.sum()).expand(len(light), 1, -1, -1)
    return F.conv2d(F.pad(light[None], [reach] * 4, mode="reflect"), kernel, groups=len(light))[0]


def focus_pair(size: int, generator: torch.Generator) -> Scene:
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
    return Scene((near, far), truth, torch.stack([mask > 0.5, mask <= 0.5]).float())


def focus_stack(
    size: int,
    generator: torch.Generator,
    settings: int = 3,
    layers: int = 5,
    strength: float = 6.0,
    breathing: float = 0.0,
) -> Scene:
    """A scene of several depths, photographed at several focus settings, near to far, and its all-in-focus picture.

    Layer k at inverse depth q_k (1 nearest, 0 the ground) is blurred by a disc of radius `strength` |q_k - q_f| pixels
    when the lens is set to q_f, and laid over what is behind with its own blurred coverage. `breathing`: how much
    larger the picture of the nearest setting is than that of the farthest; the reference has the scale of the nearest.
    """
    sizes = torch.linspace(0.35, 0.1, layers - 1)  # near leaves are large
    depths = [1 - k / (layers - 1) for k in range(layers)]
    painted = [leaves(size, 4 + 3 * k, float(sizes[k]) / 3, float(sizes[k]), generator) for k in range(layers - 1)]
    ground = (0.15 + 0.7 * texture(size, generator)) ** GAMMA

    def seen(setting: float | None) -> Float[Tensor, "3 s s"]:
        """The scene with the lens at that inverse depth; with None all of it sharp."""
        light = ground if setting is None else spread(ground, strength * setting)
        for (front, mask), depth in zip(painted[::-1], depths[-2::-1], strict=True):
            radius = 0.0 if setting is None else strength * abs(depth - setting)
            light = spread(front, radius) + (1 - spread(mask[None], radius)) * light
        return light.clamp(0, 1) ** (1 / GAMMA)

    chosen = [1 - i / (settings - 1) if settings > 1 else 1.0 for i in range(settings)]
    sources = tuple(scaled(seen(setting), 1 - breathing * (1 - setting)) for setting in chosen)
    depth = torch.zeros(size, size)
    for (_, mask), own in zip(painted[::-1], depths[-2::-1], strict=True):
        depth = torch.where(mask > 0.5, own, depth)
    nearest = (torch.tensor(chosen).view(-1, 1, 1) - depth).abs().argmin(0)
    return Scene(sources, seen(None), F.one_hot(nearest, settings).movedim(-1, 0).float())


def spread(light: Float[Tensor, "c h w"], radius: float) -> Float[Tensor, "c h w"]:
    """`defocus`, and nothing below a radius of half a pixel."""
    return light if radius < 0.5 else defocus(light, radius)


def scaled(picture: Float[Tensor, "c h w"], factor: float) -> Float[Tensor, "c h w"]:
    """The picture larger by `factor` around its centre, bicubic, borders reflected."""
    if factor == 1:
        return picture
    grid = F.affine_grid(torch.eye(2, 3)[None] / factor, [1, *picture.shape], align_corners=False)
    made = F.grid_sample(picture[None], grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return made[0].clamp(0, 1)
