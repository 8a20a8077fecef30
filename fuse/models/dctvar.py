"""DCT variance: blocks of 8x8, of which the one with the larger variance is taken.

M. B. A. Haghighat, A. Aghagolzadeh, H. Seyedarabi, Multi-focus image fusion for visual sensor networks in DCT domain,
Computers & Electrical Engineering 37(5), 2011.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.borders import mirrored
from fuse.models.guided import box_sum
from fuse.models.masks import winners

BLOCK = 8  # JPEG's
VOTERS = 7  # blocks


class DctVar(nn.Module):
    """Per 8x8 block the source of largest variance, after two means of 7x7 over the map of blocks; equal ones share.

    By Parseval's theorem the squares of a block's AC coefficients add up to its variance, so no DCT is needed. Rows and
    columns beyond the last whole block are judged with their edge repeated. For two sources the means and the larger of
    both are the consistency check of the paper.
    """

    selects, luma, multiple = True, "full", BLOCK
    margin = 2 * (VOTERS // 2) * BLOCK + BLOCK - 1

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1, the same within a block."""
        luma = torch.cat(sources, 1)
        height, width = luma.shape[-2:]
        padded = F.pad(luma, [0, -width % BLOCK, 0, -height % BLOCK], mode="replicate")
        blocks = padded.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))
        votes = winners(blocks.var((-3, -1), correction=0))
        for _ in range(2):
            votes = box_sum(mirrored(votes, *[VOTERS // 2] * 4), VOTERS) / VOTERS**2
        weights = winners(votes).repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
        return weights[..., :height, :width]
