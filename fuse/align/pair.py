"""One picture aligned to another from coarse to fine, by the simplest kind that does, and whether to believe it."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from fuse.align import starts
from fuse.align.measure import Misalignment, misalignment
from fuse.align.refine import Fit, Target, climb, nearest, reduced, score, structure, target
from fuse.align.transforms import still

FINEST = 1024  # pixels of the longer side at which is worked at last
LEVELS = (128, 256, 512)  # and before
CLOSE = 0.7  # levels within that factor of the finest are left out
CLEAR = 0.7  # correlation at the coarsest level that needs no further starts
TRIED, KEPT = 6, 2  # starts from the grid; those that go on to the second level
LOSS = 0.02  # a simpler kind may lose that share of what the best one leaves uncorrelated
GAIN = 0.05  # share of what was uncorrelated before that a transform must correlate
BELIEVED, AGREED = 0.25, 0.1  # correlation and share of blocks below which the scenes are different,
PLENTY = 0.4  # unless so many blocks agree
BLURS = (0.0, 2.5)  # pixels: other sensors are measured better without, other sharpness with one; whichever agrees
DEPTH = 0.4  # share of clear blocks that are off together, from which no one transform explains the scene
PLAIN = 0.3  # grey levels: mean step between pixels below which there is no texture
KINDS = ("translation", "similarity", "affine", "homography")


class Match(NamedTuple):
    """A matrix as `Transform` has it, its kind, correlation of edge directions before and after, -1..1, and the
    measured misalignment before and after. `doubt`: why the matrix is not to be used, or nothing.
    """

    matrix: np.ndarray
    kind: str
    scores: tuple[float, float]
    before: Misalignment
    after: Misalignment
    doubt: str = ""


class Picture:
    """A grey picture and its edge directions at the sizes they were asked for."""

    def __init__(self, grey: np.ndarray) -> None:
        self.grey = grey
        self.size = grey.shape[0], grey.shape[1]
        self.longest = max(self.size)
        self.field = cache(self._field)
        self.target = cache(self._target)

    def _field(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        small, back = reduced(self.grey, longest)
        return structure(small), back

    def _target(self, longest: int) -> Target:
        return target(self.field(longest)[0])


def unmoved(reference: Picture, moving: Picture) -> np.ndarray:
    """The matrix that moves nothing."""
    return still(reference.size, moving.size).matrix.numpy()


def fitted(reference: Picture, moving: Picture, level: int, matrix: np.ndarray, kind: str) -> Fit:
    """`climb` at pictures of that size, from and to a matrix for the whole ones, made to be of the kind first."""
    (_, back), (field, to_moving) = reference.field(level), moving.field(level)
    begin = nearest(matrix, kind, reference.size, unmoved(reference, moving)[0, 0])
    found = climb(reference.target(level), field, np.linalg.inv(to_moving) @ begin @ back, kind)
    whole = to_moving @ found.matrix @ np.linalg.inv(back)
    return Fit(whole / whole[2, 2], found.score)


def begun(reference: Picture, moving: Picture, level: int, kinds: tuple[str, ...]) -> list[Fit]:
    """The best fits at the coarsest level from all starts; the grid is searched only where nothing moved fits badly."""
    first = climbed(reference, moving, level, unmoved(reference, moving), kinds)
    if first.score >= CLEAR:
        return [first]
    found = [climbed(reference, moving, level, x, kinds) for x in starts.grid(reference.grey, moving.grey, TRIED)]
    return sorted([first, *found], key=lambda fit: -fit.score)[:KEPT]


def climbed(reference: Picture, moving: Picture, level: int, matrix: np.ndarray, kinds: tuple[str, ...]) -> Fit:
    """From one start by turns, scale and shift, then, where more is allowed, by an affine transform."""
    best = fitted(reference, moving, level, matrix, min("similarity", kinds[-1], key=KINDS.index))
    if best.score > -1 and KINDS.index(kinds[-1]) >= KINDS.index("affine"):
        best = max(best, fitted(reference, moving, level, best.matrix, "affine"), key=lambda fit: fit.score)
    return best


def matched(reference: Picture, moving: Picture, kind: str = "auto") -> Match:
    """The transform of that kind, or of the simplest that does as well as any, and whether it holds.

    Edge directions turn with the picture: one that is turned or scaled a lot, as common features tell, is brought near
    the reference first.
    """
    kinds = KINDS if kind == "auto" else (kind,)
    fit, chosen = simplest(reference, moving, kinds)
    if fit.score < BELIEVED and kinds[-1] != "translation":
        common = starts.features(reference.grey, moving.grey)
        if common is not None:
            near = Picture(seen_from(reference, moving, common))
            turned, kind_of = simplest(reference, near, tuple(x for x in kinds if x != "translation"))
            if turned.score > fit.score:
                fit, chosen = Fit(common @ turned.matrix, turned.score), kind_of
    return judged(reference, moving, fit, chosen)


def simplest(reference: Picture, moving: Picture, kinds: tuple[str, ...]) -> tuple[Fit, str]:
    """From coarse to fine, the fit of the simplest of some kinds that does about as well as the best of them."""
    finest = resolution(reference, moving)
    levels = [level for level in LEVELS if level < CLOSE * finest] or [finest]
    first, *middle = levels
    tops = begun(reference, moving, first, kinds)
    matrix = tops[0].matrix
    if middle:
        widest = min("affine", kinds[-1], key=KINDS.index)
        matrix = max(
            (fitted(reference, moving, middle[0], x.matrix, widest) for x in tops), key=lambda f: f.score
        ).matrix
    fits = {name: Fit(matrix, 0.0) for name in kinds}
    for level in (*middle, finest) if finest < FINEST else middle:
        fits = {name: fitted(reference, moving, level, fit.matrix, name) for name, fit in fits.items()}
    best = max(fit.score for fit in fits.values())
    chosen = next(name for name in kinds if fits[name].score >= best - LOSS * (1 - best))
    fit = fitted(reference, moving, finest, fits[chosen].matrix, chosen) if finest == FINEST else fits[chosen]
    return fit, chosen


def resolution(reference: Picture, moving: Picture) -> int:
    """Pixels of the longer side at which two pictures are compared at last: no finer than either of them."""
    return min(FINEST, reference.longest, moving.longest)


def seen_from(reference: Picture, moving: Picture, matrix: np.ndarray) -> np.ndarray:
    """The moving picture through a matrix, at the pixels of the reference."""
    shape, how = (reference.size[1], reference.size[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(moving.grey, matrix, shape, flags=how, borderMode=cv2.BORDER_REPLICATE)


def judged(reference: Picture, moving: Picture, fit: Fit, kind: str) -> Match:
    """The match with what was measured before and after, and the doubts that follow from it."""
    finest = resolution(reference, moving)
    own, other = reference.grey, moving.grey
    begin = unmoved(reference, moving)
    (_, back), (field, to_moving) = reference.field(finest), moving.field(finest)
    at_first = score(reference.target(finest), field, np.linalg.inv(to_moving) @ begin @ back)
    after, blur = max(((misalignment(own, other, fit.matrix, x), x) for x in BLURS), key=lambda found: found[0].agree)
    before = misalignment(own, other, begin, blur)
    match = Match(fit.matrix, kind, (at_first, fit.score), before, after)
    plain = min(float(np.abs(np.diff(x, axis=1)).mean()) for x in (own, other))
    agreeing = f"{after.agree:.0%} of the blocks agree, edges correlate by {fit.score:.2f}"
    if plain < PLAIN and fit.score < BELIEVED:
        return match._replace(doubt=f"too little texture ({plain:.2g} grey levels between neighbouring pixels)")
    if after.agree < AGREED or (fit.score < BELIEVED and after.agree < PLENTY):
        return match._replace(doubt=f"no common structure ({agreeing}): different scenes, or depth")
    if after.apart > DEPTH:
        return match._replace(
            doubt=f"no one transform explains it: {after.apart:.0%} of the clear blocks stay {after.parallax:.1f} px "
            "off, as things at different depths do (parallax)"
        )
    return match
