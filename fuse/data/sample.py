"""What flows through the program: several pictures of one scene."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.errors import InputError


class Sample(NamedTuple):
    """Pictures of one scene, or a batch of patches cut from such pictures.

    `sources`: one tensor `(b, c, h, w)` per source; whole pictures as stored (uint8, c of 1 or 3),
    patches as float32 in [0, 1]. `reference`: the ideal result in the same form, or None. `roles` names the
    sources in order (`near, far`; `ir, vi`; `ct, mri`), `names` the scenes of the batch. While training, `weights`
    `(b, n, h, w)` is what a selecting fuser chose, and `inside` what else a fuser told that its loss needs; `chroma`
    `(b, 2, h, w)` of each source, 128/255 where grey, is there for losses on luma that ask what becomes of the colours.
    """

    sources: tuple[Tensor, ...]
    reference: Tensor | None = None
    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    weights: Tensor | None = None
    inside: Mapping[str, Tensor] = MappingProxyType({})
    chroma: tuple[Tensor, ...] = ()

    def role(self, name: str) -> Tensor:
        """The source, or `reference`, of that name.

        Raises:
            InputError: the sample has no such role.
        """
        if name == "reference" and self.reference is not None:
            return self.reference
        if name in self.roles:
            return self.sources[self.roles.index(name)]
        known = [*self.roles, *(["reference"] if self.reference is not None else [])]
        raise InputError(f"role '{name}' is not in this data, which has {', '.join(known)}; name one of them")


def enlarged(sample: Sample) -> Sample:
    """A sample of whole pictures whose smaller sources are brought to the size of the largest: bicubic, 8 or 16 bit."""
    height, width = (max(x.shape[side] for x in sample.sources) for side in (-2, -1))
    if all(x.shape[-2:] == (height, width) for x in sample.sources):
        return sample
    sources = []
    for x in sample.sources:
        larger = F.interpolate(x.float(), (height, width), mode="bicubic")
        sources.append(larger.round().clamp(0, torch.iinfo(x.dtype).max).to(x.dtype))
    return sample._replace(sources=tuple(sources))


class Split(Sequence[Sample]):
    """The samples of one split of a data set, each read when it is asked for."""

    def __init__(self, data: Any, name: str) -> None:
        """
        Raises:
            InputError: unknown split, or nothing in it.
        """
        self.data, self.name, self.stems = data, name, data.stems(name)

    def __len__(self) -> int:
        return len(self.stems)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self.data.sample(stem) for stem in self.stems[index]]
        return self.data.sample(self.stems[index])

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.data.samples(self.name))
