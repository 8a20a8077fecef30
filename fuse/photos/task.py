"""What kind of fusion a set of pictures asks for: focus, infrared, medical or exposure; told by names and by looks.

The looks are compared on cells of a coarse grid (32 along the longer side), so that pictures that are not aligned, of
different sizes or of different sharpness can be compared. Numbers beside the limits are what was found on 858 real
scenes (20 Lytro, 60 MFI-WHU, 31 MFIFB and 6 grey focus pairs, 4 triples, 2 stacks; 111 + 6 RoadScene, 21 TNO, 16 MSRS,
8 VIFB and 6 unaligned infrared pairs; 553 medical pairs; 12 exposure pairs and 2 sequences of 5).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from fuse.data import medical
from fuse.data.names import WORDS
from fuse.photos.reduced import grey, reduced
from fuse.suspicion import correlation

Task = Literal["focus", "infrared", "medical", "exposure"]
Sure = Literal["certain", "likely", "unsure"]
TASKS: tuple[Task, ...] = get_args(Task)

SIDE = 512  # pixels that are looked at
CELLS = 32  # along the longer side
APART = 4.0  # levels between two cells, from which one is the brighter
DARK = 24.0  # level that no pixel of an empty cell reaches
NARROW = 32.0  # levels: 16 bit grey pictures with less between their 1 and 99 % hold temperatures, not brightness

UNTOLD = 0.5  # order of pictures that are nearly flat
ORDER = 0.87  # same order of brightness: exposures and focus >= 0.90, infrared and visible <= 0.85
ALIKE = 0.45  # mean difference over deviation: focus <= 0.32, infrared >= 0.64, pairs of exposures >= 1.0
BRIGHTER = 0.95  # share of cells that are brighter in the brighter picture: exposures 1.00
STOP = 12.0  # levels between the means from which an exposure differs: pairs >= 87; focus <= 11.7
EMPTY = 0.15  # share of cells black in both: medical >= 0.20; MSRS at night reaches 0.70, but not its order
FRAME = 0.6  # share of black pixels along the border of both: medical >= 0.71
ANATOMY = 0.7  # order that medical pictures keep, empty against filled: >= 0.73; MSRS at night <= 0.68
SAME = 0.96  # correlation from which a black background is that of a photograph: medical <= 0.93
SHARPER = 0.3  # octaves of Laplacian energy between two cells of 1/16, from which one is the sharper
EXCHANGE = 0.02  # share of cells where another than the sharpest picture is sharper: focus >= 0.03; noisy copies 0
COLOURED = 3.0  # mean chroma in levels: false colours of a cell's average stay; noise does not

ROLES: dict[Task, tuple[str, ...]] = {
    "infrared": ("ir", "vi"),
    "medical": ("ct", "mri", "pet", "spect"),
    "exposure": ("under", "over"),
    "focus": ("near", "mid", "far"),
}
SAID: dict[Task, tuple[str, ...]] = {  # words of a folder or a name that speak of the whole set
    "focus": ("focus", "multifocus", "mfif", "focusstack", "macro"),
    "exposure": ("exposure", "exposures", "hdr", "bracket", "bracketed", "bracketing", "mef", "aeb"),
    "medical": ("dicom", "brain"),
    "infrared": (),
}
TOLD: dict[Task, str] = {
    "focus": "multi-focus",
    "infrared": "infrared and visible",
    "medical": "medical",
    "exposure": "multi-exposure",
}


class Guess(NamedTuple):
    """`sure`: "certain" (names or kinds of files and looks agree), "likely" (looks alone, far from every limit), or
    "unsure" (near a limit, names against looks, or pictures that no rule expects); `why` is a sentence for people.
    `roles`: what each picture is, in their order (ir, vi, ct, mri, pet, spect, under, over), or None where it cannot be
    told.
    """

    task: Task
    sure: Sure
    why: str
    roles: tuple[str, ...] | None = None


class Likeness(NamedTuple):
    """Two pictures on the coarse grid; the module's limits say what each number is for.

    `order`: share of pairs of cells, at least 4 levels apart in both, that have the same brighter one. `difference`:
    mean absolute difference over the mean of the deviations. `gap`: difference of the means in levels. `brighter`:
    share of cells with the sign of that difference. `empty`, `frame`: share of cells and of border pixels that are
    black in both. `chroma`: of each picture.
    """

    order: float
    difference: float
    gap: float
    brighter: float
    correlation: float
    empty: float
    frame: float
    chroma: tuple[float, float]


def guess(pictures: Sequence[Shaped[Tensor, "_ _ _"]], paths: Sequence[Path] = ()) -> Guess:
    """The task of two or more pictures `(c, h, w)` of one scene, 8 or 16 bit or floating point in [0, 1].

    Sizes and depths may differ; large pictures are reduced first. `paths`: the files they came from, in the same order.
    Of more than two the darkest and the brightest are compared. Names are believed where they speak of one task, and
    contradicted aloud.
    """
    small = [_shown(picture) for picture in pictures]
    means = [float(grey(picture).mean()) for picture in small]
    first, second = min(range(len(means)), key=means.__getitem__), max(range(len(means)), key=means.__getitem__)
    looks = likeness(small[first], small[second if second != first else -1])
    seen, why, clear = _seen(looks)
    if seen == "focus":
        share = exchange([grey(picture) for picture in small])
        what = (
            f"each is sharper somewhere ({share:.0%} of the area)" if share >= EXCHANGE else "none is sharper anywhere"
        )
        why, clear = f"{why}; {what}", clear and share >= EXCHANGE
    named, word = _named(paths)
    if named is None:
        sure: Sure = "likely" if clear else "unsure"
        return Guess(seen, sure, why, _roles(seen, small, paths))
    if named == seen:
        return Guess(seen, "certain", f"{word}, and {why}", _roles(seen, small, paths))
    sure = "certain" if word.startswith("the files") else "unsure"
    return Guess(named, sure, f"{word}; by their looks they would be {TOLD[seen]}: {why}", _roles(named, small, paths))


def likeness(first: Float[Tensor, "_ _ _"], second: Float[Tensor, "_ _ _"]) -> Likeness:
    """How alike two pictures of levels 0..255 are, of any sizes."""
    height, width = (min(first.shape[axis], second.shape[axis]) for axis in (1, 2))
    rows, columns = (max(round(CELLS * side / max(height, width)), 2) for side in (height, width))
    cells = [F.adaptive_avg_pool2d(picture, (rows, columns)) for picture in (first, second)]
    a, b = (grey(picture) for picture in cells)
    gap = float((b - a).mean())
    deviation = float(a.std(correction=0) + b.std(correction=0)) / 2
    filled = [F.adaptive_max_pool2d(grey(picture)[None], (rows, columns))[0] >= DARK for picture in (first, second)]
    return Likeness(
        order(a, b),
        float((b - a).abs().mean()) / max(deviation, 1.0),
        abs(gap),
        float(((b - a) * (1 if gap >= 0 else -1) > 0).float().mean()),
        correlation(a[None, None], b[None, None]),
        float((~(filled[0] | filled[1])).float().mean()),
        min(_frame(grey(first)), _frame(grey(second))),
        (_chroma(cells[0]), _chroma(cells[1])),
    )


def order(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Share of pairs of places whose brighter one is the same in both; exactly 0.5 where hardly a pair can be told.

    Pairs are every cell and the ones 1, 7 and n/7, n/5, n/3, n/2 places on, of n.
    """
    x, y = a.flatten(), b.flatten()
    n = len(x)
    same = total = 0
    for step in {1, 7, n // 7, n // 5, n // 3, n // 2}:
        d, e = x - x.roll(step), y - y.roll(step)
        told = (d.abs() > APART) & (e.abs() > APART)
        total += int(told.sum())
        same += int((d * e > 0)[told].sum())
    return same / total if total > n // 16 else UNTOLD


def exchange(pictures: Sequence[Float[Tensor, "_ _"]]) -> float:
    """Share of cells, 16 along the longer side, where the picture that wins most cells is not the sharpest by far.

    Sharpness: mean |4-neighbour Laplacian| + 1 of levels 0..255; by far: 0.3 octaves.
    """
    height, width = pictures[0].shape
    rows, columns = (max(round(CELLS / 2 * side / max(height, width)), 2) for side in (height, width))
    energies = torch.stack(
        [F.adaptive_avg_pool2d(laplacian(picture).abs()[None], (rows, columns))[0] for picture in pictures]
    )
    octaves = (energies + 1).log2()
    best = int(octaves.argmax(0).flatten().bincount(minlength=len(pictures)).argmax())
    return float((octaves.amax(0) - octaves[best] > SHARPER).float().mean())


def laplacian(picture: Float[Tensor, "_ _"]) -> Float[Tensor, "_ _"]:
    """Four neighbours less four times the pixel; a pixel less on every side, none of a picture under 3 pixels."""
    if min(picture.shape) < 3:
        return torch.zeros_like(picture)
    across = picture[1:-1, :-2] + picture[1:-1, 2:]
    return across + picture[:-2, 1:-1] + picture[2:, 1:-1] - 4 * picture[1:-1, 1:-1]


def _shown(picture: Shaped[Tensor, "_ _ _"]) -> Float[Tensor, "_ _ _"]:
    """Levels of the reduced picture; of a grey one of more than 8 bits with little between dark and bright, spread."""
    small = reduced(picture, SIDE)
    if picture.shape[0] == 1 and picture.dtype != torch.uint8:
        low, high = (float(small.flatten()[:: max(small.numel() // 2**16, 1)].quantile(q)) for q in (0.01, 0.99))
        if 0 < high - low < NARROW:
            return ((small - low) * (255 / (high - low))).clamp(0, 255)
    return small


def _frame(picture: Float[Tensor, "h w"]) -> float:
    """Share of black pixels in a border a 32nd of the shorter side wide."""
    width = max(min(picture.shape) // 32, 1)
    inner = torch.zeros_like(picture, dtype=torch.bool)
    inner[width:-width, width:-width] = True
    return float((picture[~inner] < DARK * 2 / 3).float().mean())


def _chroma(cells: Float[Tensor, "c h w"]) -> float:
    return float((cells.amax(0) - cells.amin(0)).mean())


def _seen(looks: Likeness) -> tuple[Task, str, bool]:
    """The task by looks alone, why, and whether every limit is far."""
    if looks.empty >= EMPTY and looks.frame >= FRAME and looks.order >= ANATOMY and looks.correlation < SAME:
        why = f"both are black around one bright body ({looks.empty:.0%} of the area is empty in both)"
        return "medical", why, looks.correlation < SAME - 0.02
    same_order = f"the same places are bright in both ({looks.order:.0%} of pairs in the same order)"
    if looks.order >= ORDER and looks.gap >= STOP and looks.brighter >= BRIGHTER:
        why = f"{same_order} while one is {looks.gap:.0f} levels brighter throughout"
        return "exposure", why, looks.gap >= 2 * STOP
    if (looks.order >= ORDER or looks.order == UNTOLD) and looks.difference < ALIKE:
        why = f"{same_order} and equally bright ({looks.gap:.0f} levels apart)"
        return "focus", why, looks.difference < 0.75 * ALIKE
    other = f"bright places of one are not those of the other ({looks.order:.0%} of pairs in the same order)"
    coloured = [chroma > COLOURED for chroma in looks.chroma]
    if all(coloured):
        return "infrared", f"{other}; both are coloured, so they may be two scenes or far from aligned", False
    kind = "one is coloured and one grey" if any(coloured) else "both are grey"
    return "infrared", f"{other} and {kind}, as from two sensors", UNTOLD != looks.order < ORDER - 0.02


def _tokens(text: str) -> list[str]:
    """Lower-case words of a name, parted by anything but letters and by capitals: `IR_01`, `vis01`, `petScan`."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())


def _told(paths: Sequence[Path], roles: Sequence[str]) -> list[str | None]:
    """The role that a word of each file's name means, or if these do not differ, of its folder's name."""
    by_file = [_role(medical.stem(path), roles) for path in paths]
    return by_file if len(set(by_file)) > 1 else [_role(path.parent.name, roles) for path in paths]


def _role(text: str, roles: Sequence[str]) -> str | None:
    words = _tokens(text)
    return next((role for role in roles if {role, *WORDS.get(role, ())} & set(words)), None)


def _named(paths: Sequence[Path]) -> tuple[Task | None, str]:
    """The one task that files and folders speak of, and how they do so."""
    if paths and all(
        medical.suffix(p) in medical.SUFFIXES or medical.suffix(p.parent) in medical.VOLUMES for p in paths
    ):
        return "medical", "the files are medical ones (DICOM or NIfTI)"
    found: dict[Task, str] = {}
    for task, roles in ROLES.items():
        told = _told(paths, roles)
        if len(set(told) - {None}) >= 2 or (task in ("infrared", "medical") and len(set(told)) == 2):
            found[task] = f"the names say {' and '.join(sorted({role for role in told if role}))}"
    for task, words in SAID.items():
        said = [{*_tokens(path.parent.name), *_tokens(medical.stem(path))} & set(words) for path in paths]
        if said and all(said):
            found.setdefault(task, f"the names say '{min(said[0])}'")
    if len(found) != 1:
        return None, ""
    return next(iter(found.items()))


def _roles(task: Task, pictures: Sequence[Float[Tensor, "_ _ _"]], paths: Sequence[Path]) -> tuple[str, ...] | None:
    """By names where they tell all pictures; else colour tells visible and functional pictures, brightness exposures
    and CT. Two grey pictures, infrared and visible, cannot be told apart: no measure of texture, contrast or brightness
    was right on more than 75 % of the TNO pairs.
    """
    told = _told(paths, ROLES[task])
    if len(pictures) == 2 and task == "infrared" and told.count(None) == 1:
        other = {"ir": "vi", "vi": "ir"}
        told = [role or other[told[1 - i] or ""] for i, role in enumerate(told)]
    named = [role for role in told if role]
    if len(named) == len(pictures) and len(set(named)) > 1:
        return tuple(named)
    return by_looks(task, pictures)


def by_looks(task: Task, pictures: Sequence[Float[Tensor, "_ _ _"]]) -> tuple[str, ...] | None:
    """The roles of two pictures of levels 0..255 by colour and brightness, or None where these say nothing."""
    if len(pictures) != 2 or task == "focus":
        return None
    means = [float(grey(picture).mean()) for picture in pictures]
    if task == "exposure":
        return ("under", "over") if means[0] < means[1] else ("over", "under")
    coloured = [_chroma(picture) > COLOURED for picture in pictures]
    if coloured[0] != coloured[1]:
        colour, plain = ("vi", "ir") if task == "infrared" else ("pet", "mri")
        return (colour, plain) if coloured[0] else (plain, colour)
    deviations = [float(grey(picture).std(correction=0)) for picture in pictures]
    if task == "medical" and not any(coloured) and (means[0] < means[1]) == (deviations[0] < deviations[1]):
        return ("mri", "ct") if means[0] < means[1] else ("ct", "mri")  # right on 126 of 129 CT and MRI pairs
    return None


def coloured(pictures: Sequence[Shaped[Tensor, "_ _ _"]]) -> bool:
    """Whether any of them, as `guess` takes them, has colours of its own."""
    return any(_chroma(_shown(picture)) > COLOURED for picture in pictures)


def method(task: Task, count: int = 2, coloured: bool = False) -> tuple[str, str]:
    """The rule or shipped network for so many pictures of a task, and a sentence that says why.

    Measured on six pairs of each set, spread over it, 8-bit luma as `fuse-eval` takes it. "Weakest": of the two sources
    the one that the result keeps less of.

    Focus: the shipped network has 46.7 dB to the truth on MFI-WHU's test pairs, swt 44.5, gff 43.7, dsift 43.0. Of the
    rules, Q_G on lytro: dsift .755, gff .753, maskblend .752, dctvar .743, swt .737, laplacian .718, average .575; gff
    needs 0.7 s where dsift needs 3.3, takes any number of pictures, and has no block borders.
    Of stacks, aligned by align_image_stack, focus / gff / enfuse have Q_G .630 / .592 / .585 (keyboard, 32 frames) and
    .408 / .432 / .406 (pcb, 7 frames); there the network, trained on pairs, sprinkles the rims of strong defocus.
    Infrared: the shipped network has VIF of the weakest .299 / .286 / .409 and Q_G .397 / .483 / .497 on other pairs of
    tno / roadscene / msrs, where the best rule has .206 / .198 / .340 and .341 / .454 / .467 (docs/thermal.md). Of the
    rules, VIF of the weakest on tno / roadscene / msrs: laplacian .254 / .228 / .234, swt .229 / .213 / .221,
    contrast .212 / .207 / .269, gff .150 / .196 / .237; Q_G of the weakest: .344 / .419 / .342, .336 / .419 / .345,
    .273 / .376 / .291, .271 / .370 / .375. The pixel-wise maximum scores well (.308 / .249 / .202) by being 20 to 40
    levels too bright; gff drops one sensor wherever the other has more contrast; contrast invents edges (N_ABF .05 to
    .10, laplacian .02 to .03).
    Medical, Q_G and VIF of the weakest on ct_mri / pet_mri / spect_mri: laplacian .511 / .398 / .205 and .212 / .207 /
    .153, swt .532 / .338 / .173 and .218 / .177 / .128, gff .526 / .430 / .180 and .248 / .183 / .111; the maximum
    (.360 / .503 / .390 and .196 / .234 / .221) again by being 12 to 23 levels too bright, and it erases what is dark.
    By eye, laplacian shows bone, what is calcified, and tissue. Of PET and SPECT in colour the shipped network shows
    colours and the folds in them, as laplacian does, without noise, dark rims and grey fat (docs/medical.md); it leaves
    brightness to the MRI, which a PET in grey cannot spare. gff washes colours out and mertens hides folds.
    Exposure, MEF-SSIM on mefb / mef_sequence: mertens .983 / .964, laplacian .980 / .938, gff .957 / .959.
    """
    if coloured and task in COLOURS:
        return COLOURS[task]
    return STACKS.get(task, METHODS[task]) if count > 2 else METHODS[task]


METHODS: dict[Task, tuple[str, str]] = {
    "focus": (
        "focus",
        "it takes every place from the sharpest picture, its pixels untouched, up to the edges of the scene",
    ),
    "infrared": (
        "thermal",
        "it serves the worse served of the two sensors best, keeps warm things bright, and adds nothing of its own",
    ),
    "medical": ("laplacian", "it keeps bone and soft tissue alike without brightening either"),
    "exposure": ("mertens", "it was made for bracketed exposures: every place from where it is well exposed"),
}
COLOURS: dict[Task, tuple[str, str]] = {
    "medical": ("medical", "it keeps the colours, shows what the others see in them, and leaves alone what one shows"),
}
STACKS: dict[Task, tuple[str, str]] = {
    "focus": ("gff", "it takes every place of a stack from the sharpest picture, with borders that follow the scene"),
}
