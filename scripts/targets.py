"""What scripts/does_it_help measures of one fused picture: targets in boxes, saliency, kept texture, people found."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from fuse import ranking

ROUNDING = 1 / 12  # variance that rounding to whole grey levels adds: nothing is more certain than that
TALL = 96  # pixels, of a person in the detector's window of 128: who is smaller cannot be found
TINY = 1e-9
UNDEFINED = ranking.Interval(float("nan"), float("nan"), float("nan"))
SCORES = {
    "both": "the smaller of `targets` and `texture`, per pair",
    "both_people": "the same with people as the only targets",
    "targets": "target contrast, as a share of the contrast in the source that shows this target better, at most 1",
    "texture": "share of the visible picture's gradient energy outside of the boxes that is there, in its direction",
    "foreign": "share of a picture's own gradient energy there that neither source has: halos, cuts, noise; 0 is best",
    "contrast": "|mean inside - mean in the ring| / sqrt(mean of the two variances), mean over the targets of a pair",
    "people": "contrast, people only",
    "vehicles": "contrast, vehicles only",
    "ROC": "area under the ROC of brightness inside against ring, or 1 less it, whichever is larger: 0.5 is invisible",
    "saliency": "area under the ROC of the spectral residual inside all boxes against everywhere else",
}


class Box(NamedTuple):
    """In pixels of the stored picture; `what`: person or vehicle."""

    x: int
    y: int
    width: int
    height: int
    what: str


class Pair(NamedTuple):
    data: str
    stem: str
    vi: Float[Tensor, "h w"]
    ir: Float[Tensor, "h w"]
    boxes: list[Box]


def boxes(path: Path) -> dict[tuple[str, str], list[Box]]:
    found: dict[tuple[str, str], list[Box]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            sides = (int(row[key]) for key in ("x", "y", "width", "height"))
            found.setdefault((row["set"], row["stem"]), []).append(Box(*sides, row["what"]))
    return found


def inside(box: Box, like: Float[Tensor, "h w"], margin: int = 0) -> Bool[Tensor, "h w"]:
    """Where the box is, `margin` pixels wider on every side."""
    mask = torch.zeros_like(like, dtype=torch.bool)
    top, left = max(0, box.y - margin), max(0, box.x - margin)
    mask[top : box.y + box.height + margin, left : box.x + box.width + margin] = True
    return mask


def surroundings(box: Box, others: list[Box], like: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The ring of a quarter of the smaller side, at least 4 pixels, less every box."""
    ring = inside(box, like, max(4, min(box.width, box.height) // 4))
    for other in others:
        ring &= ~inside(other, like)
    return ring


def contrast(within: Float[Tensor, " n"], ring: Float[Tensor, " m"]) -> float:
    """|mean_in - mean_ring| / sqrt((var_in + var_ring) / 2), the variances with 1/12 level for rounding: d-prime."""
    spread = (within.var(correction=0) + ring.var(correction=0)) / 2 + ROUNDING
    return float((within.mean() - ring.mean()).abs() / spread.sqrt())


def roc_area(positive: Float[Tensor, " n"], negative: Float[Tensor, " m"]) -> float:
    """P(positive > negative) + P(equal) / 2."""
    ordered = negative.sort().values
    below, upto = (torch.searchsorted(ordered, positive, right=right) for right in (False, True))
    return float((below + upto).double().mean() / 2 / len(negative))


def spectral_residual(picture: Float[Tensor, "h w"], width: int = 64, sigma: float = 2.5) -> Float[Tensor, "h w"]:
    """g * |F^-1(exp(R + i P))|^2, R = L - box_3(L), L the log amplitude and P the phase of the spectrum.

    Computed `width` pixels wide, g a Gaussian of that `sigma` there, and enlarged again: Hou & Zhang, CVPR 2007, with
    the sizes of the authors' program.
    """
    height, full = picture.shape
    small = F.interpolate(picture[None, None], (max(3, round(height * width / full)), width), mode="area")
    spectrum = torch.fft.fft2(small)
    level = spectrum.abs().clamp_min(TINY).log()
    residual = level - F.avg_pool2d(F.pad(level, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    salient = torch.fft.ifft2(torch.polar(residual.exp(), spectrum.angle())).abs() ** 2
    taps = torch.exp(-(torch.arange(-7, 8, dtype=picture.dtype) ** 2) / (2 * sigma**2))
    kernel = (taps / taps.sum()).view(1, 1, 1, -1)
    for turned in (kernel, kernel.transpose(2, 3)):
        wide, high = turned.shape[3] // 2, turned.shape[2] // 2
        salient = F.conv2d(F.pad(salient, (wide, wide, high, high), mode="replicate"), turned)
    return F.interpolate(salient, (height, full), mode="bilinear", align_corners=False)[0, 0]


def differences(picture: Float[Tensor, "h w"]) -> Float[Tensor, "2 h1 w1"]:
    """To the next pixel on the right and below, without the last row and column."""
    x = picture.double()
    return torch.stack([x[:-1, 1:] - x[:-1, :-1], x[1:, :-1] - x[:-1, :-1]])


def kept_texture(fused: Float[Tensor, "h w"], vi: Float[Tensor, "h w"], where: Bool[Tensor, "h w"]) -> float:
    """sum |dV|^2 clip(<dF, dV> / |dV|^2, 0, 1) / sum |dV|^2 over `where`, d the differences to the next pixels.

    What another source adds earns nothing, what has turned round is lost: a copy of V has 1, half of it 0.5.
    """
    ours, theirs = differences(fused), differences(vi)
    energy = (theirs**2).sum(0)
    kept = torch.minimum((ours * theirs).sum(0).clamp_min(0), energy)
    return float((kept * where[:-1, :-1]).sum() / (energy * where[:-1, :-1]).sum().clamp_min(TINY))


def foreign(fused: Float[Tensor, "h w"], sources: list[Tensor], where: Bool[Tensor, "h w"]) -> float:
    """1 - sum min(|dF|^2, max_i |dI_i|^2) / sum |dF|^2 over `where`, d as above; 0 of a flat picture."""
    energy = (differences(fused) ** 2).sum(0) * where[:-1, :-1]
    most = torch.stack([(differences(x) ** 2).sum(0) for x in sources]).amax(0)
    return float((energy - most).clamp_min(0).sum() / energy.sum().clamp_min(TINY))


def judge(picture: Float[Tensor, "h w"], pair: Pair) -> dict[str, float]:
    """Every score of one fused picture; NaN where the pair has no such target."""
    nan = float("nan")
    clear: dict[str, list[float]] = {"person": [], "vehicle": []}
    kept: dict[str, list[float]] = {"person": [], "vehicle": []}
    areas, anywhere = [], torch.zeros_like(picture, dtype=torch.bool)
    for box in pair.boxes:
        mask, ring = inside(box, picture), surroundings(box, pair.boxes, picture)
        ours, *theirs = (contrast(x[mask], x[ring]) for x in (picture, pair.vi, pair.ir))
        clear[box.what].append(ours)
        kept[box.what].append(min(1.0, ours / max(*theirs, TINY)))
        area = roc_area(picture[mask], picture[ring])
        areas.append(max(area, 1 - area))
        anywhere |= mask
    texture, added = kept_texture(picture, pair.vi, ~anywhere), foreign(picture, [pair.vi, pair.ir], ~anywhere)
    if not pair.boxes:
        return dict.fromkeys(SCORES, nan) | {"texture": texture, "foreign": added}
    residual = spectral_residual(picture)
    every = float(np.mean(kept["person"] + kept["vehicle"]))
    return {
        "both": min(every, texture),
        "both_people": min(float(np.mean(kept["person"])), texture) if kept["person"] else nan,
        "targets": every,
        "texture": texture,
        "foreign": added,
        "contrast": float(np.mean(clear["person"] + clear["vehicle"])),
        "people": float(np.mean(clear["person"])) if clear["person"] else nan,
        "vehicles": float(np.mean(clear["vehicle"])) if clear["vehicle"] else nan,
        "ROC": float(np.mean(areas)),
        "saliency": roc_area(residual[anywhere], residual[~anywhere]),
    }


def overlap(one: Any, other: Any) -> float:
    """Intersection over union of (x, y, width, height)."""
    wide, high = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    common = max(0, wide) * max(0, high)
    return float(common / (one[2] * one[3] + other[2] * other[3] - common))


def people(picture: Float[Tensor, "h w"], zoom: int = 1) -> list[tuple[float, tuple[float, ...]]]:
    """Scores and boxes of OpenCV's HOG people detector, boxes shrunk to the person as OpenCV's own sample does."""
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    pixels = cv2.resize(picture.byte().numpy(), None, fx=zoom, fy=zoom)
    found, scores = detector.detectMultiScale(pixels, winStride=(8, 8), padding=(16, 16), scale=1.05)
    shrunk = [tuple(s / zoom for s in (x + 0.1 * w, y + 0.07 * h, 0.8 * w, 0.8 * h)) for x, y, w, h in found]
    return sorted(zip(np.ravel(scores).tolist(), shrunk, strict=True), reverse=True)


def hits(found: list[tuple[float, tuple[float, ...]]], targets: list[Box]) -> list[tuple[float, bool]]:
    """Score of each detection and whether it is a tall person not found before, IoU of 0.5; small ones do not count."""
    told, left = [], [box for box in targets if box.what == "person"]
    for score, place in found:
        best = max(left, key=lambda box: overlap(place, box), default=None)
        if best is None or overlap(place, best) < 0.5:
            told.append((score, False))
            continue
        left.remove(best)
        if best.height >= TALL:
            told.append((score, True))
    return told


def average_precision(
    true: Bool[np.ndarray, " n"], weights: Float[np.ndarray, "r n"], positives: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " r"]:
    """sum over hits of the precision there, over the number of positives; detections best first, r weightings of them.

    `weights`: how often the picture of each detection was drawn. NaN where there is nothing to be found.
    """
    precision = (weights * true).cumsum(1) / np.maximum(weights.cumsum(1), TINY)
    return np.where(positives > 0, (weights * true * precision).sum(1) / np.maximum(positives, TINY), np.nan)


def precision(found: list[list[tuple[float, bool]]], judged: list[Pair], counts: np.ndarray) -> ranking.Interval:
    """Average precision over all pairs, `found` being what `hits` tells of each."""
    tall = np.array([sum(b.what == "person" and b.height >= TALL for b in pair.boxes) for pair in judged], float)
    flat = sorted(((score, i, hit) for i, row in enumerate(found) for score, hit in row), reverse=True)
    weights = np.concatenate([np.ones((1, len(judged))), counts])
    at, true = [i for _, i, _ in flat], np.array([hit for _, _, hit in flat], bool)
    values = average_precision(true, weights[:, at], weights @ tall)
    low, high = ranking.percentiles(values[1:, None])
    return ranking.Interval(float(values[0]), float(low[0]), float(high[0]))


def interval(values: np.ndarray, counts: np.ndarray) -> ranking.Interval:
    """Mean over the pairs that have a value."""
    if np.isnan(values).all():
        return UNDEFINED
    low, high = ranking.percentiles(ranking.resampled_means(counts, values[None]))
    return ranking.Interval(float(np.nanmean(values)), float(low[0]), float(high[0]))


def agreement(
    task: Float[np.ndarray, "methods pairs"], metric: Float[np.ndarray, "methods pairs"], counts: np.ndarray
) -> ranking.Interval:
    """Spearman's rho over methods of their mean ranks over the pairs where all have both values, with its interval."""
    both = ~(np.isnan(task) | np.isnan(metric)).any(0)
    if not both.any():
        return UNDEFINED
    weights = np.concatenate([np.ones((1, both.sum())), counts[:, both]])
    weights = weights[weights.any(1)]
    placed = [ranking.ranks(weights @ ranking.ranks(values[:, both].T)) for values in (task, metric)]
    x, y = (p - p.mean(1, keepdims=True) for p in placed)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    low, high = ranking.percentiles(rho[1:, None])
    return ranking.Interval(float(rho[0]), float(low[0]), float(high[0]))
