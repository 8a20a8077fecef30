"""Which source of which scene a file is, from its path: the layouts that people have.

Roles are told by the words people use for them (`infrared`, `thermal` for ir), or by letters and numbers in the order
of the roles (`A`, `B`; `1`, `2`), as the name of a folder, or at the end or the beginning of the file's name.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from fuse.data.medical import stem

WORDS: dict[str, tuple[str, ...]] = {
    "ir": ("infrared", "thermal", "inf", "lwir", "tir", "cropinfrared"),
    "vi": ("vis", "visible", "crop_lr_visible", "rgb"),
    "near": ("foreground", "front"),
    "far": ("background", "back"),
    "mid": ("middle",),
    "under": ("underexposed", "ue", "low", "dark"),
    "over": ("overexposed", "oe", "high", "bright"),
    "gt": ("full_clear", "all_in_focus", "aif", "truth", "groundtruth", "label", "reference", "ref"),
    "mri": ("mr",),
}
Way = Callable[[PurePosixPath, Sequence[str]], tuple[str, str] | None]  # (path, roles) -> role and stem


def role_of(word: str, roles: Sequence[str]) -> str | None:
    """The role that a word means among those, by name, by a word people use, or by letter or number in their order."""
    word = word.lower()
    for role in roles:
        if word == role.lower() or word in WORDS.get(role.lower(), ()):
            return role
    plain = re.sub(r"^(source|src|input|img|image|focus|exposure)[ _-]?", "", word)
    ordered = [role for role in roles if role.lower() != "gt"]
    if re.fullmatch(r"[a-z]", plain) and ord(plain) - ord("a") < len(ordered):
        return ordered[ord(plain) - ord("a")]
    if re.fullmatch(r"0*[1-9][0-9]*", plain) and int(plain) <= len(ordered):
        return ordered[int(plain) - 1]
    return None


def by_folder(path: PurePosixPath, roles: Sequence[str]) -> tuple[str, str] | None:
    """`ir/01.png`, `A/01.png`, `cropinfrared/01.jpg`: the nearest folder that means a role; the name is the stem."""
    for folder in reversed(path.parts[:-1]):
        if role := role_of(folder, roles):
            return role, stem(path)
    return None


def by_end(path: PurePosixPath, roles: Sequence[str]) -> tuple[str, str] | None:
    """`01_ir.png`, in whatever folder, `lytro-01-A.jpg`, `chairs.1.jpg`: the last word of the name means a role."""
    match = re.fullmatch(r"(.+?)[ _.-]+([^ _.-]+)", stem(path)) or re.fullmatch(r"(.*[A-Za-z])(\d+)", stem(path))
    role = role_of(match[2], roles) if match else None
    return (role, match[1]) if match and role else None


def by_beginning(path: PurePosixPath, roles: Sequence[str]) -> tuple[str, str] | None:
    """`ir_01.png`, `A-01.png`, `VIS01.bmp`: the first word of the name means a role."""
    match = re.fullmatch(r"([^ _.-]+?)[ _.-]+(.+)", stem(path)) or re.fullmatch(r"([A-Za-z]+)(\d.*)", stem(path))
    role = role_of(match[1], roles) if match else None
    return (role, match[2]) if match and role else None


WAYS: tuple[Way, ...] = (by_folder, by_end, by_beginning)


def meanings(path: PurePosixPath, roles: Sequence[str]) -> list[tuple[str, str]]:
    """Every (role, stem) that a path may mean, the likeliest first."""
    found = [way(path, roles) for way in WAYS]
    return list(dict.fromkeys(meant for meant in found if meant))


def sort(paths: Iterable[PurePosixPath], roles: Sequence[str]) -> dict[str, dict[str, list[PurePosixPath]]]:
    """The files by role and stem, read in the one way that makes most scenes complete; several for one place stay
    side by side.
    """
    every = list(paths)
    best: tuple[int, int] = (-1, 0)
    chosen: dict[str, dict[str, list[PurePosixPath]]] = {role: {} for role in roles}
    for way in WAYS:
        found: dict[str, dict[str, list[PurePosixPath]]] = {role: {} for role in roles}
        for path in every:
            if meant := way(path, roles):
                found[meant[0]].setdefault(meant[1], []).append(path)
        score = len(complete(found)), sum(len(stems) for stems in found.values())
        if score > best:
            best, chosen = score, found
    return chosen


def complete(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Stems that every role has, in the order of their names."""
    stems = [set(paths) for paths in found.values()]
    return sorted(stems[0].intersection(*stems)) if stems else []
