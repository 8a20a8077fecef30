"""One job of the command `fuse`: pictures are read, told apart, aligned, fused, checked and written."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fuse import infer, methods
from fuse.align import Found, Transform, common_area, ghosts, load, reused, save, solve, still
from fuse.align.solve import KINDS
from fuse.data.io import write_bytes
from fuse.errors import InputError
from fuse.photos import account, check, kinds, memory, page, photo, stack, task
from fuse.photos.frames import Frames
from fuse.photos.photo import Photo, Stored
from fuse.photos.reduced import grey, reduced
from fuse.photos.shelf import ALIGNED_AT, Held, shelved, together
from fuse.photos.task import Guess, Task

FADING = 1 / 16  # of the longer side: how softly a picture of other brightness ends inside the result
DOUBLED = 1.0  # pixels at 1024 to 2047 along the longer side: aligned real pairs 0 to 0.9, 5 px off 0.1 to 2
NARROW = 0.25  # of the range of 16 bits: grey pictures that fill less look flat
Progress = Callable[[int, int], None]


class Wish(NamedTuple):
    """What is asked for; `auto` and None leave it to the pictures. `align` may name a file of transforms."""

    task: Task | Literal["auto"] = "auto"
    method: str | None = None
    align: str = "auto"
    color: infer.Policy = "mix"
    balance: float | None = None
    stretch: bool = False
    crop: bool = False
    limit: int = memory.MOST
    device: str = "cpu"
    dry: bool = False
    command: str = ""


class Target(NamedTuple):
    """Where results go: the picture, and if wanted the map, the page, and the transforms.

    `free`: nobody named the format of the picture, so it may be changed to one that can hold the result.
    """

    picture: Path
    map: Path | None = None
    report: Path | None = None
    transforms: Path | None = None
    free: bool = False


class Told(NamedTuple):
    """What was done, in sentences, and what to beware of; of that about the alignment also by itself."""

    said: list[str]
    warnings: list[str]
    moved: list[str]
    refused: list[str]


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run(paths: Sequence[Path], target: Target, wish: Wish, progress: Progress | None = None) -> Told:
    """Fuse the pictures of one scene and write the result; with `wish.dry` only tell what would be done.

    Raises:
        InputError: a picture that cannot be read, pictures that cannot be fused as wished, or a place that cannot be
            written to. Nothing is written then.
    """
    clock, told, names = Clock(), Told([], [], [], []), short(paths)
    with ExitStack() as until_the_end:
        heads = [photo.header(path) for path in paths]
        fuser = loaded(wish.method, wish) if wish.method else None
        with clock.stage("reading"):
            spooled = sum(head.bytes for head in heads) > (wish.limit - memory.PROGRAM) // 3
            shelf = [until_the_end.enter_context(shelved(path, spooled, wish.stretch)) for path in paths]
        for name, held in zip(names, shelf, strict=True):
            told.said.extend(f"{name}: {words}" for words in held.stored.said)
            if held.filled < NARROW and not wish.stretch:
                told.warnings.append(
                    f"{name} fills {held.filled:.0%} of the range of 16 bits and looks flat; --stretch spreads it"
                )
        guess = told_apart(shelf, paths, wish, told)
        first = reference(shelf, guess)
        with clock.stage("aligning"):
            first, moves, found = aligned(shelf, names, first, wish, told)
        kind, differences = kinds.same_kind(heads, names, first)
        told.warnings.extend(differences)
        coloured = task.coloured([held.small for held in shelf])
        name, why = (wish.method, "as asked") if wish.method else task.method(guess.task, len(paths), coloured)
        fuser = fuser or loaded(name, wish)
        told.said.append(f"method {name}: {why}")
        height, width = moves[0].reference
        masked = any(held.alpha for held in shelf) or not all(move.untouched for move in moves)
        plan = memory.plan(
            fuser, len(paths), height, width, kind.channels, kind.depth, wish.limit, masked, device=wish.device
        )
        area = common_area(moves) if wish.crop else (0, 0, height, width)
        target = settled(target, kind, area, wish.color)
        if wish.dry:
            parts = "as a whole" if plan.tile is None else f"in tiles of {plan.tile} pixels"
            told.said.append(f"would fuse {parts}, in about {memory.shown(plan.peak)}, and write {target.picture}")
            return told
        with clock.stage("moving"):
            frames = until_the_end.enter_context(Frames(plan.spooled))
            fading = 0.0 if guess.task == "focus" else FADING
            alpha = together(shelf, first, moves, kind, frames, infer.traits(fuser).selects, fading)
        with clock.stage("fusing"):
            wanted = target.map is not None or target.report is not None
            made = stack.fuse_frames(fuser, frames, wish.limit, wish.device, wish.color, progress, wanted, plan)
        with clock.stage("checking"):
            doubts = doubted(made, frames, moves, guess)
        with undone_if_not_all(target):
            result = Photo(
                account.cut(made.pixels, area), None if alpha is None else account.cut(alpha, area), kind.stored
            )
            chosen = None if made.chosen is None else account.cut(made.chosen, area)
            told.warnings.extend(photo.lost(kind.stored, result.pixels.shape[0], target.picture.suffix))
            if target.map is not None and chosen is not None:
                photo.write(target.map, Photo(shades(chosen, len(paths)), None, Stored(".png")))
            if target.transforms is not None:
                save(target.transforms, moves, names)
            if target.report is not None:
                whole = account.story(
                    target.picture.name,
                    account.shown(result.pixels, frames),
                    chosen,
                    list(account.sources(names, shelf, frames, area, guess, found)),
                    kind,
                    guess,
                    (name, why),
                    (told.moved, told.refused),
                    account.within(doubts, area),
                    told.warnings,
                    clock.seconds,
                    wish.command,
                )
                write_bytes(target.report, page.render(whole).encode())
            photo.write(target.picture, result)
        told.warnings.extend(f"{doubt.what}; {doubt.advice}" for doubt in doubts)
    return told


@contextmanager
def undone_if_not_all(target: Target) -> Iterator[None]:
    """If not everything can be written, what was new is taken away again."""
    new = [path for path in target[:4] if path is not None and not os.path.exists(path)]
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.unlink()
        raise


def short(paths: Sequence[Path]) -> list[str]:
    """File names, with the folder where these are the same."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.parent.name}/{path.name}" for path in paths]


def loaded(name: str, wish: Wish) -> nn.Module:
    """The method, on its device, its balance set.

    Raises:
        InputError: there is no such method, or it has no balance to set.
    """
    fuser = methods.fuser(name, torch.device(wish.device))[0].eval()
    if wish.balance is not None:
        methods.balance(fuser, name, wish.balance)
    return fuser


def told_apart(shelf: Sequence[Held], paths: Sequence[Path], wish: Wish, told: Told) -> Guess:
    """What the pictures are: as asked, or by their names and looks, said aloud."""
    guess = task.guess([held.small for held in shelf], paths)
    if wish.task != "auto":
        return guess._replace(task=wish.task) if guess.task == wish.task else Guess(wish.task, "certain", "as asked")
    told.said.append(f"{task.TOLD[guess.task]} ({guess.sure}): {guess.why}")
    if guess.sure == "unsure" and not wish.method:
        told.warnings.append(
            f"it is not sure that these are {task.TOLD[guess.task]} pictures; --task says what they are"
        )
    return guess


def reference(shelf: Sequence[Held], guess: Guess) -> int:
    """The picture that stays as it is, and whose size and metadata the result has: of stacks the middle one, of other
    pairs the visible or structural one if that is known, else the larger one."""
    if len(shelf) > 2:
        return len(shelf) // 2
    if guess.roles and guess.task in ("infrared", "medical"):
        for role in ("vi", "mri"):
            if role in guess.roles:
                return guess.roles.index(role)
    areas = [height * width for height, width in (held.size for held in shelf)]
    return areas.index(max(areas))


def aligned(
    shelf: Sequence[Held], names: Sequence[str], first: int, wish: Wish, told: Told
) -> tuple[int, list[Transform], list[Found]]:
    """The number of the reference, how every picture has to be moved to lie on it, and what was measured.

    Raises:
        InputError: pictures that have to be moved, since sizes differ or it was asked for, and cannot be.
    """
    sizes = [held.size for held in shelf]
    if wish.align == "off":
        if len(set(sizes)) > 1:
            raise InputError(
                f"pictures of sizes {said_sizes(sizes)} must be aligned to be fused; leave --align off out"
            )
        return first, [still(size, size) for size in sizes], []
    if wish.align not in KINDS:
        _, stored = load(Path(wish.align))
        first = min(next((i for i, move in enumerate(stored) if move.untouched), first), len(sizes) - 1)
        told.said.append(f"moved as {wish.align} says")
        told.moved.append(f"moved as {wish.align} says")
        return first, reused(stored, sizes), []
    found = solve([held.grey for held in shelf], wish.align, first, names, sizes)
    told.said.extend(found.said)
    told.moved.extend(found.said)
    told.refused.extend(found.refused)
    if found.refused and (wish.align != "auto" or len(set(sizes)) > 1):
        why = f" and have different sizes ({said_sizes(sizes)})" if len(set(sizes)) > 1 else ""
        raise InputError(f"the pictures cannot be aligned{why}: " + "; ".join(found.refused))
    told.warnings.extend(f"{line}; it is fused where it is: look for double edges" for line in found.refused)
    return first, list(found.transforms), list(found.found)


def said_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """Sizes that occur, as people write them."""
    return ", ".join(sorted({f"{width}x{height}" for height, width in sizes}))


def settled(target: Target, kind: kinds.Kind, area: Sequence[int], color: infer.Policy) -> Target:
    """The target, if its format can hold the result.

    Raises:
        InputError: it cannot.
    """
    if target.free and kind.depth.is_floating_point:
        target = target._replace(picture=target.picture.with_suffix(".tif"))
    top, left, bottom, right = area
    shape = (1 if color == "grey" else kind.channels, bottom - top, right - left)
    photo.suitable(target.picture, Photo(torch.zeros((), dtype=kind.depth).expand(shape), None, kind.stored))
    return target


def doubted(made: stack.Result, frames: Frames, moves: Sequence[Transform], guess: Guess) -> list[check.Doubt]:
    """What to beware of in the result, by looking at it beside its sources, one after the other."""
    height, width = frames.size
    sources = (account.shown(frames.picture(number), frames) for number in range(len(frames)))
    valid = None
    if not all(move.untouched for move in moves):
        top, left, bottom, right = common_area(moves)
        valid = torch.zeros(1, height, width, dtype=torch.bool)
        valid[:, top:bottom, left:right] = True
    found = check.doubts(account.shown(made.pixels, frames), sources, valid, guess.roles, made.chosen)
    return [*found, *doubled(made, frames)]


def doubled(made: stack.Result, frames: Frames) -> list[check.Doubt]:
    """The doubt that edges of the result are there twice."""

    def small(picture: Tensor) -> Tensor:
        return grey(reduced(account.shown(picture, frames), ALIGNED_AT))

    result = small(made.pixels)
    score = ghosts(result, [small(frames.picture(number)) for number in range(len(frames))])
    if score <= DOUBLED:
        return []
    apart = score * made.pixels.shape[-1] / result.shape[-1]
    what = f"edges are doubled, by about {apart:.1f} px"
    return [check.Doubt("doubled", what, score, None, "the pictures do not lie on each other: see what was aligned")]


def shades(chosen: Tensor, count: int) -> Tensor:
    """Numbers of pictures as grey: the first black, the last white; 16 bit for more than 256 pictures."""
    full, depth = (255, torch.uint8) if count <= 256 else (65535, torch.uint16)
    return (chosen.float() * (full / (count - 1))).round().to(depth)
