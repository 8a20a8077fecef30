"""Where a search for the transform may begin: the same field of view, common features, and a grid of turns and scales.

Gradient based starts are for sensors whose contrasts differ; feature based ones for large moves of one camera.
"""

import itertools
import math

import cv2
import numpy as np
import torch

from fuse.align.refine import reduced
from fuse.align.transforms import still
from fuse.data import offset

COARSE, FEATURES = 160, 640  # pixels of the longer side on which the grid and features are looked for
SCALES = tuple(1.09**k for k in range(-3, 4))
TURNS = (-8.0, -4.0, 0.0, 4.0, 8.0)  # degrees
REACH = 3  # shifts up to a third of the sides
RATIO, NEAR, ENOUGH = 0.75, 3.0, 12  # Lowe's ratio of distances; pixels; matches that agree


def grid(reference: np.ndarray, moving: np.ndarray, count: int) -> list[np.ndarray]:
    """The `count` best of all turns and scales about the same field of view, each with the shift of phase correlation.

    Ranked by coherence: the peak's share of what it would be if all phases agreed.
    """
    (small, to_reference), (other, to_moving) = (reduced(x, COARSE) for x in (reference, moving))
    size = height, width = small.shape
    fixed = offset.edges(torch.from_numpy(small))[None]
    window = torch.hann_window(height - 2)[:, None] * torch.hann_window(width - 2)
    strength = torch.fft.fft2(fixed * window).abs()
    base = still(size, (other.shape[0], other.shape[1])).matrix.numpy()
    center = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    found = []
    for scale, turn in itertools.product(SCALES, TURNS):
        cosine, sine = scale * math.cos(math.radians(turn)), scale * math.sin(math.radians(turn))
        matrix = base @ center @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.linalg.inv(center)
        moved = cv2.warpAffine(
            other,
            matrix[:2],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        edges = offset.edges(torch.from_numpy(moved))[None]
        surface = offset.correlation(fixed, edges)
        dx, dy, _ = (x.item() for x in offset.peaks(surface, height // REACH, width // REACH))
        whole = (strength * torch.fft.fft2(edges * window).abs()).sqrt().mean().item()
        shifted = matrix @ np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])
        found.append((surface.amax().item() / max(whole, 1e-12), to_moving @ shifted @ np.linalg.inv(to_reference)))
    return [matrix for _, matrix in sorted(found, key=lambda x: -x[0])[:count]]


def features(reference: np.ndarray, moving: np.ndarray) -> np.ndarray | None:
    """Turn, scale and shift that SIFT's matches (Lowe 2004) agree on by RANSAC; None where fewer than 12 do."""
    (small, to_reference), (other, to_moving) = (reduced(x, FEATURES) for x in (reference, moving))
    detector = cv2.SIFT.create(1000)
    (first, one), (second, two) = (
        detector.detectAndCompute(x.clip(0, 255).astype(np.uint8), None) for x in (small, other)
    )
    if one is None or two is None or min(len(one), len(two)) < ENOUGH:
        return None
    pairs = cv2.BFMatcher().knnMatch(one, two, k=2)
    good = [a for a, b in pairs if a.distance < RATIO * b.distance]
    if len(good) < ENOUGH:
        return None
    here = np.array([first[m.queryIdx].pt for m in good], np.float32)
    there = np.array([second[m.trainIdx].pt for m in good], np.float32)
    matrix, agreeing = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=NEAR)
    if matrix is None or agreeing.sum() < ENOUGH:
        return None
    return to_moving @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(to_reference)
