"""Luma and chroma: two conversions that must never be mixed, and the field's rule for joining chroma."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from fuse.order import summed

Luma = Literal["full", "limited"]
GREY = 128 / 255  # chroma of a colourless pixel

# Rows are Y, Cb, Cr over R, G, B; offsets on 0..255. "full" is JPEG's, "limited" what MATLAB's rgb2ycbcr does.
_FORWARD = {
    "full": (
        (0.299, 0.587, 0.114),
        (-0.299 * 0.564, -0.587 * 0.564, 0.886 * 0.564),
        (0.701 * 0.713, -0.587 * 0.713, -0.114 * 0.713),
    ),
    "limited": ((0.257, 0.504, 0.098), (-0.148, -0.291, 0.439), (0.439, -0.368, -0.071)),
}
_OFFSET = {"full": 0.0, "limited": 16 / 255}
_INVERSE = {
    "full": ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0)),
    "limited": ((1.164, 0.0, 1.596), (1.164, -0.392, -0.813), (1.164, 2.017, 0.0)),
}


def split(picture: Float[Tensor, "b c h w"], luma: Luma) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 2 h w"]]:
    """Luma and chroma in [0, 1] of a grey (c = 1) or RGB (c = 3) picture in [0, 1]; grey has chroma 128/255.

    The grey picture is read as R = G = B, so limited-range luma of it is 16/255 + 0.859 grey.
    """
    rgb = picture if picture.shape[1] == 3 else picture.expand(-1, 3, -1, -1)
    ycc = torch.einsum("kc,bchw->bkhw", rgb.new_tensor(_FORWARD[luma]), rgb)
    return ycc[:, :1] + _OFFSET[luma], ycc[:, 1:] + GREY


def join(y: Float[Tensor, "b 1 h w"], chroma: Float[Tensor, "b 2 h w"], luma: Luma) -> Float[Tensor, "b 3 h w"]:
    """RGB of luma and chroma in [0, 1]; the inverse of `split`, to the digits its coefficients have. Not clipped."""
    ycc = torch.cat([y - _OFFSET[luma], chroma - GREY], dim=1)
    return torch.einsum("ck,bkhw->bchw", ycc.new_tensor(_INVERSE[luma]), ycc)


def grey_from_luma(y: Float[Tensor, "b 1 h w"], luma: Luma) -> Float[Tensor, "b 1 h w"]:
    """Grey level in [0, 1] of a colourless pixel with that luma."""
    return (y - _OFFSET[luma]) * _INVERSE[luma][0][0]


def distance_from_grey(chroma: Sequence[Float[Tensor, "b 2 h w"]]) -> Float[Tensor, "b 2 h w"]:
    """Chroma fused by C = sum C_i |C_i - 128| / sum |C_i - 128|, per pixel and component; 128 where all are 128.

    The field's usual rule (Prabhakar et al., DeepFuse, 2017), for any number of sources in any order.
    """
    offset = torch.stack(list(chroma)) - GREY
    weight = offset.abs()
    total = summed(weight)
    return GREY + summed(offset * weight) / total.clamp_min(torch.finfo(total.dtype).tiny)


def grey_levels(picture: Integer[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Integer luma 0..255 that metrics are computed on, as float64: floor(0.298936 R + 0.587043 G + 0.114021 B + 0.5).

    The rounding and the coefficients are those of MATLAB's rgb2gray, which the field's published numbers come from.
    A 16 bit picture is first rounded to 8 bits.
    """
    levels = picture.double()
    if picture.dtype == torch.uint16:
        levels = torch.floor(levels / 257 + 0.5)
    if levels.shape[1] == 1:
        return levels
    weights = levels.new_tensor([0.298936, 0.587043, 0.114021]).view(1, 3, 1, 1)
    return torch.floor((levels * weights).sum(1, keepdim=True) + 0.5)
