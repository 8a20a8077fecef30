"""Terms of edges: gradients of the fused picture against those of the sources. Means over all responses and the batch.

`operator` is one of `OPERATORS`; `distance` is explained in `fuse.losses.distance.apart`. Zeros outside the
border are black on [0, 1] and mid-grey on [-1, 1].
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.distance import Distance, apart
from fuse.losses.terms import filtered, laplacian, sum_over

Picture = Float[Tensor, "b c h w"]
Operator = Literal["laplacian", "ring", "sobel", "sobel_root", "differences", "spatial"]
Importance = Callable[[Sample], Tensor]  # weights (n, b, 1, h, w); see `fuse/losses/importance.py`

RING = ((0.125, 0.125, 0.125), (0.125, -1.0, 0.125), (0.125, 0.125, 0.125))
ACROSS = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
DOWN = ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0))


def ring(x: Picture) -> Picture:
    """Mean of the eight neighbours minus the pixel, zeros outside (DDcGAN, U2Fusion)."""
    return filtered(x, RING)


def sobel(x: Picture) -> Picture:
    """|gx| + |gy| of the Sobel kernels (1 2 1, not normalised), zeros outside (SeAFusion, SwinFusion, CDDFuse)."""
    return filtered(x, ACROSS).abs() + filtered(x, DOWN).abs()


def sobel_root(x: Picture) -> Picture:
    """sqrt(gx^2 + gy^2 + 1e-8) of the Sobel kernels, zeros outside (TarDAL)."""
    return (filtered(x, ACROSS).square() + filtered(x, DOWN).square() + 1e-8).sqrt()


def differences(x: Picture) -> Float[Tensor, "b two_c h w"]:
    """Right neighbour minus pixel, lower neighbour minus pixel, as channels; 0 at the last column and row."""
    return torch.cat([F.pad(x.diff(dim=-1), (0, 1)), F.pad(x.diff(dim=-2), (0, 0, 0, 1))], 1)


def spatial(x: Picture) -> Float[Tensor, "b two_c h w"]:
    """Signed gx / 8 and gy / 8 of the Sobel kernels as channels, border pixels repeated (CDDFuse's phase I, EMMA)."""
    padded = F.pad(x, (1,) * 4, mode="replicate")
    return torch.cat([filtered(padded, ACROSS), filtered(padded, DOWN)], 1)[..., 1:-1, 1:-1] / 8


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "laplacian": laplacian,
    "ring": ring,
    "sobel": sobel,
    "sobel_root": sobel_root,
    "differences": differences,
    "spatial": spatial,
}


def response(x: Picture, operator: Operator) -> Float[Tensor, "b k h w"]:
    """What one of `OPERATORS` makes of a picture.

    Raises:
        InputError: there is no such operator.
    """
    if operator not in OPERATORS:
        raise InputError(f"operator='{operator}' is not known; use {', '.join(OPERATORS)}")
    return OPERATORS[operator](x)


def to_role(
    fused: Picture, sample: Sample, role: str, operator: Operator = "laplacian", distance: Distance = "l1"
) -> Tensor:
    """mean d(G F, G I), G the operator, I one source or the reference.

    With `laplacian` and `l2` it is `terms.gradient` (FusionGAN 5, PMGI, GANMcC, UFGAN). DDcGAN: `ring` and `l1`, times
    the pixels of a patch, since it sums; its paper's total variation of F - I: `differences` and `l1`. CDDFuse's first
    phase and EMMA: `spatial` and `l1`.
    """
    return apart(response(fused, operator), response(sample.role(role), operator), distance).mean()


def to_maximum(fused: Picture, sample: Sample, operator: Operator = "sobel", distance: Distance = "l1") -> Tensor:
    """mean d(|G F|, max_i |G I_i|): the joint gradient, the strongest of all sources at every place.

    SeAFusion 10, CDDFuse 10, SwinFusion 20 (medical 100), DetFusion 5, SuperFusion 0.6: `sobel`. UMF-CMGR 5:
    `laplacian`.
    """
    joint = torch.stack([response(x, operator).abs() for x in sample.sources]).amax(0)
    return apart(response(fused, operator).abs(), joint, distance).mean()


def to_strongest(
    fused: Picture,
    sample: Sample,
    operator: Operator = "differences",
    distance: Distance = "l1",
    power: float = 1.0,
) -> Tensor:
    """mean d(G F, s |G I|^power), s the sign, I the source with the largest |G I| at that place; ties go to the first.

    As `to_maximum`, but a bright line may not become a dark one. `power` below 1 raises gradients below 1. TC-MoA 1.5;
    MURF 10, power 0.7.
    """
    responses = torch.stack([response(x, operator) for x in sample.sources])
    joint = responses.gather(0, responses.abs().argmax(0, keepdim=True))[0]
    return apart(response(fused, operator), joint.sign() * joint.abs() ** power, distance).mean()


def to_sources(
    fused: Picture,
    sample: Sample,
    importance: Importance,
    operator: Operator = "laplacian",
    distance: Distance = "l2",
) -> Tensor:
    """sum_i mean(w_i d(G F, G I_i)), w the importance of the sources.

    With `importance.repeated_blur`: L_grad of MFF-GAN (`terms.decided_gradient`).
    """
    made, pairs = response(fused, operator), zip(importance(sample), sample.sources, strict=True)
    return sum_over((w * apart(made, response(x, operator), distance)).mean() for w, x in pairs)
