"""The page about own pictures: its commands run, its table is that of the program."""

import re
import shlex
from pathlib import Path

import pytest
from commands import ROOT

from fuse import app
from fuse.data import io
from fuse.data.optics import focus_pair
from fuse.photos import task

PAGE = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    (near, far), truth, _ = focus_pair(96, torch.Generator().manual_seed(0))
    for place, picture in {
        "near.jpg": near,
        "far.jpg": far,
        "shots/1.png": near,
        "shots/2.png": truth,
        "shots/3.png": far,
        "infrared/a.png": near.mean(0, keepdim=True),
        "visible/a.png": far,
    }.items():
        Path(place).parent.mkdir(exist_ok=True)
        io.write(Path(place), (picture * 255).round().byte())
    block = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert block
    lines = [line.partition("#")[0].strip() for line in block[1].splitlines()]
    assert len(lines) == 7
    for line in lines:
        app.main(shlex.split(line)[1:])
    for made in (
        "sharp.jpg",
        "sharp.tif",
        "depth.png",
        "fused/a.png",
        "sharp.png",
        "sharp.html",
        "moves.json",
        "b.png",
    ):
        assert Path(made).is_file(), made


def test_its_table_is_the_program_s() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == {name: task.method(name)[0] for name in task.TASKS}
    stacks = dict(re.findall(r"^\| (\w+), more than two \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert stacks == {name: task.method(name, 3)[0] for name in task.STACKS}
    colours = dict(re.findall(r"^\| (\w+), in colour \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert colours == {name: task.method(name, coloured=True)[0] for name in task.COLOURS}
