"""Odd names, links, folders and targets: what the command is pointed at rather than what is in it."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from zoo_case import Picture, noise, png

PIXELS = noise(12, 16, 3)
FINE = png(PIXELS, 8, 2)
DONE, REFUSED, PARTLY = (0,), (2,), (3,)
NAMES = {
    "spaces": "my holiday  picture .png",
    "unicode": "Gänseblümchen-花-🌼.png",
    "decomposed unicode": "Ga\u0308nse.png",
    "right to left": "תמונה.png",
    "a newline": "two\nlines.png",
    "a tab": "tab\there.png",
    "a bell": "bell\a.png",
    "an escape sequence": "\x1b[31mred.png",
    "quotes": 'it\'s "quoted".png',
    "shell words": "$(touch x);`y`&&z|*?.png",
    "brackets": "[0-9]{a,b}.png",
    "per cent": "100%d%s%n.png",
    "backslashes": "a\\b\\c.png",
    "no utf-8": os.fsdecode(b"caf\xe9.png"),
    "255 bytes": "n" * 251 + ".png",
    "many dots": "a.b..c.tar.gz.png",
    "two endings": "a.jpg.png",
    "one letter": "a.png",
}


class Job(NamedTuple):
    """A whole command: `make(folder)` prepares the folder and returns the words; `makes` is what appears in it.

    `codes` are the exit codes that are fine; with 0 and 3 all of `makes` must be there, with 2 nothing may.
    """

    name: str
    make: Callable[[Path], list[str]]
    codes: tuple[int, ...]
    words: str = ""
    makes: Mapping[str, Picture] = {}


def put(folder: Path, *names: str, data: bytes = FINE) -> None:
    """Fine pictures under these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def pair(folder: Path) -> list[str]:
    """Two fine pictures."""
    put(folder, "first.png", "second.png")
    return ["first.png", "second.png"]


OUT = {"out.png": Picture(PIXELS)}


def names() -> Iterator[Job]:
    """Every name that a file system takes, for a source and for the result."""

    def source(name: str, folder: Path) -> list[str]:
        put(folder, "first.png", name)
        return ["first.png", name, "-o", "out.png"]

    def target(name: str, folder: Path) -> list[str]:
        return [*pair(folder), "-o", name]

    def batch(name: str, folder: Path) -> list[str]:
        put(folder, f"one/{name}", f"two/{name}")
        return ["one", "two", "-o", "results"]

    def broken(name: str, folder: Path) -> list[str]:
        put(folder, name, data=b"no picture")
        return [*source("fine.png", folder)[:1], name, "-o", "out.png"]

    for word, name in NAMES.items():
        yield Job(f"source named with {word}", partial(source, name), DONE, makes=OUT)
        yield Job(f"result named with {word}", partial(target, name), DONE, makes={name: Picture(PIXELS)})
        yield Job(f"folders with {word}", partial(batch, name), DONE, makes={f"results/{name}": Picture(PIXELS)})
        yield Job(
            f"no picture named with {word}", partial(broken, name), REFUSED, "cannot be read|no picture|not a picture"
        )

    def dashed(folder: Path) -> list[str]:
        put(folder, "-first.png", "--second.png")
        return ["-o", "out.png", "--", "-first.png", "--second.png"]

    def dashed_path(folder: Path) -> list[str]:
        put(folder, "-first.png", "--second.png")
        return ["./-first.png", "./--second.png", "-o", "./-out.png"]

    yield Job("sources with leading dashes", dashed, DONE, makes=OUT)
    yield Job("paths with leading dashes", dashed_path, DONE, makes={"-out.png": Picture(PIXELS)})
    yield Job(
        "result with a leading dash", lambda f: [*pair(f), "-o=-out.png"], DONE, makes={"-out.png": Picture(PIXELS)}
    )


def no_files() -> Iterator[Job]:
    """Sources that are no files, or not there."""

    def with_odd(make: Callable[[Path], object], folder: Path) -> list[str]:
        make(folder / "odd.png")
        return [*pair(folder)[:1], "odd.png", "-o", "out.png"]

    def named_socket(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{os.open(path.parent, os.O_RDONLY)}/{path.name}")

    odd: dict[str, Callable[[Path], object]] = {
        "missing": lambda path: None,
        "dangling link": lambda path: path.symlink_to("nowhere.png"),
        "link to itself": lambda path: path.symlink_to("odd.png"),
        "loop of links": lambda path: (path.symlink_to("loop.png"), (path.parent / "loop.png").symlink_to("odd.png")),
        "pipe": os.mkfifo,
        "link to a pipe": lambda path: (os.mkfifo(path.parent / "pipe"), path.symlink_to("pipe")),
        "socket": named_socket,
        "link to /dev/null": lambda path: path.symlink_to("/dev/null"),
        "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "folder named as a picture": Path.mkdir,
        "link to a folder": lambda path: ((path.parent / "folder").mkdir(), path.symlink_to("folder")),
    }
    for name, make in odd.items():
        yield Job(f"source is a {name}", partial(with_odd, make), REFUSED, r"odd\.png|mixed")
    if os.geteuid() != 0:  # root reads everything
        locked = partial(with_odd, lambda path: (path.write_bytes(FINE), path.chmod(0)))
        yield Job("source may not be read", locked, REFUSED, r"odd\.png cannot be opened: Permission")
    for name, path in {
        "below a file": "first.png/inner.png",
        "of 5000 letters": "x" * 5000 + ".png",
        "of a name of 300 letters": "x" * 300 + ".png",
        "below folders that are missing": "a/b/c/d.png",
        "an address": "https://example.org/picture.png",
        "a pattern": "*.png",
        "without a name": "",
    }.items():
        yield Job(f"source is {name}", lambda f, path=path: [*pair(f)[:1], path, "-o", "out.png"], REFUSED, "fuse: .")

    def linked(folder: Path) -> list[str]:
        (folder / "l.png").symlink_to(pair(folder)[0])
        return ["l.png", "second.png", "-o", "out.png"]

    yield Job("source is a link", linked, DONE, makes=OUT)


def unlike() -> Iterator[Job]:
    """Sources that do not go together."""

    def beside(data: bytes, suffix: str, folder: Path) -> list[str]:
        put(folder, "first.png")
        put(folder, f"odd{suffix}", data=data)
        return ["first.png", f"odd{suffix}", "-o", "out.png"]

    grey = PIXELS[..., :1]
    both = ((PIXELS.astype(int) + grey + 1) // 2).astype(np.uint8)
    half = Picture(both, tolerance=1)
    deep = png(PIXELS.astype(np.uint16) * 257, 16, 2)
    clear = png(np.dstack([PIXELS, np.full((12, 16), 128, np.uint8)]), 8, 6)
    yield Job("sizes differ", partial(beside, png(noise(9, 8, 3), 8, 2), ".png"), REFUSED, "8x9|8 x 9|16x12|size")
    yield Job("one is 1x1", partial(beside, png(noise(1, 1, 3), 8, 2), ".png"), REFUSED, "1x1|1 x 1|size")
    turned = png(PIXELS.transpose(1, 0, 2), 8, 2)
    yield Job("one lies on its side", partial(beside, turned, ".png"), REFUSED, "12x16|12 x 16|size")
    yield Job(
        "depths differ",
        partial(beside, deep, ".png"),
        (2, 0),
        "depth|bit",
        {"out.png": Picture(PIXELS.astype(np.uint16) * 257)},
    )
    yield Job("grey beside colour", partial(beside, png(grey, 8, 0), ".png"), DONE, makes={"out.png": half})
    yield Job("transparent beside opaque", partial(beside, clear, ".png"), (2, 0), "transparen|alpha")
    yield Job("the same file twice", lambda f: [pair(f)[0]] * 2 + ["-o", "out.png"], (2, 0), "twice|same", OUT)
    yield Job("one picture alone", lambda f: [pair(f)[0], "-o", "out.png"], REFUSED, "two or more")


def folders() -> Iterator[Job]:
    """Folders as stacks and as batches, with what lies about in folders."""

    def stack(extra: Callable[[Path], object], folder: Path) -> list[str]:
        put(folder, "stack/a.png", "stack/b.png")
        extra(folder / "stack")
        return ["stack", "-o", "out.png"]

    clutter = (
        "Thumbs.db",
        ".DS_Store",
        "desktop.ini",
        "._a.png",
        ".hidden.png",
        "notes.txt",
        "a.png.part",
        "b.png~",
        "c.xcf",
    )
    fine: dict[str, Callable[[Path], object]] = {
        "nothing else": lambda f: None,
        "clutter": lambda f: [(f / name).write_bytes(b"clutter") for name in clutter],
        "a folder in it": lambda f: put(f, "inner/c.png", data=b"not looked at"),
        "capital endings": lambda f: put(f, "c.PNG", "d.Png"),
        "a link": lambda f: (f / "c.png").symlink_to("a.png"),
        "a hundred pictures": lambda f: put(f, *(f"{i:03d}.png" for i in range(100))),
    }
    for name, extra in fine.items():
        yield Job(f"stack with {name}", partial(stack, extra), DONE, makes=OUT)
    bad: dict[str, Callable[[Path], object]] = {
        "an empty file": lambda f: put(f, "odd.png", data=b""),
        "half a picture": lambda f: put(f, "odd.png", data=FINE[: len(FINE) // 2]),
        "a text": lambda f: put(f, "odd.png", data=b"text"),
        "a dangling link": lambda f: (f / "odd.png").symlink_to("nowhere"),
        "a link to itself": lambda f: (f / "odd.png").symlink_to("odd.png"),
        "a pipe": lambda f: os.mkfifo(f / "odd.png"),
        "another size": lambda f: put(f, "odd.png", data=png(noise(9, 8, 3), 8, 2)),
        "a name twice": lambda f: put(f, "a.jpg"),
    }
    for name, extra in bad.items():
        words = r"a\.(png|jpg)" if name == "a name twice" else r"odd\.png|8x9"
        yield Job(f"stack with {name}", partial(stack, extra), REFUSED, words)
        if name == "a name twice":
            continue
        yield Job(
            f"batch with {name}",
            partial(batch, extra),
            PARTLY,
            r"(?s)failed.*odd",
            {f"results/{stem}.png": Picture(PIXELS) for stem in ("a", "b")},
        )
    yield Job(
        "folder named as a picture in a stack",
        partial(stack, lambda f: (f / "odd.png").mkdir()),
        (0, 2),
        r"odd\.png",
        OUT,
    )
    yield Job(
        "folder is empty",
        lambda f: ((f / "stack").mkdir(), ["stack", "-o", "out.png"])[1],
        REFUSED,
        "stack.*(0|no picture)",
    )
    yield Job(
        "folder of one picture",
        lambda f: (put(f, "stack/a.png"), ["stack", "-o", "out.png"])[1],
        REFUSED,
        "two or more",
    )
    yield Job(
        "folder of hidden files",
        lambda f: (put(f, "s/.a.png", "s/.b.png"), ["s", "-o", "out.png"])[1],
        REFUSED,
        "fuse: .",
    )
    yield Job(
        "folder and picture",
        lambda f: (put(f, "s/a.png", "b.png"), ["s", "b.png", "-o", "out.png"])[1],
        REFUSED,
        "mixed",
    )
    yield Job(
        "folders without a common name",
        lambda f: (put(f, "s/a.png", "t/b.png"), ["s", "t", "-o", "r"])[1],
        REFUSED,
        "in all folders",
    )
    yield Job(
        "folder and empty folder",
        lambda f: (put(f, "s/a.png"), (f / "t").mkdir(), ["s", "t", "-o", "r"])[2],
        REFUSED,
        "fuse: .",
    )

    def alone(folder: Path) -> list[str]:
        put(folder, "s/a.png", "t/a.png", "s/b.png")
        return ["s", "t", "-o", "r"]

    yield Job("batch with one left over", alone, DONE, "without a partner: b", {"r/a.png": Picture(PIXELS)})

    def none(folder: Path) -> list[str]:
        put(folder, "s/a.png", "t/a.png", "s/b.png", "t/b.png", data=b"?")
        return ["s", "t", "-o", "r"]

    yield Job("batch of bad files alone", none, REFUSED, r"(?s)a\b.*b\b")


def batch(extra: Callable[[Path], object], folder: Path) -> list[str]:
    """Two folders of three pictures, of which one is spoilt in the second."""
    put(folder, *(f"{role}/{stem}.png" for role in ("one", "two") for stem in ("a", "b")), "one/odd.png")
    extra(folder / "two")
    return ["one", "two", "-o", "results"]


def targets() -> Iterator[Job]:
    """Results that cannot be written there, or would cost a source."""

    def to(name: str, make: Callable[[Path], object], folder: Path) -> list[str]:
        words = pair(folder)
        make(folder)
        return [*words, "-o", name]

    def nothing(folder: Path) -> None:
        pass

    refused: dict[str, tuple[str, Callable[[Path], object], str]] = {
        "a source": ("first.png", nothing, "lost"),
        "a source by another path": ("./x/../second.png", lambda f: (f / "x").mkdir(), "lost"),
        "a link to a source": ("l.png", lambda f: (f / "l.png").symlink_to("first.png"), "lost"),
        "a hard link to a source": ("l.png", lambda f: os.link(f / "first.png", f / "l.png"), "lost"),
        "of an unknown ending": ("out.xyz", nothing, r"\.xyz.*\.png"),
        "without ending": ("out", nothing, r"\.png"),
        "of a name that is an ending": (".png", nothing, r"\.png"),
        "of two unknown endings": ("out.png.bak", nothing, r"\.png"),
        "a gif": ("out.gif", nothing, r"\.png"),
        "without name": ("", nothing, "fuse: ."),
        "this folder": (".", nothing, "fuse: ."),
        "a folder named as a picture": ("out.png", lambda f: (f / "out.png").mkdir(), r"out\.png"),
        "a folder that is not empty": ("out.png", lambda f: put(f, "out.png/x.png"), r"out\.png"),
        "below a file": ("first.png/out.png", nothing, "first.png/out.png"),
        "below /dev/null": ("/dev/null/out.png", nothing, "/dev/null/out.png"),
        "below /proc": ("/proc/out.png", nothing, "/proc/out.png"),
        "of a name of 300 letters": ("x" * 300 + ".png", nothing, "(?i)name too long"),
        "of 5000 letters": ("x/" * 2500 + "x.png", nothing, "(?i)name too long"),
        "below a loop of links": ("l/out.png", lambda f: (f / "l").symlink_to("l"), "l/out.png"),
    }
    for name, (path, make, words) in refused.items():
        yield Job(f"result {name}", partial(to, path, make), REFUSED, words)
    if os.geteuid() != 0:
        locked = partial(to, "locked/out.png", lambda f: (f / "locked").mkdir(mode=0o500))
        yield Job("result in a folder that is locked", locked, REFUSED, "Permission")
    fine: dict[str, tuple[str, Callable[[Path], object]]] = {
        "in folders that are missing": ("a/b/out.png", nothing),
        "that is there already": ("out.png", lambda f: put(f, "out.png", data=b"old")),
        "that may not be written but replaced": (
            "out.png",
            lambda f: (put(f, "out.png", data=b"old"), (f / "out.png").chmod(0o400)),
        ),
        "in a linked folder": ("l/out.png", lambda f: ((f / "there").mkdir(), (f / "l").symlink_to("there"))),
    }
    for name, (path, make) in fine.items():
        yield Job(f"result {name}", partial(to, path, make), DONE, makes={path: Picture(PIXELS)})

    def over(results: str, folder: Path) -> list[str]:
        put(folder, "one/a.png", "two/a.png")
        put(folder, "file", data=b"file")
        (folder / "link").symlink_to("one")
        return ["one", "two", "-o", results]

    for name, path, words in (
        ("is one of them", "one", "lost"),
        ("is one of them with a slash", "two/", "lost"),
        ("is a link to one of them", "link", "lost"),
        ("is a file", "file", "file"),
        ("is below a file", "file/x", "file"),
    ):
        yield Job(f"folder of results {name}", partial(over, path), REFUSED, words)


JOBS = [*names(), *no_files(), *unlike(), *folders(), *targets()]
