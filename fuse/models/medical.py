"""Medical: this project's own network for CT, PET or SPECT beside MRI, or whatever is dark where it has nothing."""

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample
from fuse.metrics.structure import ssim_map
from fuse.models.focus import in_any_order
from fuse.models.thermal import Thermal

FAINT = 4 / 255  # brightness at which a source has half of its say


class Medical(Thermal):
    """`Thermal` in which a source has no say where it is silent: F = sum_n w_n x_n, w_n ~ e^s_n x_n / (x_n + 4/255).

    Where only one source is not 0 the result is that source, to the last bit, and where all are 0 it is 0: an empty
    background stays empty, and the colours of a functional picture stay as they are outside of the structural one.
    Beside so much that is empty SCD wants more of what is bright than `Thermal` begins with.
    """

    pivot = 0.25

    def mixed(self, stack: Float[Tensor, "b n h w"], scores: Float[Tensor, "b n h w"]) -> Float[Tensor, "b 1 h w"]:
        """The mixture of what is not silent; no bit of it depends on the order of the sources."""
        said = stack.clamp_min(0) / (stack.clamp_min(0) + FAINT)
        powers = (scores - scores.amax(1, keepdim=True)).exp() * said
        fused = in_any_order(powers * stack) / in_any_order(powers).clamp_min(1e-12)
        alone = (stack > 0).sum(1, keepdim=True) == 1
        return torch.where(alone, stack.amax(1, keepdim=True), fused)


def left_out(fused: Float[Tensor, "b 1 h w"], sample: Sample) -> Float[Tensor, ""]:
    """1 - mean of min_n cs(F, x_n), where all sources show something; cs is SSIM's contrast-structure factor.

    The worse served source at every place. That of a whole picture is best served by a patchwork, in which PET simply
    replaces the folds of the brain that MRI shows.
    """
    served = torch.stack([ssim_map(fused, x, data_range=1.0)[1] for x in sample.sources]).amin(0)
    shown = torch.stack([x > 0 for x in sample.sources]).all(0)[..., 5:-5, 5:-5].to(served)
    return 1 - (served * shown).sum() / shown.sum().clamp_min(1)
