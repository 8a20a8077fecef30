"""Medical: this project's own network for CT, PET or SPECT beside MRI, or whatever is dark where it has nothing."""

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data import color
from fuse.data.sample import Sample
from fuse.metrics.structure import ssim_map
from fuse.models.focus import in_any_order
from fuse.models.thermal import Thermal

FAINT = 4 / 255  # brightness at which a source has half of its say
PALE = 16 / 255  # chroma at which colour says half of what a source shows


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
    """1 - mean of min_n (1 - (1 - cs(F, x_n)) (1 - k_n)), where all sources show something; cs is SSIM's second factor.

    k_n = |c_n| / (|c_n| + 16/255) with a source's chroma c_n, 0 where it is grey or the data have none: for what has
    colour, its colours speak (see `faded`). The worse served source at every place, since that of a whole picture is
    best served by a patchwork, in which PET simply replaces the folds of the brain that MRI shows.
    """
    served = [ssim_map(fused, x, data_range=1.0)[1] for x in sample.sources]
    for n, chroma in enumerate(sample.chroma):
        strength = (chroma[..., 5:-5, 5:-5] - color.GREY).norm(dim=1, keepdim=True)
        served[n] = 1 - (1 - served[n]) * PALE / (strength + PALE)
    shown = torch.stack([x > 0 for x in sample.sources]).all(0)[..., 5:-5, 5:-5].to(fused)
    return 1 - (torch.stack(served).amin(0) * shown).sum() / shown.sum().clamp_min(1)


def faded(fused: Float[Tensor, "b 1 h w"], sample: Sample) -> Float[Tensor, ""]:
    """Share of the colour that is lost where luma F with the sources' joint chroma C is no colour that a screen has.

    sum |C' - C| / sum |C - 128/255|, C' the chroma of the RGB picture of F and C cut to [0, 1]; 0 without colours.
    """
    if not sample.chroma:
        return fused.new_zeros(())
    wanted = color.distance_from_grey(sample.chroma)
    made = color.split(color.join(fused, wanted, "full").clamp(0, 1), "full")[1]
    return (made - wanted).abs().sum() / (wanted - color.GREY).abs().sum().clamp_min(1)


def brighter(fused: Float[Tensor, "b 1 h w"], sample: Sample) -> Float[Tensor, ""]:
    """Mean of max(F - max_n x_n, 0): how far a sum goes beyond the brightest source."""
    return (fused - torch.cat(sample.sources, 1).amax(1, keepdim=True)).relu().mean()
