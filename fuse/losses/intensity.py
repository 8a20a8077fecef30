"""Terms of brightness: the fused picture against the sources, pixel by pixel. Means over all pixels and the batch.

`distance` is explained in `fuse.losses.distance.apart`, `importance` in `fuse/losses/importance.py`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample
from fuse.losses.distance import Distance, apart
from fuse.losses.gradient import Importance
from fuse.losses.importance import equal, saliency
from fuse.losses.terms import sum_over

Picture = Float[Tensor, "b c h w"]


def to_role(fused: Picture, sample: Sample, role: str, distance: Distance = "l1") -> Tensor:
    """mean d(F, I), I one source or the reference; `terms.mse` and `terms.l1` are its commonest cases."""
    return apart(fused, sample.role(role), distance).mean()


def to_maximum(fused: Picture, sample: Sample, distance: Distance = "l1") -> Tensor:
    """mean d(F, max_i I_i). SeAFusion 1, CDDFuse 1, SwinFusion 20, TC-MoA 1.5, Text-IF 4 to 8, SuperFusion 0.1."""
    return apart(fused, torch.stack(sample.sources).amax(0), distance).mean()


def to_mean(fused: Picture, sample: Sample, distance: Distance = "l1") -> Tensor:
    """mean d(F, mean_i I_i). SwinFusion 20 for focus, exposure and near infrared; TC-MoA's warm-up and exposure."""
    return apart(fused, torch.stack(sample.sources).mean(0), distance).mean()


def to_mixture(fused: Picture, sample: Sample, importance: Importance, distance: Distance = "l1") -> Tensor:
    """mean d(F, sum_i w_i I_i), w the importance of the sources. UMF-CMGR 20: `importance.histogram_contrast`."""
    return apart(fused, mixture(sample, importance), distance).mean()


def to_sources(fused: Picture, sample: Sample, importance: Importance = equal, distance: Distance = "l2") -> Tensor:
    """sum_i mean(w_i d(F, I_i)), w the importance of the sources.

    U2Fusion 20: `importance.information`, `l2`. TarDAL v0 20: `importance.histogram_contrast`, `l1`. MFF-GAN's L_int:
    `importance.repeated_blur`, `l2` (`terms.decided_intensity`). MUFusion: `importance.activity`, `l2`.
    """
    pairs = zip(importance(sample), sample.sources, strict=True)
    return sum_over((w * apart(fused, x, distance)).mean() for w, x in pairs)


def by_saliency(
    fused: Picture,
    sample: Sample,
    role: str,
    span: Sequence[float] = (0.0, 1.0),
    distance: Distance = "l1",
) -> Tensor:
    """mean(m d(F, max_i I_i) + (1 - m) d(F, mean_i I_i)): the maximum on what is salient, the mean elsewhere.

    DetFusion's prior (weight 1) with the boxes that its detector finds in place of m; here m is the saliency of one
    source (`importance.saliency`, 0..1, `span` the recipe's range), as data sets carry no boxes.
    """
    stack, mask = torch.stack(sample.sources), saliency(sample.role(role), span)
    inside, outside = apart(fused, stack.amax(0), distance), apart(fused, stack.mean(0), distance)
    return (mask * inside + (1 - mask) * outside).mean()


def norm(fused: Picture, sample: Sample, role: str) -> Tensor:
    """sqrt(sum (F - I)^2) over all pixels of the whole batch: it grows with both (SESF-Fuse 1)."""
    return (fused - sample.role(role)).square().sum().clamp_min(1e-12).sqrt()


def brightness(fused: Picture, sample: Sample, role: str) -> Tensor:
    """|mean F - mean I| / mean I per picture, for ranges from 0 up (PFCFuse); a black picture divides by 0.001."""
    ours, theirs = fused.mean((1, 2, 3)), sample.role(role).mean((1, 2, 3))
    return ((ours - theirs).abs() / theirs.clamp_min(1e-3)).mean()


def mixture(sample: Sample, importance: Importance) -> Picture:
    """sum_i w_i I_i."""
    return torch.stack([w * x for w, x in zip(importance(sample), sample.sources, strict=True)]).sum(0)
