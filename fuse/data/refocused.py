"""Patches of multi-focus pairs, and pairs made anew from their truth: other objects, other blur, other faults."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data import color
from fuse.data.damage import compressed, misaligned, noisy
from fuse.data.optics import spread
from fuse.data.patches import Patches, stored
from fuse.data.photographs import gaussian
from fuse.data.sample import Sample
from fuse.data.scenes import GAMMA
from fuse.errors import InputError
from fuse.metrics.windows import gaussian as taps
from fuse.metrics.windows import smooth

# Smoothing of who is closer to the truth: next to none, near edges, and where little is to be seen.
CLOSE, FINE, COARSE = taps(3, 0.5), taps(7, 1.0), taps(49, 8.0)

Plane = Float[Tensor, "1 s s"]


class Refocused:
    """Batches of square patches: some as they are, a share of them made anew, and now and then stacks of three.

    Made anew: the sharp object of one patch is laid before the truth of another by its own focus map, one time in five
    before thin curves instead, so that edges are those of objects, and both are blurred by what `pair` draws. Every
    `stacks`-th batch (0: none) is three sources of three layers each. The outer `border` pixels of all pictures are cut
    off before, since data sets have faults there, or fewer where a patch would no longer fit. Sources change places at
    random; what a step draws depends on the seed and the step alone.

    Pairs whose truth was itself put together from the sources in blocks of 8x8 pixels, so that `in_blocks` exceeds
    `blocks`, are left out: the second half of MFI-WHU, pictures 63 and up, in which the truth is blurred or cut off
    along the edges of objects. An eighth is chance, JPEG can make it a third; 1 takes every pair.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        size: int,
        batch: int,
        share: float = 0.5,
        stacks: int = 8,
        border: int = 8,
        largest: float = 7.0,
        blocks: float = 0.45,
        channels: int = 1,
        luma: color.Luma = "full",
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            InputError: a share that is none, a fuser that wants colour, data that are no pairs with a truth; and as
                `Patches`.
        """
        if not 0 <= share <= 1 or min(stacks, border) < 0 or largest < 1:
            raise InputError(
                f"model.patches: share={share}, stacks={stacks}, border={border}, largest={largest}; share is between "
                "0 and 1, stacks and border are at least 0, largest at least 1"
            )
        if channels != 1:
            raise InputError("model.patches: pairs are made anew of luma only; take fuse.data.patches.Patches for RGB")
        self.share, self.stacks, self.largest = share, stacks, largest
        whole = (sample for sample in samples if in_blocks(sample, luma) <= blocks)
        inner = (mapped(sample, least(sample, border, size), luma) for sample in whole)
        self.patches = Patches(inner, size, batch, channels=1, luma=luma, device=device)
        self.size, self.batch, self.windows = size, batch, self.patches.windows

    def __call__(self, step: int, seed: int, generator: torch.Generator) -> Sample:
        """Patches `(batch, 1, size, size)` in [0, 1] for one step."""
        drawn = self.patches(step, seed, generator)
        (near, far, mask), truth = drawn.sources, drawn.role("reference")
        own = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator, device=truth.device)))
        stack = self.stacks > 0 and (step + 1) % self.stacks == 0
        made: list[tuple[Plane, ...]] = []
        for i in range(self.batch):
            j, k = (int(x) for x in torch.randint(self.batch, (2,), generator=own))
            front = mask[j] if torch.rand((), generator=own) < 0.8 else curves(self.size, own).to(truth.device)
            front = (front > 0.5).float() if torch.rand((), generator=own) < 0.5 else 1 - (front > 0.5).float()
            if stack:
                made.append(three(truth[[j, k, i]], front, (mask[k] > 0.5).float(), own))
            elif i < round(self.share * self.batch):
                made.append(pair(truth[j], truth[i], front, own, self.largest))
            else:
                made.append((near[i], far[i], truth[i]))
        *sources, reference = (torch.stack(planes) for planes in zip(*made, strict=True))
        order = torch.rand(self.batch, len(sources), generator=own).argsort(1).to(truth.device)
        shuffled = torch.stack(sources, 1)[torch.arange(self.batch, device=truth.device)[:, None], order]
        roles = ("near", "middle", "far") if stack else ("near", "far")
        return Sample(tuple(shuffled.unbind(1)), reference, (), roles)


def least(sample: Sample, border: int, size: int) -> int:
    """`border`, or what can be cut off the pictures for a patch to fit in."""
    return max(0, min(border, (min(sample.sources[0].shape[-2:]) - size) // 2))


def planes(sample: Sample, luma: color.Luma) -> list[Tensor]:
    """Near, far and truth as luma of 8 bit.

    Raises:
        InputError: not two sources, or no truth.
    """
    if len(sample.sources) != 2 or sample.reference is None:
        raise InputError(
            "pairs are made anew from two sources and their all-in-focus truth, which these data lack; choose other "
            "data, as data=mfi_whu, or model.patches._target_=fuse.data.patches.Patches"
        )
    return [stored(x, 1, luma) for x in (*sample.sources, sample.reference)]


def in_blocks(sample: Sample, luma: color.Luma) -> float:
    """Share of the changes from one source to the other in the truth that lie on lines of the 8x8 grid, 0 to 1.

    Counted are changes between neighbours of which each is clearly (by 30 squared grey levels, slightly smoothed)
    closer to one source. 0 where there are fewer than 50.
    """
    near, far, truth = (x.float() for x in planes(sample, luma))
    apart = (near - truth).square() - (far - truth).square()
    apart = smooth(F.pad(apart, (1,) * 4, mode="replicate"), CLOSE)[0, 0]
    sure = apart.abs() > 30
    found = total = 0
    for first, sign in ((sure, apart < 0), (sure.T, apart.T < 0)):
        changes = ((sign[:, 1:] != sign[:, :-1]) & first[:, 1:] & first[:, :-1])[8:-8, 7:-8]
        found += int(changes[:, ::8].sum())
        total += int(changes.sum())
    return found / total if total >= 50 else 0.0


def mapped(sample: Sample, border: int, luma: color.Luma) -> Sample:
    """The pair without its border, and its focus map as a third picture: 255 where near is the closer to the truth.

    Raises:
        InputError: not two sources, or no truth.
    """
    pictures = planes(sample, luma)
    height, width = pictures[0].shape[-2:]
    cut = [x[..., border : height - border, border : width - border] for x in pictures]
    near, far, truth = (x.float() for x in cut)
    apart = (near - truth).square() - (far - truth).square()
    fine, coarse = (smooth(F.pad(apart, (len(t) // 2,) * 4, mode="replicate"), t) for t in (FINE, COARSE))
    focus = (fine + 0.1 * coarse < 0).to(torch.uint8) * 255
    return Sample((cut[0], cut[1], focus), cut[2], sample.names, (*sample.roles, "focus"))


def pair(
    front: Plane, back: Plane, mask: Plane, generator: torch.Generator, largest: float
) -> tuple[Plane, Plane, Plane]:
    """Near- and far-focused picture and the truth of an object before a background, both sharp, in [0, 1].

    Half of the time the truth is blurred by a Gaussian and cut along the mask, as data sets are made; half of the time
    a lens sees it, `fuse.data.optics.focus_pair`, with discs of up to `largest` pixels. Then, by chance, the far
    picture breathes and is shifted by up to 2 pixels, and both get noise or go through JPEG; where they do, the truth
    becomes the sharp source as it is.
    """
    chance = torch.rand(7, generator=generator).tolist()
    truth = mask * front + (1 - mask) * back
    if chance[0] < 0.5:
        sigma = 0.8 + 1.7 * chance[1]
        blurred = gaussian(truth, sigma, 3 if chance[2] < 0.5 else None)
        near, far = mask * truth + (1 - mask) * blurred, (1 - mask) * truth + mask * blurred
    else:
        radius = 1 + (largest - 1) * chance[1]
        light, object_ = back**GAMMA, mask * front**GAMMA
        near = (object_ + (1 - mask) * spread(light, radius)).clamp(0, 1) ** (1 / GAMMA)
        far = (spread(object_, radius) + (1 - spread(mask, radius)) * light).clamp(0, 1) ** (1 / GAMMA)
    if chance[3] < 0.4:
        far = misaligned(far, generator, shift=2.0, turn=0.3)
    if chance[4] < 0.3:
        near, far = (noisy(x, generator, read=0.02 * chance[5]) for x in (near, far))
    if chance[6] < 0.2:
        near, far = (compressed(x, generator, quality=90) for x in (near, far))
    if chance[3] < 0.4 or chance[4] < 0.3 or chance[6] < 0.2:
        truth = mask * near + (1 - mask) * far
    return near, far, truth


def three(
    pictures: Float[Tensor, "3 1 s s"], front: Plane, middle: Plane, generator: torch.Generator
) -> tuple[Plane, Plane, Plane, Plane]:
    """Three sources of three layers, each sharp in one and blurred by distance in the others, and the truth."""
    middle = middle * (1 - front)
    layers = torch.stack([front, middle, 1 - front - middle])
    truth = (layers * pictures).sum(0)
    sigma = 0.8 + 1.2 * torch.rand((), generator=generator).item()
    blurs = [truth, gaussian(truth, sigma), gaussian(truth, 2 * sigma)]
    sources = [sum_of(layers, [blurs[abs(layer - focus)] for layer in range(3)]) for focus in range(3)]
    return sources[0], sources[1], sources[2], truth


def sum_of(layers: Float[Tensor, "3 1 s s"], pictures: list[Plane]) -> Plane:
    """Every picture where its layer is."""
    return (layers * torch.stack(pictures)).sum(0)


def curves(size: int, generator: torch.Generator) -> Plane:
    """Mask of thin curves: where a smooth random field is close to its mean."""
    coarse = torch.randn(1, 1, 5, 5, generator=generator)
    smoothed = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[0]
    width = 0.03 + 0.12 * torch.rand((), generator=generator).item()
    return (smoothed.abs() < width).float()
