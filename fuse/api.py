"""The package from Python: fuse pictures with any method, score a fused picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from fuse import infer, judge, methods
from fuse.data.sample import Sample
from fuse.errors import InputError

Picture = TypeVar("Picture", np.ndarray, Tensor)


def load(method: str | Path, device: str = "cpu", trust: Sequence[str] = ()) -> Callable[..., Picture]:
    """A rule by name, or a checkpoint or run folder, as a function of two or more pictures of one scene.

    Pictures are `(h, w)` or `(h, w, 3)` arrays or tensors, RGB, 8 or 16 bit, or floating point in [0, 1]; what comes
    back is of the same kind, with colour if any source has it.

    Raises:
        InputError: no such method; from the function: pictures that differ in size or type.
    """
    fuser = methods.fuser(str(method), torch.device(device), trust)[0]

    def fuse(*pictures: Picture) -> Picture:
        if len({(type(p), p.dtype) for p in pictures}) > 1:
            raise InputError(f"pictures of types {[str(p.dtype) for p in pictures]} cannot be mixed; bring them to one")
        fused = infer.fuse(fuser, [tensor(p) for p in pictures])[0].permute(1, 2, 0)
        fused = fused[..., 0] if fused.shape[-1] == 1 else fused
        return cast(Picture, fused.numpy() if isinstance(pictures[0], np.ndarray) else fused)

    return fuse


def evaluate(
    fused: np.ndarray | Tensor,
    sources: Sequence[np.ndarray | Tensor],
    reference: np.ndarray | Tensor | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Metrics by name of one fused picture, 8 or 16 bit, measured as `fuse-eval` does; by default the usual ones.

    Raises:
        InputError: pictures of unequal size, floating-point pictures, or an unknown metric.
    """
    pictures = [tensor(p) for p in (fused, *sources)]
    ideal = None if reference is None else tensor(reference)
    if any(p.is_floating_point() for p in pictures):
        raise InputError("scores are defined on pictures as stored; round to 8 or 16 bit integers first")
    return judge.scores(pictures[0], Sample(tuple(pictures[1:]), ideal), names)


def tensor(picture: np.ndarray | Tensor) -> Tensor:
    """`(h, w)` or `(h, w, 3)` as `(1, c, h, w)`.

    Raises:
        InputError: another shape.
    """
    picture = torch.from_numpy(np.ascontiguousarray(picture)) if isinstance(picture, np.ndarray) else picture
    if picture.dim() == 2:
        return picture[None, None]
    if picture.dim() == 3 and picture.shape[2] in (1, 3):
        return picture.permute(2, 0, 1)[None]
    raise InputError(f"a picture of shape {tuple(picture.shape)} is neither (h, w) nor (h, w, 3)")
