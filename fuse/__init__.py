"""Image fusion: every method trained, run and judged the same way.

`fuse.load(name or path)(a, b)` fuses arrays or tensors, `fuse.evaluate(fused, sources)` scores them, and
`fuse.metrics` holds every metric as a function. Nothing slow is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuse import metrics
    from fuse.api import evaluate, load

__all__ = ["__version__", "evaluate", "load", "metrics"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("evaluate", "load"):
        return getattr(import_module("fuse.api"), name)
    if name == "metrics":
        return import_module("fuse.metrics")
    raise AttributeError(f"module 'fuse' has no attribute '{name}'")
