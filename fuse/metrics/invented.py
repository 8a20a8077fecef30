"""Metrics of faults that the usual scores do not see."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from fuse.metrics.levels import Image, Images, Scores, grey
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.statistics import mean

TOLERANCE = 2  # levels
BLOCK, NEAREST, FARTHEST = 64, 2, 8  # pixels


def brightness_shift(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Mean of the fused picture minus the mean of all sources, grey levels, -255..255; closer to 0 is better.

    A selection of pixels may rightly be off 0 (the sharp halves need not have the mean of the whole), but a network
    that is off by more than 3 levels changes the exposure. Differentiable.
    """
    memo = memo or Memo()
    return mean(fused, memo=memo) - torch.stack([mean(source, memo=memo) for source in sources]).mean(0)


def nearby_maximum(image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Largest value in the 3x3 window around every pixel, as much of it as lies inside."""
    padded = functional.pad(image, (1, 1, 1, 1), value=-torch.inf)
    rows = torch.maximum(torch.maximum(padded[..., :-2, :], padded[..., 1:-1, :]), padded[..., 2:, :])
    return torch.maximum(torch.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def invented(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """Share of pixels that lie outside what any source shows nearby, 0..1; lower is better.

    A pixel counts when it is more than 2 levels above the largest, or below the smallest, level of all sources in the
    3x3 window around it. 0 for any selection or average of pixels; halos, ringing, noise, stretched contrast and
    colours made up by a network raise it. Not differentiable.
    """
    memo = memo or Memo()
    stack = torch.stack([memo(grey, source) for source in sources])
    highest, lowest = nearby_maximum(stack.amax(0)), -nearby_maximum(-stack.amin(0))
    result = memo(grey, fused)
    return average(((result > highest + TOLERANCE) | (result < lowest - TOLERANCE)).to(torch.float64))


def gradient_echo(image: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b blocks lags"], Float[Tensor, "b blocks"]]:
    """Autocorrelation of the gradient in 64x64 blocks at displacements of 2 to 8 pixels, and its energy.

    sum g(x) . g(x + d) / sum |g|^2 with first differences g; half of the displacements, as the other half is equal.
    """
    height, width = image.shape[-2] - 1, image.shape[-1] - 1
    field = torch.cat([image[..., 1:, 1:] - image[..., 1:, :-1], image[..., 1:, 1:] - image[..., :-1, 1:]], 1)
    rows, columns = min(BLOCK, height), min(BLOCK, width)
    field = functional.pad(field, (0, -width % columns, 0, -height % rows))
    blocks = field.unfold(2, rows, rows).unfold(3, columns, columns).flatten(2, 3)
    size = (rows + FARTHEST, columns + FARTHEST)
    spectrum = torch.fft.rfft2(blocks, s=size)
    product = torch.fft.irfft2((spectrum * spectrum.conj()).real.sum(1), s=size)
    lags = [
        (down, across)
        for down in range(FARTHEST + 1)
        for across in range(-FARTHEST, FARTHEST + 1)
        if NEAREST**2 <= down**2 + across**2 <= FARTHEST**2 and (down > 0 or across > 0)
    ]
    energy = product[..., 0, 0]
    echo = torch.stack([product[..., down, across] for down, across in lags], -1)
    return torch.where(energy > 0, 1 / torch.where(energy > 0, energy, 1.0), 0.0)[..., None] * echo, energy


def ghost(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """How much the edges of the fused picture repeat themselves beside where they are, 0 to about 0.5; lower is better.

    In blocks of 64x64 pixels, the largest excess of F's gradient autocorrelation over that of every source, over all
    displacements of 2 to 8 pixels, never below 0; mean of the blocks weighted by F's gradient energy. Double contours
    of sources that do not lie on each other come out: (A + A shifted) / 2 gives up to 0.5, a faint second contour of
    strength s about s. A selection of one source per block gives 0; a repeated pattern in a source is no ghost.
    Blind to ghosts farther off than 8 pixels, and to small ones in a block with stronger edges. NaN where F is flat.
    Differentiable almost everywhere.
    """
    memo = memo or Memo()
    echo, energy = memo(gradient_echo, memo(grey, fused))
    known = torch.stack([memo(gradient_echo, memo(grey, source))[0] for source in sources]).amax(0)
    excess = (echo - known).amax(-1).clamp(min=0)
    return (excess * energy).sum(1) / energy.sum(1)
