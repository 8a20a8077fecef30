"""Pictures of one scene brought onto each other: `solve`, `warp`, `common_area`, `ghosts`, and transforms in files."""

from fuse.align.ghosts import ghosts
from fuse.align.solve import Alignment, Found, solve
from fuse.align.transforms import Transform, load, reused, save, still
from fuse.align.warp import common_area, warp

__all__ = [
    "Alignment",
    "Found",
    "Transform",
    "common_area",
    "ghosts",
    "load",
    "reused",
    "save",
    "solve",
    "still",
    "warp",
]
