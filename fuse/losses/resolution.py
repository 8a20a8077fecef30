"""Terms for sources of unequal resolution: the fused picture is brought down to the source before they are compared."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.distance import Distance, apart

Way = Literal["bicubic", "area"]


def to_role(
    fused: Float[Tensor, "b c h w"], sample: Sample, role: str, way: Way = "bicubic", distance: Distance = "l2"
) -> Tensor:
    """mean d(down F, I), I a source no larger than the fused picture; by any factor. Details come from another term.

    `way`: `bicubic` with low-pass, as `model.patches.shrink` makes small sources, or `area`, means of what a pixel of
    the sensor covers. Pan-sharpening 1, with a gradient term to the sharp source 2; thermal cameras.
    """
    source = sample.role(role)
    return apart(lowered(fused, source.shape[-2], source.shape[-1], way), source, distance).mean()


def lowered(picture: Float[Tensor, "b c h w"], height: int, width: int, way: Way) -> Float[Tensor, "b c y x"]:
    """The picture in that size.

    Raises:
        InputError: an unknown way, or a size above the picture's.
    """
    if height > picture.shape[-2] or width > picture.shape[-1]:
        raise InputError(f"a fused picture of {tuple(picture.shape[-2:])} cannot be lowered to ({height}, {width})")
    if way == "area":
        return F.adaptive_avg_pool2d(picture, (height, width))
    if way == "bicubic":
        return F.interpolate(picture, (height, width), mode="bicubic", antialias=True)
    raise InputError(f"way='{way}' is not known; use bicubic or area")
