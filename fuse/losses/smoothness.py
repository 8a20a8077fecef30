"""Terms of the fused picture alone: what they want is smooth, whatever the sources show."""

from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample


def total_variation(fused: Float[Tensor, "b c h w"], sample: Sample) -> Tensor:
    """mean |F(i, j+1) - F(i, j)| + mean |F(i+1, j) - F(i, j)|, each over the differences that exist. UFGAN 10."""
    return fused.diff(dim=-1).abs().mean() + fused.diff(dim=-2).abs().mean()
