"""Whole pictures for training, for what only a whole picture shows: its mean, its correlation with another."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data import color
from fuse.data.patches import stored
from fuse.data.sample import Sample
from fuse.errors import InputError

LEAST = 96  # pixels per side that four scales of windows need
Pictures = list[Float[Tensor, "1 c _ _"]]


class Whole:
    """Scenes drawn alike, each at most `size` pixels wide and high: cut at random, or reduced, every other time.

    Sides are multiples of `multiple`; the others of a `batch` are cut and resampled to the frame of the first. Scenes
    are mirrored at random, reduced by up to a third more, sources change places. `exposures` is the share of sources
    that are exposed anew (`exposed`), `moved` how many pixels one source is shifted at most against the other, which
    every other scene is. With `colours` the sample has the chroma of its sources too, the paler the darker a source was
    exposed. What a step draws depends on seed and step alone.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        size: int = 352,
        batch: int = 1,
        multiple: int = 32,
        exposures: float = 0.5,
        moved: int = 0,
        colours: bool = False,
        channels: int = 1,
        luma: color.Luma = "full",
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            InputError: no scenes, scenes too small, a fuser that wants colour, or an unusable setting.
        """
        if size < LEAST or min(batch, multiple) < 1 or not 0 <= exposures <= 1 or moved < 0:
            raise InputError(
                f"model.patches: size={size}, batch={batch}, multiple={multiple}, exposures={exposures}, "
                f"moved={moved}; size is at least {LEAST}, batch and multiple at least 1, exposures between 0 and 1, "
                "moved at least 0"
            )
        if channels != 1:
            raise InputError("model.patches: whole pictures are of luma only; take fuse.data.patches.Patches for RGB")
        self.size, self.batch, self.multiple = size, batch, multiple
        self.exposures, self.moved = exposures, moved
        self.device, self.scenes, self.roles = torch.device(device), list[list[Tensor]](), tuple[str, ...]()
        for sample in samples:
            if len({x.shape[-2:] for x in sample.sources}) > 1 or min(sample.sources[0].shape[-2:]) < LEAST + 2 * moved:
                raise InputError(f"{sample.names[0]}: sources must be of one size, of {LEAST + 2 * moved} at least")
            planes = [stored(x, 1, luma) for x in sample.sources]
            if colours:
                planes = [torch.cat([y, hues(x, luma)], 1) for y, x in zip(planes, sample.sources, strict=True)]
            self.scenes.append([x.to(self.device) for x in planes])
            self.roles = sample.roles
        if not self.scenes:
            raise InputError("there are no pictures to train on; choose another split or data set")
        self.windows = len(self.scenes)

    def __call__(self, step: int, seed: int, generator: torch.Generator) -> Sample:
        """Sources `(batch, 1, h, w)` in [0, 1]."""
        own = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator, device=self.device)))
        scenes: list[Pictures] = []
        for _ in range(self.batch):
            whole = [x.float() / 255 for x in self.scenes[drawn(self.windows, own)]]
            order = torch.randperm(len(whole), generator=own).tolist()
            frame = (scenes[0][0].shape[-2], scenes[0][0].shape[-1]) if scenes else None
            pictures = [relit(x, own) if chance(own) < self.exposures else x for x in self.framed(whole, own, frame)]
            scenes.append([pictures[i] for i in order])
        sources = [torch.cat(each) for each in zip(*scenes, strict=True)]
        chroma = tuple(x[:, 1:] for x in sources if x.shape[1] > 1)
        return Sample(tuple(x[:, :1] for x in sources), None, (), self.roles, chroma=chroma)

    def framed(self, pictures: Pictures, generator: torch.Generator, frame: tuple[int, int] | None = None) -> Pictures:
        """The same part of all sources, of sides that fit or of those of the frame."""
        if self.moved and drawn(2, generator):
            pictures = shifted(pictures, self.moved, generator)
        sides = (pictures[0].shape[-2], pictures[0].shape[-1])
        if frame is not None:
            scale = min(side / wanted for side, wanted in zip(sides, frame, strict=True))
            pictures = part(pictures, (int(frame[0] * scale), int(frame[1] * scale)), generator)
            reduced = [F.interpolate(x, frame, mode="area") for x in pictures]
        else:
            if drawn(2, generator):
                sides = (min(sides[0], self.size), min(sides[1], self.size))
                pictures = part(pictures, sides, generator)
            scale = min(1, self.size / max(sides)) * (1 - 0.3 * chance(generator))
            fitting = [max(LEAST, int(side * scale)) // self.multiple * self.multiple for side in sides]
            reduced = [F.interpolate(x, fitting, mode="area") for x in pictures]
        return [x.flip(-1) for x in reduced] if drawn(2, generator) else reduced


def part(pictures: Pictures, sides: tuple[int, int], generator: torch.Generator) -> Pictures:
    """The same window of those sides, anywhere."""
    height, width = pictures[0].shape[-2:]
    top, left = drawn(height - sides[0] + 1, generator), drawn(width - sides[1] + 1, generator)
    return [x[..., top : top + sides[0], left : left + sides[1]] for x in pictures]


def drawn(count: int, generator: torch.Generator) -> int:
    """One of 0 .. count - 1."""
    return int(torch.randint(count, (), generator=generator))


def chance(generator: torch.Generator) -> float:
    """Uniform in [0, 1)."""
    return float(torch.rand((), generator=generator))


def shifted(pictures: Pictures, most: int, generator: torch.Generator) -> Pictures:
    """What all still show when the first is moved by up to `most` pixels along both axes."""
    dy, dx = (drawn(2 * most + 1, generator) for _ in range(2))
    height, width = (side - 2 * most for side in pictures[0].shape[-2:])
    first, *others = pictures
    middle = [x[..., most : most + height, most : most + width] for x in others]
    return [first[..., dy : dy + height, dx : dx + width], *middle]


def hues(picture: Tensor, luma: color.Luma) -> Tensor:
    """Chroma `(1, 2, h, w)` of a stored picture `(1, c, h, w)`, 8 bit: 128 where it is grey."""
    chroma = color.split(picture.float() / (65535 if picture.dtype == torch.uint16 else 255), luma)[1]
    return (chroma * 255).round().clamp(0, 255).to(torch.uint8)


def relit(picture: Float[Tensor, "1 c h w"], generator: torch.Generator) -> Float[Tensor, "1 c h w"]:
    """`exposed` luma, with its chroma, if there is any: the paler the darker that became."""
    luma, chroma = picture[:, :1], picture[:, 1:]
    made = exposed(luma, generator)
    share = (made / luma.clamp_min(1 / 255)).clamp_max(1)
    return torch.cat([made, color.GREY + share * (chroma - color.GREY)], 1)


def exposed(picture: Float[Tensor, "1 1 h w"], generator: torch.Generator) -> Float[Tensor, "1 1 h w"]:
    """g k(x)^p + o, rounded to 8 bit: as another camera, hour or gain would have it; brighter stays brighter.

    p from 0.7 to 1.4 and g from 0.15 to 1, evenly in their logarithms; o, one time in four, up to 1 - g. Every other
    time it becomes night: k(x) = c x + (1 - c) max(x - t, 0) / (1 - t), where t is what 50 to 97 % of the picture do
    not exceed, and c from 0.1 to 0.5; only lamps and what is warm stay bright. Else k(x) = x.
    """
    power = 2 ** (chance(generator) - 0.5)
    gain = 0.15 ** chance(generator)
    offset = (1 - gain) * chance(generator) if chance(generator) < 0.25 else 0.0
    if chance(generator) < 0.5:
        knee = float(picture.quantile(0.5 + 0.47 * chance(generator))) * 0.999
        slope = 0.1 * 5 ** chance(generator)
        picture = slope * picture + (1 - slope) * (picture - knee).relu() / (1 - knee)
    made = gain * picture.clamp_min(1e-4) ** power + offset
    return (made * 255).round().clamp(0, 255) / 255
