"""Pictures of any size and depth made small, band by band, so that looking at them costs no memory."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

BAND = 2**22  # samples that are floating point at a time
LUMA = (0.299, 0.587, 0.114)


def reduced(pixels: Shaped[Tensor, "c h w"], side: int) -> Float[Tensor, "c a b"]:
    """Levels 0..255 averaged over k x k pixels, k the largest whole number that leaves the longer side >= `side`.

    So the longer side is below twice `side`; smaller pictures keep their size. uint8, uint16 (65535 is 255) or
    floating point (1 is 255). The last row and column average what is left of a block.
    """
    factor = max(max(pixels.shape[1:]) // side, 1)
    channels, height, width = pixels.shape
    small = torch.empty(channels, -(-height // factor), -(-width // factor))  # first, so that no band is left in pieces
    rows = max(BAND // (channels * width * factor), 1)
    for top in range(0, small.shape[1], rows):
        band = levels(pixels[:, top * factor : (top + rows) * factor])
        small[:, top : top + rows] = F.avg_pool2d(band, factor, ceil_mode=True, count_include_pad=False)
    return small


def levels(pixels: Shaped[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """8 or 16 bit integers, or floating point in [0, 1], as float32 from 0 to 255."""
    full = 255.0 if pixels.dtype == torch.uint8 else 65535.0 if pixels.dtype == torch.uint16 else 1.0
    return pixels.to(torch.float32) * (255.0 / full)


def grey(picture: Float[Tensor, "c h w"]) -> Float[Tensor, "h w"]:
    """0.299 R + 0.587 G + 0.114 B, or the one channel there is."""
    if picture.shape[0] == 1:
        return picture[0]
    return (picture * picture.new_tensor(LUMA).view(3, 1, 1)).sum(0)
