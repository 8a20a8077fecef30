"""Stored pictures in memory and in a file: the same windows, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from commands import ENVIRONMENT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuse.errors import InputError
from fuse.photos import frames as module
from fuse.photos.frames import Frames

DEPTHS = [torch.uint8, torch.uint16, torch.float32]


def noise(*shape: int, depth: torch.dtype = torch.uint8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if depth.is_floating_point:
        return torch.randn(shape, generator=generator)
    return torch.randint(torch.iinfo(depth).max + 1, shape, generator=generator).to(depth)


@pytest.fixture
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("spooled", [False, True])
@given(top=st.integers(0, 8), left=st.integers(0, 10), height=st.integers(1, 9), width=st.integers(1, 11))
@settings(max_examples=15)
def test_windows_are_the_stored_pixels(
    depth: torch.dtype, spooled: bool, top: int, left: int, height: int, width: int
) -> None:
    pictures = [noise(channels, 9, 11, depth=depth, seed=channels) for channels in (3, 1, 3)]
    mask = noise(1, 9, 11) > 99
    with Frames(spooled) as frames:
        for picture, valid in zip(pictures, (None, mask, torch.ones_like(mask)), strict=True):
            frames.add(picture, valid)
        window = frames.window(top, top + height, left, left + width)
        assert (len(frames), frames.channels, frames.size, frames.depth) == (3, [3, 1, 3], (9, 11), depth)
        assert frames.coloured
        assert frames.masked
    part = (slice(None), slice(top, top + height), slice(left, left + width))
    assert all(torch.equal(x[0], picture[part]) for x, picture in zip(window.pixels, pictures, strict=True))
    assert window.valid[0] is window.valid[2] is None  # what is valid everywhere needs no mask
    assert window.valid[1] is not None
    assert torch.equal(window.valid[1][0], mask[part])


def test_pixels_that_lie_colour_by_colour_come_out_as_planes() -> None:
    interleaved = noise(6, 7, 4).permute(2, 0, 1)
    for spooled in (False, True):
        with Frames(spooled) as frames:
            frames.add(interleaved[:3])
            pixels = frames.window(0, 6, 0, 7).pixels[0]
        assert torch.equal(pixels[0], interleaved[:3])
        assert pixels.is_contiguous()
    assert frames.pictures == []


def test_a_part_of_a_larger_tensor_does_not_keep_the_rest() -> None:
    frames = Frames()
    frames.add(noise(4, 50, 50)[:3])
    held = frames.pictures[0]
    assert isinstance(held, Tensor)
    assert held.untyped_storage().nbytes() == 3 * 50 * 50


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the file has a name until it is closed")
def test_the_spool_file_has_no_name_and_is_mapped_only_while_it_is_read(spools: Path) -> None:
    with Frames(spooled=True) as frames:
        frames.add(noise(3, 40, 50))
        assert torch.equal(frames.window(3, 9, 0, 50).pixels[0], noise(3, 40, 50)[None, :, 3:9])
        assert not list(spools.iterdir())
        if Path("/proc/self/maps").exists():
            assert str(spools) not in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="closed"):
        frames.cut(0, 1, torch.uint8, (slice(None), slice(1), slice(1)))


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has in memory")
@pytest.mark.usefixtures("spools")
def test_of_a_spooled_stack_only_windows_are_in_memory() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with Frames(spooled=True) as frames:
        picture = torch.zeros(1, 1000, 2000, dtype=torch.uint8)
        for _ in range(40):  # 80 MB
            frames.add(picture)
        before = resident()
        for top in range(0, 1000, 200):
            window = frames.window(top, top + 200, 0, 2000)
            assert resident() - before < 40 * 10**6
            assert len(window.pixels) == 40


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_program_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, torch; from fuse.photos.frames import Frames; frames = Frames(True); "
        f"frames.add(torch.zeros(3, 99, 99)); os.kill(os.getpid(), {int(signal.SIGKILL)}); print('not reached')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "white"),
    [
        ((0, 0.4), 1),
        ((0, 1), 1),
        ((-0.5, 1.5), 2),
        ((0, 2), 2),
        ((-3, 0), 4),
        ((0, 1000), 1024),
        ((0, 1e30), 2.0**100),
        ((0, 3e38), 2.0**127),
    ],
)
def test_white_of_floats_is_a_power_of_two_that_none_is_beyond(values: tuple[float, float], white: float) -> None:
    frames = Frames()
    frames.add(torch.full((1, 2, 2), float(values[0])))
    frames.add(torch.full((1, 2, 2), float(values[1])))
    assert frames.white == white


def test_white_of_integers_is_the_largest() -> None:
    for depth in (torch.uint8, torch.uint16):
        frames = Frames()
        frames.add(torch.zeros(1, 2, 2, dtype=depth))
        assert frames.white == torch.iinfo(depth).max


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (noise(3, 5, 4), "picture 2 is 4x5 of uint8, those before it 5x4 of uint8; bring them to one size"),
        (noise(3, 4, 5, depth=torch.uint16), "5x4 of uint16, those before it 5x4 of uint8"),
        (torch.zeros(3, 4, 5, dtype=torch.int32), "torch.int32 .* cannot be fused"),
        (noise(2, 4, 5), r"shape \(2, 4, 5\) cannot be fused"),
        (noise(1, 3, 4, 5), "cannot be fused"),
    ],
)
def test_what_does_not_belong_is_refused(spooled: bool, picture: Tensor, words: str) -> None:
    with Frames(spooled) as frames:
        frames.add(noise(1, 4, 5))
        with pytest.raises(InputError, match=words):
            frames.add(picture)
        assert len(frames) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_pixels_that_are_no_numbers_are_refused(bad: float) -> None:
    picture = torch.zeros(3, 4, 5)
    picture[1, 2, 3] = bad
    with pytest.raises(InputError, match="picture 1 has pixels that are not numbers"):
        Frames().add(picture)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk")
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w+b", buffering=0) as full, Frames(spooled=True) as frames:
        monkeypatch.setattr(module, "spool", lambda: full)
        with pytest.raises(InputError, match="No space left on device; set TMPDIR"):
            frames.add(noise(3, 40, 50))


def test_no_folder_for_the_file_is_told(spools: Path) -> None:
    spools.rmdir()
    with pytest.raises(InputError, match="no file can be made to hold the pictures meanwhile: No such file"):
        Frames(spooled=True).add(noise(1, 2, 2))
