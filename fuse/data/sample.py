"""What flows through the program: several pictures of one scene."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from fuse.errors import InputError


class Sample(NamedTuple):
    """Pictures of one scene, or a batch of patches cut from such pictures.

    `sources`: one tensor `(b, c, h, w)` per source; whole pictures as stored (uint8, c of 1 or 3),
    patches as float32 in [0, 1]. `reference`: the ideal result in the same form, or None. `roles` names the
    sources in order (`near, far`; `ir, vi`; `ct, mri`), `names` the scenes of the batch. While training, `weights`
    `(b, n, h, w)` is what a selecting fuser chose, and `inside` what else a fuser told that its loss needs.
    """

    sources: tuple[Tensor, ...]
    reference: Tensor | None = None
    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    weights: Tensor | None = None
    inside: Mapping[str, Tensor] = MappingProxyType({})

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
