"""What critics look at: functions of the fused picture and its sample, and of the sample alone for what is real.

All are in the range of the recipe. `real` views take `(sample)`, `fake` views `(fused, sample)`. A `mask` is a function
of the sample that returns `(b, 1, h, w)`; an `operator` is one of `fuse.losses.gradient.OPERATORS`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.losses.gradient import Operator, response
from fuse.losses.terms import laplacian

Picture = Float[Tensor, "b c h w"]
Mask = Callable[[Sample], Tensor]


def source(sample: Sample, role: str) -> Picture:
    """One source, or the reference."""
    return sample.role(role)


def fused(picture: Picture, sample: Sample) -> Picture:
    """The fused picture itself."""
    return picture


def fused_like(picture: Picture, sample: Sample, role: str) -> Float[Tensor, "b c y x"]:
    """The fused picture at the size of one source: triangles as wide as two pixels of that source, any ratio.

    For a quarter of the size they span 8 pixels, as two 3x3 means of stride 2 do (7), but stay centred: those would
    shift the picture by one and a half pixels.
    """
    size = sample.role(role).shape[-2:]
    if picture.shape[-2:] == size:
        return picture
    return F.interpolate(picture, size, mode="bilinear", antialias=True)


def joint_gradient(sample: Sample) -> Picture:
    """Largest absolute Laplacian of the sources, per pixel: what MFF-GAN's critic takes for real."""
    return torch.stack([laplacian(x).abs() for x in sample.sources]).amax(0)


def gradient(picture: Picture, sample: Sample) -> Picture:
    """Absolute Laplacian of the fused picture: what MFF-GAN's critic is to tell from the joint gradient."""
    return laplacian(picture).abs()


def source_gradient(sample: Sample, role: str) -> Picture:
    """Absolute Laplacian of one source."""
    return laplacian(sample.role(role)).abs()


def conditional(picture: Picture, sample: Sample) -> Float[Tensor, "b _ h w"]:
    """Sources and fused picture as channels of one: the critic judges the answer to these sources (pix2pix)."""
    return torch.cat([*sample.sources, picture], 1)


def conditional_reference(sample: Sample) -> Float[Tensor, "b _ h w"]:
    """Sources and reference as channels of one."""
    return conditional(sample.role("reference"), sample)


def masked_source(sample: Sample, role: str, mask: Mask) -> Picture:
    """One source times a mask of its sample; what a mask is made of gets no gradient."""
    return sample.role(role) * mask(sample)


def masked(picture: Picture, sample: Sample, mask: Mask) -> Picture:
    """The fused picture times a mask of its sample."""
    return picture * mask(sample)


def masked_source_gradient(sample: Sample, role: str, mask: Mask, operator: Operator) -> Picture:
    """Gradient magnitude of one source, times a mask of its sample, whose own edges are none."""
    return response(sample.role(role), operator).abs() * mask(sample)


def masked_gradient(picture: Picture, sample: Sample, mask: Mask, operator: Operator) -> Picture:
    """Gradient magnitude of the fused picture, times a mask of its sample."""
    return response(picture, operator).abs() * mask(sample)
