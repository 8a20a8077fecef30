"""Terms of colour, for fusers that make RGB."""

from jaxtyping import Float
from torch import Tensor

from fuse.data import color
from fuse.data.sample import Sample
from fuse.losses.distance import Distance, apart


def to_role(fused: Float[Tensor, "b 3 h w"], sample: Sample, role: str, distance: Distance = "l1") -> Tensor:
    """mean d(Cb F, Cb I) + mean d(Cr F, Cr I), full-range BT.601, I one source or the reference. Text-IF 12."""
    (_, made), (_, wanted) = color.split(fused, "full"), color.split(sample.role(role), "full")
    return 2 * apart(made, wanted, distance).mean()
