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
    """`Thermal` whose sources add up: F = min(1, sum_n g_n x_n), gains g_n from 0 to 1, and 1 where no other speaks.

    A mixture halves the contrast of both where both show something; a sum need not, and SCD wants it. How loud a source
    is: v_n = x_n / (x_n + 4/255); g_n = 1 - (1 - sigmoid s_n) max v_m over the others m. Where only one source is not 0
    the result is that source, to the last bit, and where all are 0 it is 0: an empty background stays empty, and the
    colours of a functional picture stay as they are outside of the structural one.
    """

    def start(self, stack: Float[Tensor, "b n h w"], middle: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b n h w"]:
        """The same for all: gains of a half at balance 0, as in the average, and of 0.73 at 1."""
        return torch.ones_like(stack)

    def joined(self, stack: Float[Tensor, "b n h w"], scores: Float[Tensor, "b n h w"]) -> Float[Tensor, "b 1 h w"]:
        """The sum; no bit of it depends on the order of the sources."""
        loud = stack.clamp_min(0) / (stack.clamp_min(0) + FAINT)
        count = range(stack.shape[1])
        others = torch.stack([loud[:, [m for m in count if m != n]].amax(1) for n in count], 1)
        gains = 1 - (1 - scores.sigmoid()) * others
        return in_any_order(gains * stack).clamp_max(1)


def left_out(fused: Float[Tensor, "b 1 h w"], sample: Sample) -> Float[Tensor, ""]:
    """1 - mean of min_n cs(F, x_n), where all sources show something; cs is SSIM's contrast-structure factor.

    The worse served source at every place. That of a whole picture is best served by a patchwork, in which PET simply
    replaces the folds of the brain that MRI shows.
    """
    served = torch.stack([ssim_map(fused, x, data_range=1.0)[1] for x in sample.sources]).amin(0)
    shown = torch.stack([x > 0 for x in sample.sources]).all(0)[..., 5:-5, 5:-5].to(served)
    return 1 - (served * shown).sum() / shown.sum().clamp_min(1)
