"""Intermediate results shared between the metrics of one call."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


class Memo:
    """`memo(function, *arguments)` computes once per function and arguments (tensors by identity) and remembers.

    Lives as long as one call of `measure`, or of one metric; nothing is kept between calls. Pass one memo to several
    metrics of the same tensors to share their histograms, gradients and windowed moments:
    `memo = Memo(); ssim(f, s, memo=memo); q_s(f, s, memo=memo)`.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...]]] = {}

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        key = (function, *(id(argument) if isinstance(argument, Tensor) else argument for argument in arguments))
        if key not in self._results:
            # the arguments are kept too: an id may be given away again once its tensor is gone
            self._results[key] = (function(*arguments), arguments)
        return self._results[key][0]
