"""How much brighter one picture of a scene is than another: exposure and offset drift between frames."""

from typing import NamedTuple

import cv2
import numpy as np

from fuse.align.refine import reduced

LONGEST = 256  # pixels of the longer side at which a picture is moved
CELLS = 24  # parts of the longer side that are averaged over, in which defocus and small shifts vanish
SAME, ALIKE = 0.9, 0.5  # correlations, without and with what has changed, of two pictures by one kind of light
ROUNDS = 5


class Drift(NamedTuple):
    """moving = gain reference + level, grey levels; NaN where the two are no pictures by one kind of light.

    `correlation`: of the two reduced pictures, with the weights that the line was fitted with at last.
    """

    gain: float
    level: float
    correlation: float


def drift(reference: np.ndarray, moving: np.ndarray, matrix: np.ndarray) -> Drift:
    """Of grey pictures, the moving one seen through a matrix as `Transform` has it.

    A line by iterated least squares with Cauchy's weights, the scale being the median of the distances; both ways, and
    the gain the geometric mean, so that exchange of the pictures inverts it.
    """
    (fixed, back), (other, to_moving) = reduced(reference, LONGEST), reduced(moving, LONGEST)
    own, shape, how = np.linalg.inv(to_moving) @ matrix @ back, fixed.shape[::-1], cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(other, own, shape, flags=cv2.INTER_LINEAR | how, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpPerspective(np.ones(other.shape, np.float32), own, shape, flags=cv2.INTER_NEAREST | how)
    whole = reduced(inside, CELLS)[0] > 0.999
    a, b = (reduced(x, CELLS)[0][whole].astype(np.float64) for x in (fixed, moved))
    if len(a) < 16 or a.std() < 1e-3 or b.std() < 1e-3:
        return Drift(float("nan"), float("nan"), 0.0)
    weight = np.ones_like(a)
    for _ in range(ROUNDS):
        share = weight / weight.sum()
        x, y = a - share @ a, b - share @ b
        xx, yy, xy = share @ (x * x), share @ (y * y), share @ (x * y)
        gain = np.sign(xy) * np.sqrt(yy / max(xx, 1e-12))
        distance = np.abs(y - gain * x)
        weight = 1 / (1 + (distance / max(1.5 * float(np.median(distance)), 1e-3)) ** 2)
    correlation = float(xy / np.sqrt(max(xx * yy, 1e-12)))
    if correlation < SAME or np.corrcoef(a, b)[0, 1] < ALIKE:
        return Drift(float("nan"), float("nan"), correlation)
    return Drift(float(gain), float(share @ b - gain * (share @ a)), correlation)
