"""Where each pixel of the reference lies in another picture: a 3x3 matrix, its two sizes, and a JSON file of them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from fuse.data.io import write_bytes
from fuse.errors import InputError

KINDS = ("identity", "translation", "similarity", "affine", "homography")  # each contains those before it
FORMAT = "fuse-transforms-1"
ASPECT = 0.01  # how far the shape of another stack may be from that of the stored one


class Transform(NamedTuple):
    """Pixel (x, y) of the reference shows what is at matrix (x, y, 1)^T of the moving picture; centres are integers.

    `reference`, `moving`: height and width in pixels of the two pictures that the matrix holds for.
    """

    matrix: Float64[Tensor, "3 3"]
    kind: str
    reference: tuple[int, int]
    moving: tuple[int, int]

    @property
    def untouched(self) -> bool:
        """Whether the moving picture already is what the transform would make of it, so that no pixel changes."""
        return self.reference == self.moving and torch.equal(self.matrix, torch.eye(3, dtype=torch.float64))

    def at(self, points: Float64[Tensor, "n 2"]) -> Float64[Tensor, "n 2"]:
        """Places (x, y) in the moving picture of places in the reference; infinite where they are behind the camera."""
        x, y, w = self.matrix @ torch.cat([points.T, points.new_ones(1, len(points))])
        ahead = w > 0
        return torch.stack([torch.where(ahead, x / w, torch.inf), torch.where(ahead, y / w, torch.inf)], 1)

    def scaled(self, reference: tuple[int, int], moving: tuple[int, int]) -> "Transform":
        """The same for the two pictures in other sizes (height, width)."""
        if (reference, moving) == (self.reference, self.moving):
            return self
        matrix = stretch(self.moving, moving) @ self.matrix @ stretch(reference, self.reference)
        same = self.untouched and reference == moving
        return Transform(torch.eye(3, dtype=torch.float64) if same else normed(matrix), self.kind, reference, moving)

    def then(self, second: "Transform") -> "Transform":
        """From the reference of this one to the moving picture of `second`, whose reference is this one's moving one.

        Raises:
            InputError: the size between them differs.
        """
        if self.moving != second.reference:
            raise InputError(f"transforms do not meet: to {said_size(self.moving)}, from {said_size(second.reference)}")
        kind = max(self.kind, second.kind, key=KINDS.index)
        return Transform(normed(second.matrix @ self.matrix), kind, self.reference, second.moving)

    def inverse(self) -> "Transform":
        """From the moving picture to the reference."""
        return Transform(normed(torch.linalg.inv(self.matrix)), self.kind, self.moving, self.reference)

    def motion(self) -> tuple[float, float, float]:
        """Pixels that the centre moves by, magnification, and degrees of turning (clockwise) at the centre.

        Beyond what the sizes alone ask for, `still`, which has 0, 1 and 0.
        """
        whole = still(self.moving, self.reference).matrix @ self.matrix
        height, width = self.reference
        x, y, near = (width - 1) / 2, (height - 1) / 2, 0.5
        ring = [(x, y), (x - near, y), (x + near, y), (x, y - near), (x, y + near)]
        center, left, right, above, below = Transform(whole, self.kind, self.reference, self.reference).at(
            torch.tensor(ring, dtype=torch.float64)
        )
        (a, c), (b, d) = (right - left).tolist(), (below - above).tolist()
        moved = math.hypot(float(center[0]) - x, float(center[1]) - y)
        return moved, math.sqrt(abs(a * d - b * c)), math.degrees(math.atan2(c - b, a + d))


def still(reference: tuple[int, int], moving: tuple[int, int]) -> Transform:
    """Centre on centre, and as much larger as the area is: nothing moves in pictures of one size."""
    scale = math.sqrt(moving[0] * moving[1] / (reference[0] * reference[1]))
    down, across = ((new - 1) / 2 - scale * (old - 1) / 2 for old, new in zip(reference, moving, strict=True))
    matrix = torch.tensor([[scale, 0, across], [0, scale, down], [0, 0, 1]], dtype=torch.float64)
    return Transform(matrix, "identity", reference, moving)


def stretch(old: tuple[int, int], new: tuple[int, int]) -> Float64[Tensor, "3 3"]:
    """From the pixels of a picture of one size to those of the same in another; pixels are squares about integers."""
    down, across = new[0] / old[0], new[1] / old[1]
    return torch.tensor(
        [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]],
        dtype=torch.float64,
    )


def normed(matrix: Float64[Tensor, "3 3"]) -> Float64[Tensor, "3 3"]:
    """The same mapping with a last element of 1."""
    return matrix / matrix[2, 2]


def said_size(size: tuple[int, int]) -> str:
    """Width x height, as people write it."""
    return f"{size[1]}x{size[0]}"


def save(path: Path, transforms: Sequence[Transform], names: Sequence[str]) -> None:
    """The transforms of the pictures of a stack as JSON, for `load`.

    Raises:
        InputError: the place cannot be written to.
    """
    pictures = [
        {"name": name, "kind": t.kind, "size": list(t.moving), "matrix": t.matrix.tolist()}
        for name, t in zip(names, transforms, strict=True)
    ]
    told = {"format": FORMAT, "reference": list(transforms[0].reference), "pictures": pictures}
    write_bytes(path, (json.dumps(told, indent=1) + "\n").encode())


def load(path: Path) -> tuple[list[str], list[Transform]]:
    """Names and transforms of the pictures of a stack, as saved.

    Raises:
        InputError: the file cannot be read or is not one that `save` wrote.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']!r}")
        reference = size(told["reference"])
        if not told["pictures"]:
            raise ValueError("it names no pictures")
        stored = [(str(p["name"]), p["kind"], size(p["size"]), p["matrix"]) for p in told["pictures"]]
        made = [Transform(torch.tensor(m, dtype=torch.float64), kind, reference, own) for _, kind, own, m in stored]
        for transform in made:
            sound = transform.matrix.shape == (3, 3) and bool(transform.matrix.isfinite().all())
            if transform.kind not in KINDS or not sound or abs(torch.linalg.det(transform.matrix).item()) < 1e-12:
                raise ValueError("a matrix is not 3x3, finite and invertible, or its kind is unknown")
        return [name for name, *_ in stored], made
    except OSError as problem:
        raise InputError(f"{path} cannot be opened: {problem.strerror}") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path} holds no transforms of this program ({problem}); save them anew") from problem


def size(told: Sequence[int]) -> tuple[int, int]:
    """Height and width as stored.

    Raises:
        ValueError: not two positive numbers.
    """
    height, width = (int(x) for x in told)
    if height < 1 or width < 1:
        raise ValueError(f"a size of {width}x{height}")
    return height, width


def reused(transforms: Sequence[Transform], sizes: Sequence[tuple[int, int]]) -> list[Transform]:
    """Stored transforms for another stack, whose pictures have these sizes (height, width).

    Raises:
        InputError: another number of pictures, or pictures of another shape.
    """
    if len(sizes) != len(transforms):
        raise InputError(f"the stored transforms are for {len(transforms)} pictures, these are {len(sizes)}")
    for old, new in [(t.moving, own) for t, own in zip(transforms, sizes, strict=True)]:
        if abs(old[0] * new[1] / (old[1] * new[0]) - 1) > ASPECT:
            raise InputError(
                f"the stored transforms are for pictures of {said_size(old)}, a picture is {said_size(new)}: "
                "another shape; only the scale may differ"
            )
    # The reference is the picture that nothing moves; without one it grows as the first picture does.
    base = next((i for i, t in enumerate(transforms) if t.untouched), 0)
    old, new = transforms[base].moving, sizes[base]
    down, across = transforms[base].reference
    reference = round(down * new[0] / old[0]), round(across * new[1] / old[1])
    return [t.scaled(reference, own) for t, own in zip(transforms, sizes, strict=True)]
