"""How much each source counts at every place: weights `(n, b, 1, h, w)` of a sample, or `(n, b, 1, 1, 1)` per picture.

Terms take one of these functions as `importance`; weights sum to 1 over the sources where not said otherwise, and no
gradient flows through them. In a recipe: `importance: {_target_: fuse.losses.importance.NAME, _partial_: true}`.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.gradient import Operator, response
from fuse.losses.terms import decision

Features = Callable[[Tensor], Mapping[str, Tensor]]  # see `fuse/losses/networks.py`
Weights = Float[Tensor, "n b c y x"]


def equal(sample: Sample) -> Weights:
    """1 / n everywhere."""
    first = sample.sources[0]
    return first.new_full((len(sample.sources), first.shape[0], 1, 1, 1), 1 / len(sample.sources))


def fixed(sample: Sample, shares: Mapping[str, float]) -> Weights:
    """One number per role, taken as given: they need not sum to 1.

    Raises:
        InputError: the numbers are not one for each source.
    """
    if set(shares) != set(sample.roles):
        raise InputError(f"importance.shares names {', '.join(shares)}, but the sources are {', '.join(sample.roles)}")
    first = sample.sources[0]
    values = first.new_tensor([shares[role] for role in sample.roles])
    return values.view(-1, 1, 1, 1, 1).expand(-1, first.shape[0], -1, -1, -1)


def repeated_blur(sample: Sample) -> Weights:
    """1 for the source that a repeated blur changes most, else 0; ties go to the first (MFF-GAN's decision, ZMFF)."""
    return decision(sample.sources)


def maximum(sample: Sample, operator: Operator = "sobel") -> Weights:
    """1 for the source whose gradient is the largest in magnitude at that pixel, else 0; ties go to the first."""
    with torch.no_grad():
        strength = torch.stack([response(x, operator).abs().sum(1, keepdim=True) for x in sample.sources])
        return one_hot(strength)


def gradient_share(sample: Sample, operator: Operator = "sobel") -> Weights:
    """Share of each picture in the mean gradient magnitude of all; equal where no picture has any (SwinFusion)."""
    with torch.no_grad():
        strength = torch.stack([response(x, operator).abs().mean((1, 2, 3), keepdim=True) for x in sample.sources])
        return shares(strength)


def histogram_contrast(sample: Sample, span: Sequence[float] = (0.0, 1.0)) -> Weights:
    """1/n + S_i - mean S, with S the visual saliency by histogram contrast; 0.5 + 0.5 (S_1 - S_2) for two sources.

    `span`: the recipe's range, cut into 256 levels. TarDAL v0, UMF-CMGR.
    """
    with torch.no_grad():
        maps = torch.stack([saliency(x, span) for x in sample.sources])
        return 1 / len(maps) + maps - maps.mean(0, keepdim=True)


def saliency(picture: Float[Tensor, "b c h w"], span: Sequence[float] = (0.0, 1.0)) -> Float[Tensor, "b 1 h w"]:
    """S(k) = sum_j hist(j) |k - j| of each pixel's level k, divided by the largest S of the 256 levels: 0..1.

    Rare levels far from the others are salient: hot targets in infrared. Channels are averaged first.
    """
    low, high = span
    with torch.no_grad():
        level = ((picture.mean(1) - low) / (high - low) * 255).round().clamp(0, 255).long().flatten(1)
        counts = picture.new_zeros(len(level), 256).scatter_add_(1, level, picture.new_ones(level.shape))
        levels = torch.arange(256, dtype=picture.dtype, device=picture.device)
        contrast = counts @ (levels[:, None] - levels).abs()
        contrast = contrast / contrast.amax(1, keepdim=True)
        return contrast.gather(1, level).view(picture[:, :1].shape)


def information(
    sample: Sample, features: Features, temperature: float, size: int | None = 224, operator: Operator = "ring"
) -> Weights:
    """soft-max over the sources of g_i / temperature, per picture: U2Fusion's measure of what a source has to say.

    g = mean over the layers of mean (operator(features))^2, of pictures resized to `size` x `size` (nearest; None: as
    they are). U2Fusion: VGG-16, last layer of each block, temperature 3200 (infrared and visible), 3500 (exposures),
    100 (focus). The unit of g is that of squared features: another network, or a pyramid, wants its own temperature.
    """
    with torch.no_grad():
        gains = []
        for x in sample.sources:
            seen = x if size is None else F.interpolate(x, (size, size), mode="nearest")
            parts = [response(layer, operator).square().mean((1, 2, 3)) for layer in features(seen).values()]
            gains.append(torch.stack(parts).mean(0))
        return (torch.stack(gains) / temperature).softmax(0)[..., None, None, None]


def activity(sample: Sample, features: Features, window: int = 7) -> Weights:
    """1 for the source whose features are most active around a pixel, else 0; ties go to the first.

    Activity: sum over the channels of a layer, brought to the size of the picture (bilinear), mean over the layers,
    sum over `window` x `window` pixels. MUFusion: VGG-19, 7 (infrared, medical) or 19 (focus).

    Raises:
        InputError: an even window.
    """
    if window % 2 == 0:
        raise InputError(f"importance.window={window}: must be odd, to have a centre")
    with torch.no_grad():
        maps = []
        for x in sample.sources:
            layers = [layer.sum(1, keepdim=True) for layer in features(x).values()]
            grown = [F.interpolate(layer, x.shape[-2:], mode="bilinear") for layer in layers]
            mean = torch.stack(grown).mean(0)
            maps.append(F.avg_pool2d(mean, window, 1, window // 2))
        return one_hot(torch.stack(maps))


def told(sample: Sample, maps: Sequence[str]) -> Weights:
    """Maps `(b, 1, h, w)` that the fuser tells inside, one name per source, as they are (attention).

    No gradient flows into the maps: they could otherwise make every loss 0 by being 0.

    Raises:
        InputError: the fuser tells no such map, or not one per source is named.
    """
    if len(maps) != len(sample.sources):
        raise InputError(f"importance.maps names {len(maps)} maps for {len(sample.sources)} sources")
    if missing := [name for name in maps if name not in sample.inside]:
        raise InputError(f"importance.maps: the fuser tells {', '.join(sample.inside) or 'nothing'}, not {missing[0]}")
    return torch.stack([sample.inside[name].detach() for name in maps])


def shares(strength: Weights) -> Weights:
    """Each over the sum of all; equal where the sum is 0."""
    total = strength.sum(0, keepdim=True)
    return torch.where(total > 0, strength / total.clamp_min(torch.finfo(total.dtype).tiny), 1 / len(strength))


def one_hot(strength: Weights) -> Weights:
    """1 where a source has the largest value, else 0; ties go to the first."""
    return F.one_hot(strength.argmax(0), len(strength)).movedim(-1, 0).to(strength.dtype)
