"""Pictures that show the same: exactly, by hash, or nearly, by thumbnails."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data import io
from fuse.data.color import grey_levels

SIDE = 16  # pixels of a thumbnail
SAME = 0.93  # correlation; of the sets here, different scenes stay below 0.83, frames of one scene lie above 0.94


def thumbnail(picture: Tensor) -> Float[Tensor, " n"]:
    """Grey levels of a picture `(c, h, w)` averaged on a grid of 16 x 16, without mean, of length 1; 0 if it is flat.

    The product of two of them is the correlation of what they show: changes of brightness, contrast and size do not
    matter, a shift by a small part of the picture matters little.
    """
    levels = grey_levels(picture[None])[0].to(torch.uint8)
    small = io.resize(levels, SIDE, SIDE).double().flatten()
    small = small - small.mean()
    return small / small.norm().clamp_min(1e-9)


def similarity(thumbnails: Sequence[Sequence[Tensor]]) -> Float[Tensor, "n n"]:
    """For every two scenes, given the thumbnails of their sources: the correlation of the least similar source."""
    roles = (torch.stack(list(pictures)) for pictures in zip(*thumbnails, strict=True))
    return torch.stack([pictures @ pictures.T for pictures in roles]).amin(0)


def same_scenes(
    stems: Sequence[str], thumbnails: Sequence[Sequence[Tensor]], threshold: float = SAME
) -> list[tuple[str, str, float]]:
    """Pairs of scenes whose every source is nearly the same, the most similar first."""
    if len(stems) < 2:
        return []
    values = similarity(thumbnails)
    rows, columns = torch.triu_indices(len(stems), len(stems), offset=1)
    found = [
        (stems[row], stems[column], round(values[row, column].item(), 3))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if values[row, column] >= threshold
    ]
    return sorted(found, key=lambda pair: -pair[2])


def equal_files(digests: Mapping[str, str]) -> list[list[str]]:
    """Names of files that have the same digest, as groups of two and more."""
    groups: dict[str, list[str]] = {}
    for name, digest in digests.items():
        groups.setdefault(digest, []).append(name)
    return [group for group in groups.values() if len(group) > 1]
