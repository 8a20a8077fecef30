"""Images as metrics take them: grey levels 0..255."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64, Real
from torch import Tensor

from fuse.errors import InputError

Image = Real[Tensor, "b 1 h w"]
Images = Sequence[Real[Tensor, "b 1 h w"]]
Scores = Float[Tensor, "b"]
Mask = Bool[Tensor, "b 1 h w"]


def grey(image: Image) -> Float[Tensor, "b 1 h w"]:
    """The same grey levels as float64, the precision of every metric."""
    return image.to(torch.float64)


def levels(image: Image) -> Int64[Tensor, "b 1 h w"]:
    """Integer levels for histograms: rounded half up, then limited to 0..255."""
    if image.dtype == torch.uint8:
        return image.to(torch.int64)
    return torch.floor(image.detach().to(torch.float64) + 0.5).clamp(0, 255).to(torch.int64)


def stretched(image: Image) -> Float[Tensor, "b 1 h w"]:
    """The image stretched to 0..255 by its own extremes and rounded half up; a constant image becomes 0."""
    image = image.to(torch.float64)
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    flat = low == high
    return torch.floor((image - low) / torch.where(flat, 1.0, high - low) * 255 + 0.5)


def mean(image: Float[Tensor, "b *rest"], mask: Bool[Tensor, "b *rest"] | None = None) -> Scores:
    """Mean over everything but the batch, or over the mask; NaN where nothing is left to average."""
    if mask is None:
        return image.flatten(1).mean(1)
    return total(image, mask) / mask.flatten(1).sum(1)


def total(image: Float[Tensor, "b *rest"], mask: Bool[Tensor, "b *rest"] | None = None) -> Scores:
    """Sum over everything but the batch, or over the mask."""
    if mask is not None:
        image = torch.where(mask, image, 0.0)
    return image.flatten(1).sum(1)


def combined(values: Sequence[Scores], how: str) -> Scores:
    """One value per image from the values of its sources: `sum`, `mean`, `min` or `max`.

    Raises:
        InputError: any other word.
    """
    stack = torch.stack(list(values))
    if how == "sum":
        return stack.sum(0)
    if how == "mean":
        return stack.mean(0)
    if how == "min":
        return stack.amin(0)
    if how == "max":
        return stack.amax(0)
    raise InputError(f"combine='{how}' is not known; use 'sum', 'mean', 'min' or 'max'")
