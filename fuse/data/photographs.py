"""Multi-focus pairs made from photographs and masks or depth maps, as the field's papers make theirs, and better.

A recipe takes a sharp photograph `(3, h, w)` and its guide `(h, w)`, both in [0, 1], and a generator; it returns near-
and far-focused picture, truth and focus map. The guide is a mask (1 in front) or a depth map (1 nearest).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.damage import Damage, applied
from fuse.data.optics import Scene, spread
from fuse.data.own import own
from fuse.data.sample import Sample
from fuse.data.scenes import GAMMA, seeded
from fuse.data.synthetic import said, stored
from fuse.errors import InputError

Photo = Float[Tensor, "3 h w"]
Guide = Float[Tensor, "h w"]


def matte(photo: Photo, guide: Guide, generator: torch.Generator, sigma: float = 1.0) -> Scene:
    """MFIF-GAN's alpha matte: near = m I + (1 - m) B(I), far = B(m) B(I) + (1 - B(m)) I, B a Gaussian of `sigma`."""
    mask, blurred = crisp(guide), gaussian(photo, sigma)
    soft = gaussian(mask[None], sigma)
    near, far = mask * photo + (1 - mask) * blurred, soft * blurred + (1 - soft) * photo
    return Scene((near, far), photo, torch.stack([mask, 1 - mask]))


def objects(photo: Photo, guide: Guide, generator: torch.Generator) -> Scene:
    """GACN's: B a Gaussian of deviation 2 in a window of radius 1 to 7; the far mask a Gaussian of deviation 8.

    near = m I + (1 - m) B(I), far = (1 - M) I + M B(I). Shifts and noise, which its training adds, are damage.
    """
    reach = int(torch.randint(1, 8, (), generator=generator))
    mask, blurred = crisp(guide), gaussian(photo, 2.0, reach)
    soft = gaussian(mask[None], 8.0, 45)
    near, far = mask * photo + (1 - mask) * blurred, (1 - soft) * photo + soft * blurred
    return Scene((near, far), photo, torch.stack([mask, 1 - mask]))


def by_depth(photo: Photo, guide: Guide, generator: torch.Generator, largest: float = 4.0) -> Scene:
    """IFCNN's: at a random depth the photograph is parted; near is blurred behind it, far before it.

    Gaussian of a deviation drawn up to `largest` pixels: the paper's rule for it contradicts the library it cites.
    """
    depth, sigma = torch.rand(2, generator=generator).tolist()
    mask = (guide > torch.quantile(guide.flatten()[::7], 0.2 + 0.6 * depth)).float()
    blurred = gaussian(photo, 0.5 + (largest - 0.5) * sigma)
    near, far = mask * photo + (1 - mask) * blurred, (1 - mask) * photo + mask * blurred
    return Scene((near, far), photo, torch.stack([mask, 1 - mask]))


def lens(photo: Photo, guide: Guide, generator: torch.Generator, largest: float = 5.0) -> Scene:
    """The optics of a lens: discs of up to `largest` pixels, in linear light, the blurred front spilling over the back.

    near = m I + (1 - m) D(I), far = D(m I) + (1 - D(m)) I; what lies behind the front is taken from the photograph.
    """
    radius = 1.0 + (largest - 1.0) * torch.rand((), generator=generator).item()
    mask, light = crisp(guide), photo**GAMMA
    near = mask * light + (1 - mask) * spread(light, radius)
    far = spread(mask * light, radius) + (1 - spread(mask[None], radius)) * light
    pictures = tuple(x.clamp(0, 1) ** (1 / GAMMA) for x in (near, far))
    return Scene(pictures, photo, torch.stack([mask, 1 - mask]))


def crisp(guide: Guide) -> Guide:
    """1 where the mask is above a half, or above 0 where it never is (class labels)."""
    return (guide > (0.5 if guide.max() > 0.5 else 0)).float()


def gaussian(picture: Float[Tensor, "c h w"], sigma: float, reach: int | None = None) -> Float[Tensor, "c h w"]:
    """Gaussian blur, window of `reach` (by default three deviations) to each side; borders repeat the last pixel."""
    reach = max(1, round(3 * sigma)) if reach is None else reach
    line = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    padded = F.pad(picture[:, None], [reach] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))[:, 0]


class Photographs:
    """Pairs made from a folder of photographs and their masks or depth maps, `repeats` of each, with the truth.

    The folder is searched as `fuse.data.own.own` does, for the roles `photo` and `guide`. Pair k of a photograph is the
    same for ever, given `seed`; splits are by photograph. `damage` as in `fuse.data.synthetic.Synthetic`.
    """

    reference, task, roles = "reference", "focus", ("near", "far")

    def __init__(
        self,
        path: str,
        recipe: Callable[..., Scene] = lens,
        patterns: Mapping[str, str] | None = None,
        repeats: int = 1,
        seed: int = 0,
        splits: Mapping[str, Sequence[str | int] | str] | None = None,
        damage: Damage | None = None,
        name: str = "photographs",
    ) -> None:
        """
        Raises:
            InputError: as `own`, or no repeats.
        """
        if repeats < 1:
            raise InputError(f"data.repeats={repeats}: must be at least 1")
        self.base = own(path, ("photo", "guide"), patterns, self.task, splits, None, name)
        self.recipe, self.repeats, self.seed, self.name = recipe, repeats, seed, name
        self.damage = dict(damage or {})

    def stems(self, split: str) -> list[str]:
        """Names of the pairs of a split.

        Raises:
            InputError: unknown split, or nothing in it.
        """
        return [f"{stem}-{k}" for stem in self.base.stems(split) for k in range(self.repeats)]

    def samples(self, split: str) -> Iterator[Sample]:
        """Pairs as 8 bit RGB.

        Raises:
            InputError: as `stems` and `sample`.
        """
        yield from map(self.sample, self.stems(split))

    def sample(self, stem: str) -> Sample:
        """The pair of that name.

        Raises:
            InputError: an unreadable picture, or a guide of another size than its photograph.
        """
        whole = self.base.sample(stem.rpartition("-")[0])
        photo, guide = (x[0].float() / torch.iinfo(x.dtype).max for x in whole.sources)
        if photo.shape[-2:] != guide.shape[-2:]:
            raise InputError(f"{whole.names[0]}: the guide is of another size than its photograph")
        made = self.recipe(photo.expand(3, -1, -1), guide.amax(0), seeded(self.seed, stem))
        sources = applied(made.sources, self.roles, self.damage, self.seed, stem)
        return Sample(tuple(map(stored, sources)), stored(made.reference), (stem,), self.roles)

    def identity(self, split: str) -> str:
        """Twelve hex digits over the files of a split and the recipe."""
        harm = {role: [said(x) for x in harms] for role, harms in self.damage.items()}
        told = f"{self.base.identity(split)}/{said(self.recipe)}/{self.repeats}/{self.seed}/{harm}"
        return hashlib.sha256(told.encode()).hexdigest()[:12]
