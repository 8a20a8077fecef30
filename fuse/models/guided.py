"""Box sums and means in time that hardly grows with the window, and the guided filter that is made of them.

K. He, J. Sun, X. Tang, Guided image filtering, IEEE TPAMI 35(6), 2013.
"""

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F


def line_sum(x: Num[Tensor, "*b h w"], size: int, axis: int) -> Num[Tensor, "*b y x"]:
    """Sums of `size` neighbours along `axis` (-1 or -2), valid part only.

    Sums of 1, 2, 4 ... neighbours are each made of two of the one before and put together by the binary digits of
    `size`. Unlike differences of running sums they lose no digits, and equal windows give equal sums wherever in the
    picture they lie, so that tiles agree with the whole and ties stay ties.
    """
    total, taken, width = None, 0, 1
    places = x.shape[axis] - size + 1
    while True:
        if size & width:
            part = x.narrow(axis, taken, places)
            total = part if total is None else total + part
            taken += width
        if taken == size:
            return total if total is not None else x
        x = x.narrow(axis, 0, x.shape[axis] - width) + x.narrow(axis, width, x.shape[axis] - width)
        width *= 2


def box_sum(x: Num[Tensor, "*b h w"], size: int) -> Num[Tensor, "*b y x"]:
    """Sums over all `size` x `size` windows inside the picture; log2(`size`) additions per pixel and axis."""
    return line_sum(line_sum(x, size, -1), size, -2)


def box_mean(x: Float[Tensor, "b c h w"], radius: int) -> Float[Tensor, "b c h w"]:
    """Mean over the (2 radius + 1)^2 window; at the border over the pixels that are inside the picture."""
    padded = F.pad(x, [radius] * 4)
    inside = F.pad(torch.ones_like(x[:1, :1]), [radius] * 4)
    return box_sum(padded, 2 * radius + 1) / box_sum(inside, 2 * radius + 1)


def guided_filter(
    guide: Float[Tensor, "b 1 h w"], x: Float[Tensor, "b c h w"], radius: int, eps: float
) -> Float[Tensor, "b c h w"]:
    """`x` smoothed along the edges of `guide`: q = mean(a) guide + mean(b), per window x = a guide + b least squares.

    a = cov(guide, x) / (var(guide) + eps), b = mean(x) - a mean(guide); all means are `box_mean`s. `eps` has the unit
    of the squared guide: 0.1 smooths strongly where the guide is in [0, 1]. The result depends on what is up to
    2 `radius` pixels away and can leave the range of `x` a little.
    """
    guide = guide - 0.5  # the result is the same; squares of smaller numbers lose fewer digits
    channels = x.shape[1]
    parts = [guide, guide * guide, x, guide * x]
    centre, square, level, product = box_mean(torch.cat(parts, 1), radius).split([1, 1, channels, channels], 1)
    slope = (product - centre * level) / ((square - centre * centre).clamp_min(0) + eps)
    slope, offset = box_mean(torch.cat([slope, level - slope * centre], 1), radius).split(channels, 1)
    return slope * guide + offset
