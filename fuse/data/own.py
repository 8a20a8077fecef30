"""A person's own pairs, stacks or single pictures as a data set, found by role words, by patterns, or by order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path, PurePosixPath

from fuse.data import io, medical, names
from fuse.data.sets import REST, Folders
from fuse.errors import InputError

STACK, SINGLE = "stack", "single"
Found = dict[str, dict[str, Path]]


def own(
    path: str,
    roles: Sequence[str] | str = ("near", "far"),
    patterns: Mapping[str, str] | None = None,
    task: str = "focus",
    splits: Mapping[str, Sequence[str | int] | str] | None = None,
    reference: str | None = None,
    name: str = "folder",
) -> Folders:
    """The scenes below the folder `path` as a data set.

    `roles` names the sources; where each lies is told from folder and file names (`fuse.data.names`), or said by
    `patterns`, one per role and for the `reference`, below `path`, with one `*` for the stem: `{ir: thermal/*.png}`.
    `roles=stack`: every folder of pictures is one scene, and its pictures in the order of their names are the roles 01,
    02, ...; `roles=single`: every picture is a scene of one role, `picture`. Without `splits`, neighbours by name
    stay together: the last tenth is test, the tenth before it val, the rest train, each at least one scene.

    Raises:
        InputError: no such folder, no scene that is complete, stacks of unequal length, or an unusable pattern.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"data.path={path} is not a folder; name the folder that holds your pictures")
    if isinstance(roles, str) and roles not in (STACK, SINGLE):
        raise InputError(f"data.roles={roles}: give a list, as in data.roles=[ir,vi], or {STACK}, or {SINGLE}")
    if roles == STACK:
        found = stacks(folder)
    elif roles == SINGLE:
        found = {"picture": io.pictures(folder)}
    else:
        wanted = [*roles, *([reference] if reference else [])]
        found = matched(folder, patterns, wanted) if patterns else recognised(folder, wanted)
    stems = names.complete(found)
    if not stems:
        raise InputError(f"data.path={path}: no scene is complete.\n{account(found, folder)}")
    sources = [role for role in found if role != reference]
    parts = splits if splits is not None else by_order(stems)
    return Folders(name, task, sources, parts, account(found, folder), reference=reference, paths=found)


def recognised(folder: Path, roles: Sequence[str]) -> Found:
    """The pictures below a folder by role and stem, as their names tell.

    Raises:
        InputError: two files mean the same picture.
    """
    below = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    pictures = [PurePosixPath(path.as_posix()) for path in below if io.is_picture(path.name)]
    found: Found = {}
    for role, stems in names.sort(pictures, roles).items():
        found[role] = {}
        for stem, paths in stems.items():
            if len(paths) > 1:
                raise InputError(f"{paths[0]} and {paths[1]} both mean {role} of {stem}; say which with data.patterns")
            place = folder / paths[0]
            found[role] |= io.places(place, stem)
    return found


def matched(folder: Path, patterns: Mapping[str, str], roles: Sequence[str]) -> Found:
    """The pictures that each role's pattern finds, by what its `*` stands for.

    Raises:
        InputError: a role without pattern, a pattern without exactly one `*`, or one stem found twice.
    """
    found: Found = {}
    for role in roles:
        pattern = patterns.get(role, "")
        if pattern.count("*") != 1 or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise InputError(
                f"data.patterns.{role}={pattern or 'missing'}: give a path below data.path with one * for the name of "
                "the scene, as in ir/*.png"
            )
        before, after = pattern.split("*")
        found[role] = {}
        for path in sorted(folder.glob(pattern)):
            if not io.is_picture(path.name):
                continue
            middle = path.relative_to(folder).as_posix()[len(before) :]
            stem = middle.removesuffix(after) if after else medical.stem(Path(middle))
            if stem in found[role]:
                raise InputError(f"{found[role][stem]} and {path} are both {role} of {stem}; make the pattern narrower")
            found[role] |= io.places(path, stem)
    return found


def stacks(folder: Path) -> Found:
    """Every folder of pictures as one scene; the folder itself, if it has pictures of its own.

    Raises:
        InputError: no stack, or stacks of unequal length.
    """
    if io.pictures(folder):
        every = {folder.name: io.pictures(folder)}
    else:
        every = {path.name: io.pictures(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    every = {stem: pictures for stem, pictures in every.items() if pictures}
    lengths = {len(pictures) for pictures in every.values()}
    if len(lengths) != 1 or lengths == {1}:
        counts = ", ".join(f"{stem} {len(pictures)}" for stem, pictures in list(every.items())[:8])
        raise InputError(f"{folder}: stacks of one length of two or more pictures are needed; found {counts or 'none'}")
    (length,) = lengths
    return {
        f"{number + 1:02d}": {stem: list(pictures.values())[number] for stem, pictures in every.items()}
        for number in range(length)
    }


def by_order(stems: Sequence[str]) -> dict[str, list[str | int] | str]:
    """The split of `own`; with fewer than three scenes all are test."""
    words: list[str | int] = [escape(stem) for stem in stems]
    if len(stems) < 3:
        return {"test": words}
    tenth = max(1, len(stems) // 10)
    return {"test": words[-tenth:], "val": words[-2 * tenth : -tenth], "train": REST}


def account(found: Mapping[str, Mapping[str, Path]], folder: Path) -> str:
    """What was found for each role, which scenes lack one, and what to do."""
    stems = names.complete(found)
    lines = [
        f"{role}: {len(paths)} pictures" + (f", such as {next(iter(paths.values()))}" if paths else f" below {folder}")
        for role, paths in found.items()
    ]
    if not all(found.values()):
        folders = Counter(path.parent for path in folder.rglob("*") if io.is_picture(path.name))
        there = [f"{path.relative_to(folder).as_posix()}/ {count}" for path, count in folders.most_common(8)]
        lines.append(f"Pictures are in: {', '.join(there) or 'no folder at all'}")
    alone = sorted({stem for paths in found.values() for stem in paths} - set(stems))
    if alone:
        lines.append(f"{len(alone)} scenes lack a role: {', '.join(alone[:8])}")
    lines.append("Name the sources with data.roles=[...], their places with data.patterns={ROLE: FOLDER/*.png, ...}.")
    return "\n".join(lines)
