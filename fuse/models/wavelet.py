"""Wavelet transforms on any device, with the filters of PyWavelets, and fusion of their coefficients."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.errors import InputError
from fuse.models.borders import mirrored
from fuse.models.guided import box_sum
from fuse.models.masks import winners
from fuse.order import summed

Picture = Float[Tensor, "b c h w"]
Band = Float[Tensor, "b c y x"]
Details = tuple[Band, Band, Band]


class Filters(NamedTuple):
    """Low and high pass, to take apart and to put together; all of one even length, as PyWavelets gives them."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    back_low: tuple[float, ...]
    back_high: tuple[float, ...]


@cache
def filters(wavelet: str) -> Filters:
    """Filters of a discrete wavelet by PyWavelets' name: `haar`, `db4`, `bior2.2` ...

    Raises:
        InputError: PyWavelets has no discrete wavelet of that name.
    """
    import pywt

    if wavelet not in pywt.wavelist(kind="discrete"):
        raise InputError(f"'{wavelet}' is no discrete wavelet; try haar, db4 or bior2.2, or see pywt.wavelist()")
    return Filters(*(tuple(taps) for taps in pywt.Wavelet(wavelet).filter_bank))


def convolved(x: Picture, taps: Sequence[float], axis: int, shift: int, spread: int = 1, step: int = 1) -> Band:
    """Periodic convolution y(k) = sum_j taps(j) x(step k + shift - spread j) along `axis`."""
    length, reach = x.shape[axis], (len(taps) - 1) * spread
    places = torch.arange(shift - reach, length + shift, device=x.device) % length
    wide = x.index_select(axis, places)
    result = None
    for number, tap in enumerate(taps):
        if tap:
            start = reach - number * spread
            kept = slice(start, start + length, step)
            part = wide[..., kept] if axis == -1 else wide[..., kept, :]
            result = part * tap if result is None else torch.add(result, part, alpha=tap)
    return x if result is None else result


def taken_apart(x: Picture, bank: Filters, spread: int = 1, step: int = 1) -> tuple[Band, Details]:
    """One level: the mean band, and the horizontal, vertical and diagonal details.

    `step` 2 is the discrete wavelet transform (sides must be even); `step` 1 with `spread` 1, 2, 4 ... on the levels
    is the stationary one. Borders are periodic.
    """
    shift = len(bank.low) // 2 * spread
    low, high = (convolved(x, taps, -1, shift, spread, step) for taps in (bank.low, bank.high))
    bands = [convolved(part, taps, -2, shift, spread, step) for part in (low, high) for taps in (bank.low, bank.high)]
    return bands[0], (bands[1], bands[2], bands[3])


def put_together(mean: Band, details: Details, bank: Filters, spread: int = 1, step: int = 1) -> Picture:
    """What `taken_apart` undoes; of the stationary transform, the mean of what its shifts say."""
    shift = (len(bank.low) // 2 - 1) * spread
    across, down, diagonal = details
    if step == 2:
        mean, across, down, diagonal = (spaced(x) for x in (mean, across, down, diagonal))
    low, high = (
        convolved(one, bank.back_low, -2, shift, spread) + convolved(other, bank.back_high, -2, shift, spread)
        for one, other in ((mean, across), (down, diagonal))
    )
    whole = convolved(low, bank.back_low, -1, shift, spread) + convolved(high, bank.back_high, -1, shift, spread)
    return whole if step == 2 else whole / 4


def spaced(x: Band) -> Picture:
    """A zero after every sample, along both axes."""
    return F.pad(x[..., :, None, :, None], [0, 1, 0, 0, 0, 1]).flatten(-2).flatten(-3, -2)


def largest(x: Band) -> Band:
    """Maximum over 3x3, of what is inside."""
    for axis in (-1, -2):
        length = x.shape[axis]
        if length > 1:
            pairs = torch.maximum(x.narrow(axis, 0, length - 1), x.narrow(axis, 1, length - 1))
            first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, length - 2, 1)
            inner = torch.maximum(pairs.narrow(axis, 0, length - 2), pairs.narrow(axis, 1, length - 2))
            x = torch.cat([first, inner, last], axis)
    return x


def strongest(details: Float[Tensor, "b n y x"]) -> Float[Tensor, "b 1 y x"]:
    """Per place the coefficient of the source whose largest magnitude in 3x3 wins in most of the 3x3 around it."""
    votes = winners(largest(details.abs()))
    return summed((winners(box_sum(F.pad(votes, [1, 1, 1, 1]), 3)) * details).split(1, 1))


def fused(luma: Float[Tensor, "b n h w"], wavelet: str, levels: int, step: int) -> Float[Tensor, "b 1 h w"]:
    """Details by `strongest`, the coarsest mean band by its mean; the picture is mirrored beyond its borders.

    It is continued so far that the periodic borders of the transform are not seen.
    """
    bank, unit = filters(wavelet), step**levels
    beyond = -(-reach(wavelet, levels, step) // unit) * unit
    height, width = luma.shape[-2:]
    down, right = -height % unit, -width % unit
    mean, chosen = mirrored(luma, beyond, beyond + down, beyond, beyond + right), []
    for level in range(levels):
        spread = 1 if step == 2 else 2**level
        mean, details = taken_apart(mean, bank, spread, step)
        chosen.append((spread, tuple(strongest(band) for band in details)))
    mean = summed(mean.split(1, 1)) / luma.shape[1]
    for spread, (horizontal, vertical, diagonal) in reversed(chosen):
        mean = put_together(mean, (horizontal, vertical, diagonal), bank, spread, step)
    return mean[..., beyond : beyond + height, beyond : beyond + width]


def reach(wavelet: str, levels: int, step: int) -> int:
    """How many pixels away something can matter: there through the filters, two coefficients to the side, and back."""
    return len(filters(wavelet).low) * (2**levels - 1) + 2 * step**levels


class Dwt(nn.Module):
    """Discrete wavelet transform: details by the largest of their neighbourhood, with a vote; mean at the base.

    Li, Manjunath, Mitra, Multisensor image fusion using the wavelet transform, GMIP 57(3), 1995. `wavelet`:
    a name that PyWavelets knows. Shifting the picture changes the result; `Swt` does not have that.
    """

    channels, luma = 1, "full"

    def __init__(self, wavelet: str = "db4", levels: int = 4) -> None:
        super().__init__()
        self.wavelet, self.levels = wavelet, levels
        self.multiple = 2**levels  # tiles must begin where the coarsest coefficients lie
        self.margin = reach(wavelet, levels, 2)

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; may overshoot the range."""
        return fused(torch.cat(sources, 1), self.wavelet, self.levels, 2)


class Swt(nn.Module):
    """Stationary wavelet transform: as `Dwt`, without leaving out coefficients, so that shifts do not matter.

    Rockinger, Image sequence fusion using a shift-invariant wavelet transform, ICIP 1997.
    """

    channels, luma = 1, "full"

    def __init__(self, wavelet: str = "bior2.2", levels: int = 4) -> None:
        super().__init__()
        self.wavelet, self.levels = wavelet, levels
        self.margin = reach(wavelet, levels, 1)

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Fused luma of luma in [0, 1]; may overshoot the range."""
        return fused(torch.cat(sources, 1), self.wavelet, self.levels, 1)
