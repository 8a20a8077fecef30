"""Every odd file ends in the right picture or in one message that names it; never in a traceback or half a file."""

import re
import resource
import shlex
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import zoo
import zoo_words
from zoo_case import Case, Picture, noise, png, read_png, smooth
from zoo_places import Job

from fuse import app
from fuse.errors import InputError
from fuse.photos import photo

# Of libraries that speak past us, and of errors that were never meant for a photographer.
JARGON = ("Traceback", "OpenCV", "libpng", "libtiff", "TIFFRe", "TIFFFe", "TIFF_", "Warning:", "Decode:", "JPEG data")
JARGON += (
    "NoneType",
    "unpack requires",
    "unpack_from",
    "object",
    "b'",
    "index out of",
    "invalid literal",
    "zero-size",
    "Errno",
    "struct.",
    "<",
)
SECONDS = 20  # more means that it hangs
BYTES = 1 << 30  # beyond what the process has taken already


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files lie where what stays behind is seen."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """What never ends or takes all memory fails instead."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES, limits[1]))
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, limits)


def fuse(words: list[str], capfd: pytest.CaptureFixture[str]) -> Said:
    """Run the command here; what it and the libraries below it say."""
    capfd.readouterr()
    sys.stdout.reconfigure(errors="strict")  # as it is outside of tests
    try:
        app.main(words)
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    said = capfd.readouterr()
    return Said(code, said.out, said.err)


def tree(folder: Path) -> dict[Path, object]:
    """All that lies in a folder: files by content, links by what they point to."""
    found: dict[Path, object] = {}
    for path in folder.rglob("*"):
        kind = stat.S_IFMT(path.lstat().st_mode)
        found[path] = path.readlink() if kind == stat.S_IFLNK else path.read_bytes() if kind == stat.S_IFREG else kind
    return found


def is_one_message(said: Said, words: str, named: int = 0) -> None:
    """A short message that matches; no traceback, nothing from the libraries, no result announced. `named`: letters
    that the names of its files take."""
    assert said.code == 2, said
    assert not said.out.strip()
    assert not any(word in said.err for word in JARGON), said.err
    assert 0 < len(said.err.strip().splitlines()) <= 6, said.err
    assert len(said.err) < 1200 + named
    assert re.search(words, said.err), f"{words} is not in: {said.err}"


def is_done(said: Said, target: Path) -> None:
    """The result is announced, and nothing but words meant for people."""
    assert said.code == 0, said
    assert not any(word in said.err for word in JARGON), said.err
    assert said.out.strip().splitlines()[-1] == str(target)


def equal(found: Picture, want: Picture) -> bool:
    """Same type and size, pixels within the tolerance, same alpha, where opaque means none."""
    pixels, right = found.pixels, want.pixels
    if pixels.shape[2] == 1 and right.shape[2] == 3 and (right == right[..., :1]).all():
        right = right[..., :1]  # a coloured picture of greys may be kept as grey
    if pixels.shape != right.shape or pixels.dtype != right.dtype:
        return False
    alphas = [None if x.alpha is None or (x.alpha == top(x)).all() else x.alpha for x in (found, want)]
    if (alphas[0] is None) != (alphas[1] is None):
        return False
    pairs = [(pixels, right)] if alphas[0] is None else [(pixels, right), tuple(alphas)]
    return all(bool((abs(a.astype(float) - b.astype(float)) <= want.tolerance).all()) for a, b in pairs)


def top(picture: Picture) -> float:
    """What opaque is."""
    return 1.0 if picture.pixels.dtype.kind == "f" else float(np.iinfo(picture.pixels.dtype).max)


def shown(path: Path) -> Picture:
    """What was written, read by libraries that the package does not read with."""
    if path.suffix == ".png":
        return read_png(path.read_bytes())
    pixels = tifffile.imread(path)
    return Picture(pixels if pixels.ndim == 3 else pixels[..., None])


def described(picture: Picture) -> str:
    """Shape, type and first values."""
    alpha = None if picture.alpha is None else picture.alpha.ravel()[:6].tolist()
    return f"{picture.pixels.shape} {picture.pixels.dtype} {picture.pixels.ravel()[:9].tolist()} alpha {alpha}"


def is_right(found: Picture, wanted: Sequence[Picture]) -> None:
    """It equals one of them."""
    assert any(equal(found, want) for want in wanted), f"{described(found)}, wanted {[*map(described, wanted)]}"


@pytest.mark.parametrize("case", zoo.CASES, ids=[case.name for case in zoo.CASES])
def test_fused(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two copies averaged are the picture again; beside a fine picture a bad one is named."""
    for folder in ("given", "partner", "results"):
        (tmp_path / folder).mkdir()
    inputs, partner = case.make(tmp_path / "given"), tmp_path / "partner"
    wanted = list(case.want())
    deep = any(picture.pixels.dtype.kind == "f" for picture in wanted)
    target = tmp_path / "results" / ("fused.tif" if deep else "fused.png")
    if case.expected == "message":
        (partner / "fine.png").write_bytes(png(noise(12, 16, 3), 8, 2))
        inputs.insert(0, partner / "fine.png")
    else:
        shutil.copyfile(inputs[0], partner / inputs[0].name)
        inputs.append(partner / inputs[0].name)
    before = tree(tmp_path)
    said = fuse([*map(str, inputs), "-o", str(target), *case.flags], capfd)
    after = tree(tmp_path)
    if case.expected == "message" or (case.expected == "either" and said.code == 2):
        is_one_message(said, case.words)
        assert after == before
        return
    is_done(said, target)
    assert set(after) - set(before) == {target}
    is_right(shown(target), wanted)


@pytest.mark.parametrize("case", zoo.CASES, ids=[case.name for case in zoo.CASES])
def test_read(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The reading alone: its header promises what it holds, and it is written as it was read."""
    (path,) = case.make(tmp_path)
    found = read(path)
    said = "".join(capfd.readouterr())
    assert not said
    if isinstance(found, str):
        assert case.expected in ("message", "either"), found
        assert re.search(case.words, found), f"{case.words} is not in: {found}"
        assert not any(word in found for word in JARGON), found
        return
    head, got = found
    assert case.expected in ("picture", "either"), described(as_picture(got))
    is_right(as_picture(got), list(case.want()))
    assert (head.channels, head.height, head.width) == got.pixels.shape
    assert head.depth == got.pixels.dtype
    assert head.alpha == (got.alpha is not None)
    copy = tmp_path / ("copy.tif" if got.pixels.dtype.is_floating_point else "copy.png")
    photo.write(copy, got)
    is_right(shown(copy), [as_picture(got)])
    assert tree(tmp_path).keys() == {path, copy, tmp_path / "scratch"}
    assert capfd.readouterr() == ("", "")


def read(path: Path) -> str | tuple[photo.Header, photo.Photo]:
    """What is read, or the message."""
    try:
        return photo.header(path), photo.read(path)
    except InputError as problem:
        return str(problem)


def as_picture(got: photo.Photo) -> Picture:
    """In NumPy's order."""
    return Picture(got.pixels.permute(1, 2, 0).numpy(), None if got.alpha is None else got.alpha[0].numpy())


@pytest.mark.parametrize("job", zoo.JOBS, ids=[ascii(job.name) for job in zoo.JOBS])
def test_job(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Whole commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    words = job.make(tmp_path)
    before = tree(tmp_path)
    said = fuse(["--method", "average", *words], capfd)
    after = tree(tmp_path)
    assert said.code in job.codes, said
    assert not any(word in said.err for word in JARGON), said.err
    if said.code == 2:
        is_one_message(said, job.words, len("".join(words)))
        assert after == before
        return
    assert len(job.codes) > 1 or re.search(job.words, said.err), f"{job.words} is not in: {said.err}"
    new = {path for path in after if after[path] != before.get(path) and not path.is_dir()}
    assert not job.makes or new == {(tmp_path / name).parent.resolve() / Path(name).name for name in job.makes}
    for name, want in job.makes.items():
        is_right(shown(tmp_path / name), [want])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures and an empty folder, in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in ("stack", "stack2"):
        (tmp_path / folder).mkdir()
    for index, name in enumerate(("a", "b", "stack/a", "stack/b", "stack/c", "stack2/a", "stack2/c")):
        (tmp_path / f"{name}.png").write_bytes(png(smooth(48, 64, 3) ^ index, 8, 2))
    (tmp_path / "small.png").write_bytes(png(smooth(9, 8, 3), 8, 2))
    return tmp_path


@pytest.mark.parametrize("name", zoo_words.WRONG)
def test_wrong_words(name: str, desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line, words = zoo_words.WRONG[name]
    before = tree(desk)
    said = fuse(shlex.split(line), capfd)
    assert said.code == 2, said
    assert tree(desk) == before
    assert not said.out
    *usage, message = said.err.strip().splitlines()
    assert message.startswith("fuse: ")
    assert re.search(words, message), f"{words} is not in: {message}"
    assert not usage or usage[0].startswith("usage: fuse")
    assert not any(word in message for word in JARGON), message


@pytest.mark.parametrize("name", zoo_words.FINE)
def test_words_that_write_nothing(name: str, desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(desk)
    said = fuse(shlex.split(zoo_words.FINE[name]), capfd)
    assert said.code == 0, said
    assert said.out
    assert tree(desk) == before


@pytest.mark.parametrize("name", zoo_words.MADE)
def test_words_that_write(name: str, desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line, made = zoo_words.MADE[name]
    before = tree(desk)
    said = fuse(shlex.split(line), capfd)
    assert said.code == 0, said
    assert {str(path.relative_to(desk)) for path in tree(desk)} - {
        str(path.relative_to(desk)) for path in before
    } == made
    assert said.out.splitlines()[-1] == next(word for word in line.split() if word.startswith("out"))


def test_there_are_enough() -> None:
    names = [case.name for case in zoo.CASES]
    assert len(names) >= 300
    assert len(set(names)) == len(names)
