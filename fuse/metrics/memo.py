"""Intermediate results shared between the metrics of one call."""

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor


def _identity(part: Any) -> Hashable:
    if isinstance(part, Tensor):
        return id(part)
    return tuple(_identity(item) for item in part) if isinstance(part, tuple) else part


class Memo:
    """`memo(function, *arguments)` computes once per function and arguments (tensors by identity) and remembers.

    Lives as long as one call of `measure`, or of one metric; nothing is kept between calls. Pass one memo to several
    metrics of the same tensors to share their histograms, gradients and windowed moments:
    `memo = Memo(); ssim(f, s, memo=memo); q_s(f, s, memo=memo)`.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, tuple[Any, tuple[Any, ...]]] = {}

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        key = (function, _identity((*arguments, *options.items())))
        if key not in self._results:
            # the arguments are kept too: an id may be given away again once its tensor is gone
            self._results[key] = (function(*arguments, **options), (arguments, options))
        return self._results[key][0]
