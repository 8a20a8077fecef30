"""A transform made to fit: correlation of edge directions maximised over its parameters, from coarse to fine."""

from typing import NamedTuple

import cv2
import numpy as np

SMOOTH = 1.0  # pixels: deviation of the Gaussian before differences are taken
NEIGHBOURHOOD = 8.0  # pixels: the same, over which the strength of edges is evened out
FLAT = 0.05  # share of the mean gradient below which edges count as noise
STEPS = 30
STILL = 0.01  # pixels: steps that move no corner by more end the search
OVERLAP = 0.25  # least share of the clear edges of the reference that the moving picture must cover
POINTS, ROW = 65536, 64  # edges at most that a transform is fitted to; OpenCV wants them in rows
LEAST = 0.2  # correlation by which a step is divided at least


class Fit(NamedTuple):
    """A matrix as `Transform` has it, and how well edge directions correlate under it, -1..1."""

    matrix: np.ndarray
    score: float


def structure(grey: np.ndarray) -> np.ndarray:
    """(gx + i gy)^2 / (|g| L) as two channels `(h, w, 2)` float32, L the mean of |g| about the pixel.

    The doubled angle is the same for an edge from dark to bright and from bright to dark, as infrared and visible
    pictures need it; L makes weak edges of a picture out of focus or by night count like strong ones.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), SMOOTH)
    gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1)))
    strength = np.hypot(gx, gy)
    around = cv2.GaussianBlur(strength, (0, 0), NEIGHBOURHOOD)
    whole = (strength + 1e-6) * (around + FLAT * float(strength.mean()) + 1e-6)
    return cv2.GaussianBlur(np.dstack([(gx * gx - gy * gy) / whole, 2 * gx * gy / whole]), (0, 0), SMOOTH)


def reduced(grey: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture with a longer side of at most `longest`, averaged by area, and the 3x3 matrix from its pixels to
    those of the whole.
    """
    height, width = grey.shape
    factor = longest / max(height, width)
    if factor >= 1:
        return grey, np.eye(3)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    across, down = width / size[0], height / size[1]
    back = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA), back


def steepest(field: np.ndarray, u: np.ndarray, v: np.ndarray, kind: str) -> np.ndarray:
    """Derivatives of a field by the parameters of a small transform of that kind, `(parameters, 2 n)`.

    `field`: derivatives by u and by v of both channels at n points, `(2, 2, n)`; see `change` for the parameters.
    """
    du, dv = field
    if kind == "translation":
        parts = [du, dv]
    elif kind == "similarity":
        parts = [du, dv, du * u + dv * v, dv * u - du * v]
    else:
        parts = [du, dv, du * u, du * v, dv * u, dv * v]
    if kind == "homography":
        along = du * u + dv * v
        parts += [-along * u, -along * v]
    return np.stack([part.ravel() for part in parts])


def change(step: np.ndarray, kind: str, size: tuple[int, int]) -> np.ndarray:
    """The 3x3 matrix in pixels of a picture (height, width) of the parameters of a small transform."""
    small = np.eye(3)
    small[:2, 2] = step[:2]
    if kind == "similarity":
        grow, turn = step[2:]
        small[:2, :2] += [[grow, -turn], [turn, grow]]
    elif kind != "translation":
        small[:2, :2] += step[2:6].reshape(2, 2)
    if kind == "homography":
        small[2, :2] = step[6:]
    height, width = size
    reach = max(height, width) / 2
    norm = np.array([[1 / reach, 0, -(width - 1) / 2 / reach], [0, 1 / reach, -(height - 1) / 2 / reach], [0, 0, 1]])
    return np.linalg.inv(norm) @ small @ norm


class Target(NamedTuple):
    """The points of the reference that a transform is fitted to: those with the clearest edges.

    `values`: its field there `(2, n)`; `slopes` by u and v; `places`: homogeneous pixel coordinates `(3, n)`.
    """

    values: np.ndarray
    slopes: np.ndarray
    places: np.ndarray
    size: tuple[int, int]


def target(field: np.ndarray) -> Target:
    """The `POINTS` clearest edges of a field `(h, w, 2)`."""
    height, width = field.shape[:2]
    reach = max(height, width) / 2
    # Sobel's weights sum to 8; a step of u is `reach` pixels.
    slopes = [cv2.Sobel(field, cv2.CV_32F, *order, scale=reach / 8) for order in ((1, 0), (0, 1))]
    count = min(POINTS, height * width) // ROW * ROW
    chosen = np.sort(np.argpartition(-np.square(field).sum(2).ravel(), count - 1)[:count])
    places = np.stack([chosen % width, chosen // width, np.ones(count)]).astype(np.float32)
    values = np.ascontiguousarray(field.reshape(-1, 2)[chosen].T)
    return Target(values, np.stack([x.reshape(-1, 2)[chosen].T for x in slopes]), places, (height, width))


def seen(field: np.ndarray, matrix: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A field of the moving picture `(2, n)` at places of the reference, and which of them it has."""
    x, y, w = matrix.astype(np.float32) @ places
    w = np.where(w > 1e-6, w, np.nan)
    x, y = (x / w).reshape(-1, ROW), (y / w).reshape(-1, ROW)
    inside = (x >= 0) & (y >= 0) & (x <= field.shape[1] - 1) & (y <= field.shape[0] - 1)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR).reshape(-1, 2).T, inside.ravel()


def score(fixed: Target, moving: np.ndarray, matrix: np.ndarray) -> float:
    """Correlation coefficient of the fields under a matrix, both freed of their means; -1 if too little is covered."""
    b, inside = seen(moving, matrix, fixed.places)
    if inside.mean() < OVERLAP:
        return -1.0
    a, b = centred(fixed.values, inside), centred(b, inside)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def centred(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Values `(2, n)` less the mean of those inside, 0 for the others, as one vector."""
    return ((values - (values @ (inside / inside.sum()))[:, None]) * inside).ravel()


def climb(fixed: Target, moving: np.ndarray, matrix: np.ndarray, kind: str) -> Fit:
    """The transform near `matrix` under which the fields correlate best; the best of all steps is kept.

    Inverse compositional Gauss-Newton (Baker and Matthews 2004) on the correlation coefficient (Evangelidis and
    Psarakis 2008): the step D is the regression of moving(W x) on the derivatives of fixed(D x), those freed of what
    is parallel to fixed itself; then W becomes W D^-1. Divided by the correlation, as what the pictures do not share
    makes the regression too small by that factor.
    """
    height, width = fixed.size
    box = np.array([(x, y, 1.0) for x in (0, width - 1) for y in (0, height - 1)]).T
    reach = max(height, width) / 2
    u, v = (fixed.places[0] - (width - 1) / 2) / reach, (fixed.places[1] - (height - 1) / 2) / reach
    slopes = steepest(fixed.slopes, u, v, kind)
    best, worse = Fit(matrix, -1.0), 0
    for _ in range(STEPS):
        b, inside = seen(moving, matrix, fixed.places)
        if inside.mean() < OVERLAP:
            break
        a, b = centred(fixed.values, inside), centred(b, inside)
        own, other, both = float(a @ a), float(b @ b), float(a @ b)
        now = both / np.sqrt(own * other) if own * other > 0 else 0.0
        if now > best.score:
            best, worse = Fit(matrix, now), 0
        else:
            worse += 1
        if now <= 0 or worse == 3:
            break
        known = slopes * np.tile(inside, 2)
        along, across = known @ a, known @ b
        normal = known @ known.T - np.outer(along, along) / own
        gain = np.sqrt(own / other) / max(now, LEAST)
        step, *_ = np.linalg.lstsq(normal.astype(np.float64), gain * (across - along * both / own), rcond=None)
        inverse = np.linalg.inv(change(step, kind, fixed.size))
        matrix = matrix @ inverse
        matrix = matrix / matrix[2, 2]
        corner = inverse @ box
        if np.abs(corner[:2] / corner[2] - box[:2]).max() < STILL:
            break
    return best


def nearest(matrix: np.ndarray, kind: str, size: tuple[int, int], scale: float) -> np.ndarray:
    """The transform of that kind that moves the pixels of a picture (height, width) most like a matrix does.

    `scale`: pixels of the moving picture per pixel of the reference, which a translation does not change.
    """
    if kind == "homography":
        return matrix
    x, y = (line.ravel() for line in np.meshgrid(*(np.linspace(0, n - 1, 9) for n in (size[1], size[0]))))
    places = np.stack([x, y, np.ones_like(x)])
    there = matrix @ places
    to_x, to_y = there[:2] / there[2]
    none, one = np.zeros_like(x), np.ones_like(x)
    if kind == "translation":
        return np.array([[scale, 0, (to_x - scale * x).mean()], [0, scale, (to_y - scale * y).mean()], [0, 0, 1]])
    if kind == "similarity":
        columns = np.concatenate([np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)])
        (a, b, across, down), *_ = np.linalg.lstsq(columns, np.concatenate([to_x, to_y]), rcond=None)
        return np.array([[a, -b, across], [b, a, down], [0, 0, 1]])
    rows, *_ = np.linalg.lstsq(places.T, np.stack([to_x, to_y], 1), rcond=None)
    return np.vstack([rows.T, [0, 0, 1]])
