"""One picture aligned to another from coarse to fine, by the simplest kind that does, and whether to believe it."""

from functools import cache
from typing import NamedTuple

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
LOSS = 0.03  # a simpler kind may lose that share of what the best one leaves uncorrelated
GAIN = 0.05  # share of what was uncorrelated before that a transform must correlate
BELIEVED, AGREED = 0.25, 0.1  # correlation and share of blocks below which the scenes are different
DEPTH = 0.6  # share of clear blocks that are off together, from which no one transform explains the scene
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


def begun(reference: Picture, moving: Picture, level: int, kinds: tuple[str, ...]) -> list[np.ndarray]:
    """The best matrices at the coarsest level of all starts; the grid is searched only where the others fail."""
    found = [climbed(reference, moving, level, unmoved(reference, moving), kinds)]
    if found[0].score < CLEAR:
        common = starts.features(reference.grey, moving.grey)
        found += [climbed(reference, moving, level, common, kinds)] if common is not None else []
    if max(fit.score for fit in found) < CLEAR:
        found += [climbed(reference, moving, level, x, kinds) for x in starts.grid(reference.grey, moving.grey, TRIED)]
    return [fit.matrix for fit in sorted(found, key=lambda fit: -fit.score)[:KEPT]]


def climbed(reference: Picture, moving: Picture, level: int, matrix: np.ndarray, kinds: tuple[str, ...]) -> Fit:
    """From one start by turns, scale and shift, then, where more is allowed, by an affine transform."""
    best = fitted(reference, moving, level, matrix, min("similarity", kinds[-1], key=KINDS.index))
    if best.score > -1 and KINDS.index(kinds[-1]) >= KINDS.index("affine"):
        best = max(best, fitted(reference, moving, level, best.matrix, "affine"), key=lambda fit: fit.score)
    return best


def matched(reference: Picture, moving: Picture, kind: str = "auto") -> Match:
    """The transform of that kind, or of the simplest that does as well as any, and whether it holds."""
    kinds = KINDS if kind == "auto" else (kind,)
    finest = min(FINEST, reference.longest, moving.longest)
    levels = [level for level in LEVELS if level < CLOSE * finest] or [finest]
    first, *middle = levels
    tops = begun(reference, moving, first, kinds)
    matrix = tops[0]
    if middle:
        widest = min("affine", kinds[-1], key=KINDS.index)
        matrix = max((fitted(reference, moving, middle[0], x, widest) for x in tops), key=lambda f: f.score).matrix
    fits = {name: Fit(matrix, 0.0) for name in kinds}
    for level in (*middle, finest) if finest < FINEST else middle:
        fits = {name: fitted(reference, moving, level, fit.matrix, name) for name, fit in fits.items()}
    best = max(fit.score for fit in fits.values())
    chosen = next(name for name in kinds if fits[name].score >= best - LOSS * (1 - best))
    fit = fitted(reference, moving, finest, fits[chosen].matrix, chosen) if finest == FINEST else fits[chosen]
    return judged(reference, moving, fit, chosen, finest)


def judged(reference: Picture, moving: Picture, fit: Fit, kind: str, finest: int) -> Match:
    """The match with what was measured before and after, and the doubts that follow from it."""
    own, other = reference.grey, moving.grey
    begin = unmoved(reference, moving)
    (_, back), (field, to_moving) = reference.field(finest), moving.field(finest)
    at_first = score(reference.target(finest), field, np.linalg.inv(to_moving) @ begin @ back)
    before, after = misalignment(own, other, begin), misalignment(own, other, fit.matrix)
    match = Match(fit.matrix, kind, (at_first, fit.score), before, after)
    plain = min(float(np.abs(np.diff(x, axis=1)).mean()) for x in (own, other))
    agreeing = f"{after.agree:.0%} of the blocks agree, edges correlate by {fit.score:.2f}"
    if plain < PLAIN and fit.score < BELIEVED:
        return match._replace(doubt=f"too little texture ({plain:.2g} grey levels between neighbouring pixels)")
    if fit.score < BELIEVED or after.agree < AGREED:
        return match._replace(doubt=f"no common structure ({agreeing}): different scenes, or depth")
    if after.apart > DEPTH:
        return match._replace(
            doubt=f"no one transform explains it: {after.apart:.0%} of the clear blocks stay {after.parallax:.1f} px "
            "off, as things at different depths do (parallax)"
        )
    return match
