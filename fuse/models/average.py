"""Rules that look at one pixel at a time: the plain mean and the brightest."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.models.masks import winners


class Average(nn.Module):
    """Every source with the same weight; the row that metrics of similarity favour."""

    selects, luma, margin = True, "full", 0

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights 1/n."""
        stack = torch.cat(sources, 1)
        return torch.full_like(stack, 1 / len(sources))


class Maximum(nn.Module):
    """The brightest source at every pixel; equal ones are averaged."""

    selects, luma, margin = True, "full", 0

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights 1 at the largest luma, else 0; equal ones share."""
        return winners(torch.cat(sources, 1))
