"""Scenes seen by two cameras of which one has moved, so that the transform between them is known."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def grey(picture: Tensor) -> Tensor:
    """Grey levels 0..255 of a picture in [0, 1]."""
    return (picture[0] if len(picture) == 1 else (picture * LUMA).sum(0)) * 255


def motion(size: int, x: float = 0, y: float = 0, scale: float = 1, degrees: float = 0, tilt: float = 0) -> np.ndarray:
    """From the reference to the moved picture, about the centre; `tilt` is how much nearer the right border is."""
    center = np.array([[1, 0, (size - 1) / 2], [0, 1, (size - 1) / 2], [0, 0, 1]])
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return center @ np.array([[c, -s, x], [s, c, y], [tilt / size, 0, 1]]) @ np.linalg.inv(center)


def seen(fixed: Tensor, other: Tensor, matrix: np.ndarray, border: int) -> tuple[Tensor, Tensor]:
    """The middle of one square picture, and of the other as a camera sees it that has moved by `matrix`."""
    size = fixed.shape[0] - 2 * border
    cut = np.array([[1, 0, border], [0, 1, border], [0, 0, 1.0]]) @ np.linalg.inv(matrix)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(other.numpy(), cut, (size, size), flags=how, borderMode=cv2.BORDER_REFLECT)
    return fixed[border : border + size, border : border + size].contiguous(), torch.from_numpy(moved)


def off(found: Tensor, matrix: np.ndarray, size: int) -> float:
    """Pixels by which the worst corner is off."""
    corners = np.array([(x, y, 1.0) for x in (0, size - 1) for y in (0, size - 1)]).T
    a, b = found.numpy() @ corners, matrix @ corners
    return float(np.hypot(*(a[:2] / a[2] - b[:2] / b[2])).max())
