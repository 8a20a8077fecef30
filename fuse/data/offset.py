"""How far two pictures of one scene are shifted against one another, as a whole and block by block.

Phase correlation of gradients: Kuglin and Hines 1975, on the squared complex gradient (gx + i gy)^2 / |g|, whose
magnitude is that of the gradient and whose angle is the same for an edge from dark to bright and from bright to dark,
as infrared and visible pictures, CT and MRI need it. Half of the whitening (the spectrum divided by the root of its
magnitude) keeps noise from deciding.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

LARGEST = 1024  # pixels: longer sides are averaged down first
REACH = 4  # offsets up to a quarter of the sides are looked for
AROUND = 4  # pixels about a peak that belong to it
TRUSTED = 0.1  # confidence from which an offset is worth a look
BLOCK = (48, 160)  # pixels: smallest and largest side of a block, else a quarter of the shorter side


class Offset(NamedTuple):
    """Second picture against first: what is at (x, y) in the first is at (x + dx, y + dy) in the second, pixels.

    dx and dy are medians over the blocks that are trusted, if there are four of them, else those of the whole.
    `confidence`: 1 - (next peak / peak) of the whole, from 0 (another offset is as good) to 1.
    `spread`: distance from (dx, dy) that three of four trusted blocks keep: how far this is from a mere shift.
    `map`: dx, dy and confidence of every block `(rows, columns, 3)`; `block`: its side; blocks overlap by half.
    """

    dx: float
    dy: float
    confidence: float
    spread: float
    map: Float[Tensor, "rows columns 3"]
    block: int


def between(first: Float[Tensor, "h w"], second: Float[Tensor, "h w"]) -> Offset:
    """The offset of two grey pictures of equal size, in any unit."""
    shrink = -(-max(first.shape) // LARGEST)
    small = [F.avg_pool2d(x.float()[None, None], shrink)[0, 0] if shrink > 1 else x.float() for x in (first, second)]
    a, b = (edges(x) for x in small)
    height, width = a.shape
    dx, dy, confidence = (x[0] for x in peaks(correlation(a[None], b[None]), height // REACH, width // REACH))
    block = min(max(min(height, width) // 4, BLOCK[0]), BLOCK[1], height, width)
    local = blocks(a, torch.roll(b, (-round(dy.item()), -round(dx.item())), (0, 1)), block)
    local[..., 0] += round(dx.item())
    local[..., 1] += round(dy.item())
    good = local[local[..., 2] >= TRUSTED][:, :2]
    center = good.median(0).values if len(good) >= 4 else torch.stack([dx, dy])
    spread = torch.hypot(*(good - center).T).quantile(0.75).item() if len(good) else 0.0
    local[..., :2] *= shrink
    x, y = (center * shrink).tolist()
    return Offset(x, y, confidence.item(), spread * shrink, local, block * shrink)


def edges(grey: Float[Tensor, "h w"]) -> Complex[Tensor, "h-2 w-2"]:
    """(gx + i gy)^2 / |g| by central differences of the picture smoothed by the binomial 1 4 6 4 1, no border."""
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(grey[None, None], [2, 2, 2, 2], mode="replicate")
    smooth = F.conv2d(padded, (line[:, None] * line)[None, None])[0, 0]
    gradient = torch.complex(smooth[1:-1, 2:] - smooth[1:-1, :-2], smooth[2:, 1:-1] - smooth[:-2, 1:-1])
    return gradient**2 / gradient.abs().clamp_min(1e-6)


def correlation(a: Complex[Tensor, "n h w"], b: Complex[Tensor, "n h w"]) -> Float[Tensor, "n _ _"]:
    """Half-whitened correlation of windowed fields; the value at (dy, dx), negative ones counted from the end, is for
    that offset. Padded so that offsets up to a quarter of the sides do not wrap around.
    """
    height, width = a.shape[1:]
    window = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(width, periodic=False)
    shape = quick(height + height // REACH), quick(width + width // REACH)
    cross = torch.fft.fft2(a * window, s=shape).conj() * torch.fft.fft2(b * window, s=shape)
    size = cross.abs()
    floor = (1e-9 * size.amax((1, 2), keepdim=True)).clamp_min(torch.finfo(size.dtype).tiny)
    return torch.fft.ifft2(cross / size.clamp_min(floor).sqrt()).real


def quick(least: int) -> int:
    """The smallest length from `least` on that has no prime factors but 2, 3 and 5, for which the transform is fast."""
    rest = least
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return least if rest == 1 else quick(least + 1)


def peaks(surface: Float[Tensor, "n h w"], up: int, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dy and confidence of the highest point within `across` and `up` pixels, to a part of a pixel; each `(n,)`.

    The part is that of the parabola through the peak and its neighbours. A flat surface has the offset 0 and the
    confidence 0.
    """
    near = torch.cat([surface[:, -up:], surface[:, : up + 1]], 1)
    near = torch.cat([near[:, :, -across:], near[:, :, : across + 1]], 2)
    columns = near.shape[2]
    height, place = near.flatten(1).max(1)
    row, column = place // columns, place % columns
    item = torch.arange(len(near))
    y, x = torch.arange(near.shape[1])[None, :, None], torch.arange(columns)[None, None]
    own = ((y - row[:, None, None]).abs() <= AROUND) & ((x - column[:, None, None]).abs() <= AROUND)
    second = near.masked_fill(own, -torch.inf).flatten(1).amax(1).clamp_min(0)
    flat = height <= 0
    confidence = torch.where(flat, 0, 1 - second / height.clamp_min(torch.finfo(height.dtype).tiny)).clamp(0, 1)

    def vertex(before: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * height + after
        return torch.where(bend < 0, 0.5 * (before - after) / bend.clamp_max(-1e-30), 0.0).clamp(-0.5, 0.5)

    left, right = near[item, row, (column - 1).clamp_min(0)], near[item, row, (column + 1).clamp_max(columns - 1)]
    above, below = (
        near[item, (row - 1).clamp_min(0), column],
        near[item, (row + 1).clamp_max(near.shape[1] - 1), column],
    )
    dx, dy = column - across + vertex(left, right), row - up + vertex(above, below)
    return torch.where(flat, 0, dx), torch.where(flat, 0, dy), confidence


def blocks(a: Complex[Tensor, "h w"], b: Complex[Tensor, "h w"], side: int) -> Float[Tensor, "rows columns 3"]:
    """dx, dy and confidence of square blocks, half a block apart, within a quarter of a block."""
    step = side // 2
    cut = [x.unfold(0, side, step).unfold(1, side, step) for x in (a, b)]
    rows, columns = cut[0].shape[:2]
    first, second = (x.reshape(-1, side, side) for x in cut)
    reach = max(side // REACH, 1)
    found = [
        torch.stack(peaks(correlation(f, s), reach, reach), -1)
        for f, s in zip(first.split(16), second.split(16), strict=True)
    ]
    return torch.cat(found).view(rows, columns, 3)


def picture(grey: Float[Tensor, "h w"], offset: Offset) -> Tensor:
    """The map over the dimmed first picture (0..255), `(3, h, w)` uint8: green where blocks are in place, yellow at 2
    pixels, red from 4 on; blocks that are not trusted stay grey.
    """
    shown = (grey / 2 + 32).clamp(0, 255).expand(3, -1, -1).clone()
    length = torch.hypot(offset.map[..., 0], offset.map[..., 1])
    colour = torch.stack([length / 2, 2 - length / 2, torch.zeros_like(length)]).clamp(0, 1) * 255
    step = offset.block // 2
    for row, column in (offset.map[..., 2] >= TRUSTED).nonzero().tolist():
        top, left = row * step + step // 2, column * step + step // 2
        tile = shown[:, top : top + step, left : left + step]
        tile += 0.45 * (colour[:, row, column].view(3, 1, 1) - tile)
    return shown.round().to(torch.uint8)
