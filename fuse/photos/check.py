"""Doubts about a fused picture: what a person should look at before trusting it.

Every sign is a number with a limit. The limits were set on real pairs, four each of lytro, mfi_whu, mfifb, tno,
roadscene, msrs, ct_mri, pet_mri, spect_mri and mefb, fused by rules and by published networks, and spoiled on purpose;
beside each limit stands what good results reach and what spoiled ones start from. Good: gff, laplacian, swt and dsift
on focus pairs; laplacian and swt on infrared and medical ones; mertens and laplacian on exposures.
On these no doubt was raised about 104 good results, and one about 651 of 734 spoiled ones; what escapes is what the
sources allow: gamma, stretches and faint halos where one source is dark and the other bright (exposures, medical).
On pairs that no limit was set on (8 of lytro, 8 of tno, 10 of roadscene): 2 of 52 good results, and 177 of 182 that
were copies of a source, averages, gamma 0.7 and 1.4, halos, or shifted by 5 pixels; roles swapped 10 of 10 where one
source is coloured, never where both are grey.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor

from fuse.photos import task
from fuse.photos.cells import CELL, Box, Cells, Square, measured, squares
from fuse.photos.reduced import grey, levels
from fuse.suspicion import signs

IGNORED = 0.3  # share of what one source alone shows: good >= 0.50, copies of the other <= 0.09
SHOWS = 0.005  # share of pixels that a source must have for itself
DISPLACED = 0.2  # share of all such detail, while there is as much as ever: good >= 0.66, shifted <= 0.08
THERE = 0.6  # sharpness that a displaced result has: shifted >= 0.82
SOFT = 0.75  # sharpness against the sharpest source of every cell: good >= 0.86; average 0.50 to 0.64
HARSH = 1.35  # the same: good <= 1.30; sharpened by an unsharp mask 1.4 to 2.2
OUTSIDE = 8.0  # levels, mean of a cell beyond the sources' range, in the worst of 50: good <= 6.4
HALO = 5.0  # levels, the same of the neighbourhoods' means: good <= 3.9
BRIGHTNESS = 2.0  # levels, mean of what cells are outside the sources' means: good <= 0.5
CAST = 2.5  # levels of chroma outside the sources': good <= 2.1
PALE = 0.35  # share of the chroma of the most coloured source: good >= 0.89
COLOURED = 3.0  # levels of chroma from which a source is coloured
NOISE = 5.0  # levels of Laplacian in the flattest fifth beyond any source's: good <= 1.6; noise of deviation 8 >= 15
GRID = 0.7  # levels that the lines of a grid stand out from others: good <= 0.63; steps of 8 in blocks >= 1.0
PERIODS = (4, 8, 16, 32)  # pixels between the lines of a grid
LINES = 6  # that a grid must have
SPECKLED = 0.08  # share of pixels that disagree with those around: gff <= 0.01; pixel by pixel 0.09 to 0.14
WORST = 0.02  # share of cells that are the worst
BAND = 64  # rows of a map at a time
REGION = 64  # pixels: side of the boxes that doubts point to


class Doubt(NamedTuple):
    """`sign`: one of the names in `doubts`; `what`: a sentence; `amount`: the number that went beyond its limit.

    `where`: the worst region (top, left, bottom, right in pixels of the result), None if it is everywhere; `advice`:
    what to do.
    """

    sign: str
    what: str
    amount: float
    where: Box | None
    advice: str


def doubts(
    fused: Shaped[Tensor, "c h w"],
    sources: Iterable[Shaped[Tensor, "_ _ _"]],
    valid: Bool[Tensor, "1 h w"] | None = None,
    roles: Sequence[str] | None = None,
    chosen: Integer[Tensor, "1 h w"] | None = None,
) -> list[Doubt]:
    """What is doubtful about a result, worst kinds first; empty if nothing is.

    Pictures `(c, h, w)`, 8 or 16 bit or floating point in [0, 1], in any number; sources of another size are stretched
    to the result's. They are gone through once, so a generator that reads one after the other will do: of pictures
    above 2.4 megapixels only 16 squares of 384 pixels are looked at (see `fuse.photos.cells`). `valid`: pixels that
    all sources cover. `roles`: what the sources are said to be. `chosen`: the number of the source each pixel was
    taken from.

    Signs: displaced, ignored, swapped, turned, soft, harsh, outside, halo, brightness, saturated, cast, pale, noise,
    grid, speckled.
    """
    parts = squares(fused, sources)
    cells = measured(parts, valid)
    if not len(cells.mean):
        return []
    return [
        *_detail(cells),
        *_roles(parts, roles),
        *_known(parts),
        *_sharpness(cells),
        *_range(cells),
        *_colour(cells),
        *_noise(cells),
        *_grid(parts),
        *_speckle(chosen),
    ]


def _detail(cells: Cells) -> list[Doubt]:
    own, kept = cells.own.sum(0), cells.kept.sum(0)
    shows = cells.share.mean(0) > SHOWS
    if not bool(shows.any()):
        return []
    share = kept / own.clamp_min(1e-9)
    top = cells.energies.amax(1)
    sharp = float(cells.energy.sum() / top.sum().clamp_min(1e-9))
    whole = float(kept[shows].sum() / own[shows].sum())
    if whole < DISPLACED and sharp > THERE and float(share[shows].max()) < 2 * DISPLACED:
        return [
            Doubt(
                "displaced",
                f"the result is as sharp as its sources, but {1 - whole:.0%} of their detail is not where they have it",
                whole,
                None,
                "it is shifted or warped against them: look at the alignment and at how the picture was made",
            )
        ]
    lost = []
    for i in range(len(share)):
        if bool(shows[i]) and float(share[i]) < IGNORED:
            missing = cells.own[:, i] - cells.kept[:, i]
            what = f"of what only source {i + 1} shows, {max(float(share[i]), 0.0):.0%} came through"
            advice = "try another method (laplacian keeps most of every source), or leave that picture out"
            lost.append(Doubt("ignored", what, float(share[i]), _worst(cells, missing), advice))
    return lost


def _sharpness(cells: Cells) -> list[Doubt]:
    top = cells.energies.amax(1)
    strong = top >= top.median()
    ratio = float(cells.energy[strong].sum() / top[strong].sum().clamp_min(1e-9))
    if float(top[strong].mean()) < 1:
        return []
    if ratio < SOFT:
        what = f"the result is softer than the sharpest source of each place: {ratio:.0%} of its fine detail"
        advice = "an average or a network did that; a selecting method (gff) keeps sharpness; or the alignment failed"
        return [Doubt("soft", what, ratio, _worst(cells, top - cells.energy), advice)]
    if ratio > HARSH:
        what = f"the result has {ratio:.0%} of the fine detail of the sharpest source of each place"
        advice = "it was sharpened or noise was added: look at edges at full size"
        return [Doubt("harsh", what, ratio, _worst(cells, cells.energy - top), advice)]
    return []


def _range(cells: Cells) -> list[Doubt]:
    """Beyond the sources: single pixels, the rings of halos, and brightness as a whole."""
    low, high = cells.means.amin(1), cells.means.amax(1)
    beyond = (cells.mean - high).clamp_min(0) - (low - cells.mean).clamp_min(0)
    shift = float(beyond.mean())
    if abs(shift) > BRIGHTNESS:
        how = "brighter" if shift > 0 else "darker"
        what = f"the result is {how} than every source, by {abs(shift):.1f} of 255 levels"
        advice = "something changed its tones (a stretch, gamma, a network); compare with the sources in the slider"
        return [Doubt("brightness", what, shift, _worst(cells, beyond.abs()), advice)]
    excess, ring = _of_the_worst(cells.excess), _of_the_worst(cells.ring)
    if ring > HALO:
        what = f"beside strong edges it is up to {ring:.0f} levels brighter or darker than any source around"
        advice = "these are halos: try gff, or more levels or wider windows of the method"
        return [Doubt("halo", what, ring, _worst(cells, cells.ring), advice)]
    if excess > OUTSIDE:
        what = f"pixels go up to {excess:.0f} levels beyond all sources nearby"
        advice = "overshoot of a pyramid or network: look at edges at full size, or take a selecting method"
        return [Doubt("outside", what, excess, _worst(cells, cells.excess), advice)]
    return []


def _colour(cells: Cells) -> list[Doubt]:
    strength = cells.chromas.norm(dim=2).mean(0).max()
    share = float(cells.chroma.norm(dim=1).mean() / strength.clamp_min(1e-9))
    if float(strength) > COLOURED and share < PALE:
        what = f"the result has {share:.0%} of the colour of its most coloured source"
        return [Doubt("pale", what, share, None, "choose a --color policy that takes the colour of that source")]
    low, high = cells.chromas.amin(1), cells.chromas.amax(1)
    beyond = (cells.chroma - high).clamp_min(0) - (low - cells.chroma).clamp_min(0)
    cast = beyond.mean(0)
    if float(cast.abs().max()) > CAST:
        names = [("yellow", "blue"), ("cyan", "red")]
        axis = int(cast.abs().argmax())
        hue = names[axis][int(cast[axis] > 0)]
        what = f"a {hue} cast of {float(cast.abs().max()):.1f} levels that no source has"
        advice = "look at the colour policy and at profiles that were mixed"
        return [Doubt("cast", what, float(cast.abs().max()), _worst(cells, beyond.abs().sum(1)), advice)]
    return []


def _noise(cells: Cells) -> list[Doubt]:
    top = cells.energies.amax(1)
    flat = top <= top.quantile(0.2)
    more = float((cells.energy - top)[flat].mean())
    if more <= NOISE:
        return []
    what = f"where all sources are flat it is rough: {more:.0f} levels of Laplacian more than any of them"
    advice = "noise or a pattern was added: a network out of its range, or a method that picks noise as detail"
    return [Doubt("noise", what, more, _worst(cells, torch.where(flat, cells.energy - top, 0)), advice)]


def _known(parts: Sequence[Square]) -> list[Doubt]:
    """What `fuse.suspicion` sees in most of the squares: turned, stretched or saturated."""
    told = [
        signs(_rounded(part.fused)[None, None], [_rounded(source)[None, None] for source in part.sources])
        for part in parts
    ]
    words = {"looks": "turned", "looks stretched": "saturated", "has": "saturated"}
    found = []
    for start, sign in words.items():
        lines = [line for lines in told for line in lines if line.startswith(start)]
        if start == "looks":
            lines = [line for line in lines if "stretched" not in line]
        if 2 * len(lines) > len(told):
            advice = "it was spread or clipped: compare with the sources" if sign == "saturated" else "turn it back"
            found.append(Doubt(sign, f"it {lines[0]}", len(lines) / len(told), None, advice))
    return found[:2]


def _rounded(picture: Shaped[Tensor, "_ _ _"]) -> Float[Tensor, "_ _"]:
    return grey(levels(picture)).round()


def _roles(parts: Sequence[Square], roles: Sequence[str] | None) -> list[Doubt]:
    """Roles that colour or brightness contradict, in most squares."""
    kind = next((t for t, known in task.ROLES.items() if roles and set(roles) <= set(known)), None)
    if not roles or kind is None or len(roles) != 2 or len(parts[0].sources) != 2:
        return []
    looks = [task.by_looks(kind, [levels(source) for source in part.sources]) for part in parts]
    swapped = [seen for seen in looks if seen is not None and seen == tuple(roles)[::-1]]
    if 2 * len(swapped) <= len(parts):
        return []
    what = f"the {roles[0]} picture looks like {roles[1]} and the other way round"
    return [Doubt("swapped", what, len(swapped) / len(parts), None, "give the pictures in the other order")]


def _grid(parts: Sequence[Square]) -> list[Doubt]:
    each = [
        lines(grey(levels(part.fused)), torch.stack([grey(levels(source)) for source in part.sources]))
        for part in parts
    ]
    strength = {period: sum(found[period] for found in each) / len(each) for period in PERIODS}
    amount = max(strength.values())
    if amount <= GRID:
        return []
    best = next(period for period in PERIODS if strength[period] > 0.8 * amount)  # 16 and 32 see a grid of 8, too
    what = f"lines every {best} pixels that no source has, {amount:.1f} levels strong"
    return [Doubt("grid", what, amount, None, "blocks or tiles of the method show: take another, or larger tiles")]


def lines(fused: Float[Tensor, "h w"], sources: Float[Tensor, "k h w"]) -> dict[int, float]:
    """By period, how much the lines of a grid stand out: levels, the stronger of columns and rows.

    A border between columns stands out by its mean |difference of neighbours| less that of the borders beside it, less
    what it stands out by in the source where it does so most. Of the borders of one phase the weakest quarter counts,
    so that edges of the scene do not, and a phase must have six; the strongest phase less the median of all borders.
    """
    found = dict.fromkeys(PERIODS, 0.0)
    for turn in (False, True):
        pictures = torch.cat([fused[None], sources])
        steps = (pictures.transpose(1, 2) if turn else pictures).diff(dim=2).abs().mean(1)
        if steps.shape[1] < 3:
            continue
        stands = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
        more = stands[0] - stands[1:].amax(0).clamp_min(0)
        for period in PERIODS:
            if len(more) >= LINES * period:
                phases = torch.stack([more[phase::period].quantile(0.25) for phase in range(period)])
                found[period] = max(found[period], float(phases.max() - more.median()))
    return found


def _speckle(chosen: Integer[Tensor, "1 h w"] | None) -> list[Doubt]:
    """Pixels that fewer than three of the 8 around agree with; in stacks neighbouring sources agree, too."""
    if chosen is None or min(chosen.shape[1:]) < 3:
        return []
    near = (int(chosen.max()) + 1) // 8
    step = max(int((chosen.numel() / 2**22) ** 0.5), 1) * BAND  # of large maps bands with gaps between them
    shares = []
    for top in range(0, chosen.shape[1] - 2, step):
        band = chosen[0, top : top + BAND + 2].int()
        around = band.unfold(0, 3, 1).unfold(1, 3, 1)
        same = ((around - band[1:-1, 1:-1, None, None]).abs() <= near).sum((2, 3)) - 1
        shares.append(float((same < 3).float().mean()))
    share = sum(shares) / len(shares)
    if share <= SPECKLED:
        return []
    what = f"{share:.0%} of the pixels were taken from another source than those around them"
    advice = "the choice follows noise: take a method that cleans its map (gff, dsift), or larger windows"
    return [Doubt("speckled", what, share, None, advice)]


def _of_the_worst(values: Float[Tensor, "n"]) -> float:
    """The value that 2 % of the cells exceed."""
    return float(values.quantile(1 - WORST))


def _worst(cells: Cells, amount: Float[Tensor, "n"]) -> Box:
    """The region of 64 x 64 pixels with the largest sum."""
    regions, index = (cells.places // REGION).unique(dim=0, return_inverse=True)
    sums = torch.zeros(len(regions)).index_add_(0, index, amount.float())
    inside = cells.places[index == sums.argmax()]
    (top, left), (bottom, right) = inside.amin(0).tolist(), inside.amax(0).tolist()
    return top, left, bottom + CELL, right + CELL
