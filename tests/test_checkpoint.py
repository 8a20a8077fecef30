"""Checkpoint folders: whole whenever a save is cut off, found where they lie, restored exactly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fuse import checkpoint
from fuse.errors import InputError
from fuse.models.densefuse import DenseFuse
from fuse.models.mffgan import Discriminator, Generator

NODE = {"_target_": "fuse.models.mffgan.Generator", "init_std": None}


def network(value: float) -> Generator:
    made = Generator()
    for parameter in made.parameters():
        nn.init.constant_(parameter, value)
    return made


def save(folder: Path, value: float) -> None:
    """A checkpoint all of whose parts hold `value`."""
    networks = {"fuser": network(value), "critic": Discriminator(31)}
    state = {"step": value, "optimisers": {"fuser": {"x": torch.full((3,), value)}}, "best": None}
    checkpoint.save(folder, networks, {"fuser": NODE, "step": value}, {"q_g": value}, state)


def value(folder: Path) -> float:
    """The one value that all parts of a whole checkpoint hold."""
    fuser, config = checkpoint.load(folder)
    state = checkpoint.restore(folder, {"fuser": Generator(), "critic": Discriminator(31)})
    metrics = json.loads((folder / "metrics.json").read_text())
    found = {p.mean().item() for p in fuser.parameters()} | {config["step"], metrics["q_g"], state["step"]}
    found |= {state["optimisers"]["fuser"]["x"][0].item()}
    assert len(found) == 1
    return found.pop()


def test_a_folder_holds_what_it_says(tmp_path: Path) -> None:
    save(tmp_path / "a" / "last", 2.0)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["last"]
    assert {path.name for path in (tmp_path / "a" / "last").iterdir()} == {
        "fuser.safetensors",
        "critic.safetensors",
        "config.json",
        "metrics.json",
        "state.pt",
        "sha256",
    }
    assert value(tmp_path / "a" / "last") == 2
    save(tmp_path / "a" / "last", 3.0)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["last"]
    assert value(tmp_path / "a" / "last") == 3


def test_the_state_comes_back_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fuser = DenseFuse()
    optimiser = torch.optim.Adam(fuser.parameters(), fused=True)
    fuser(torch.rand(1, 1, 8, 8)).mean().backward()
    optimiser.step()
    pending = [{"loss": torch.tensor(0.25), "gradient_norm_fuser": torch.tensor(1.5)}]
    state = {"step": 7, "best": None, "pending": pending, "optimisers": {"fuser": optimiser.state_dict()}}
    checkpoint.save(tmp_path / "c", {"fuser": fuser}, {}, {"psnr": None}, state)
    back = checkpoint.restore(tmp_path / "c", {"fuser": DenseFuse()})
    assert (back["step"], back["best"], back["pending"]) == (7, None, pending)
    for index, moments in optimiser.state_dict()["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(back["optimisers"]["fuser"]["state"][index][name], tensor)


class Killed(BaseException):
    pass


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The process dies before the `after`-th change to the disk, or within it where a folder is taken away."""
    left, rmtree = [after], shutil.rmtree

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if left[0] == 0:
                if original is rmtree and (first := next(iter(sorted(Path(given[0]).glob("*"))), None)):
                    first.unlink()
                raise Killed
            left[0] -= 1
            return original(*given, **named)

        return step

    monkeypatch.setattr(checkpoint, "save_file", counted(save_file))
    monkeypatch.setattr(checkpoint.torch, "save", counted(torch.save))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", counted(rmtree))
    for name in ("rename", "write_text", "mkdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


@pytest.mark.parametrize("before", [None, 1.0])
def test_a_save_cut_off_anywhere_leaves_the_old_or_the_new_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: float | None
) -> None:
    results, after, done = [], 0, False
    while not done:
        folder = tmp_path / str(after) / "last"
        if before is not None:
            save(folder, before)
        else:
            folder.parent.mkdir()
        with monkeypatch.context() as patched:
            dying(patched, after)
            try:
                save(folder, 2.0)
                done = True
            except Killed:
                pass
        seen = {path.relative_to(folder.parent) for path in folder.parent.rglob("*")}
        try:  # somebody who only wants to use it
            results.append(value_of_fuser(folder.parent))
        except InputError:
            results.append(None)
        assert {path.relative_to(folder.parent) for path in folder.parent.rglob("*")} == seen  # reading changes nothing
        checkpoint.settle(folder)  # the run that goes on
        assert {path.name for path in folder.parent.iterdir()} <= {"last"}
        if before is not None or folder.exists():
            assert value(folder) in {results[-1], 2.0}  # where both are whole, the run goes on with the new one
        save(folder, 3.0)
        assert value(folder) == 3
        after += 1
    assert after > 8  # as many places were tried
    assert results[0] == before
    assert results[-1] == 2
    switch = results.index(2.0)
    assert results == [before] * switch + [2.0] * (len(results) - switch)


def value_of_fuser(path: Path) -> float:
    return next(checkpoint.load(path)[0].parameters()).mean().item()


@pytest.mark.parametrize("left", ["ready", "old"])
def test_resuming_settles_a_save_that_was_cut_off_between_two_renames(tmp_path: Path, left: str) -> None:
    save(tmp_path / "last", 1.0)
    (tmp_path / "last").rename(tmp_path / f"last.{left}")
    assert value_of_fuser(tmp_path) == 1
    state = checkpoint.restore(tmp_path / "last", {"fuser": Generator()})
    assert state["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_run_means_its_best_then_its_last(tmp_path: Path) -> None:
    save(tmp_path / "run" / "last", 1.0)
    assert checkpoint.locate(tmp_path / "run") == tmp_path / "run" / "last"
    save(tmp_path / "run" / "best", 2.0)
    assert checkpoint.locate(tmp_path / "run") == tmp_path / "run" / "best"
    assert checkpoint.locate(tmp_path / "run" / "last") == tmp_path / "run" / "last"
    assert value_of_fuser(tmp_path / "run") == 2
    assert checkpoint.digest(tmp_path / "run") == checkpoint.digest(tmp_path / "run" / "best")
    assert checkpoint.digest(tmp_path / "run") != checkpoint.digest(tmp_path / "run" / "last")


def test_the_folder_one_stands_in_can_be_named_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "c", 1.0)
    monkeypatch.chdir(tmp_path / "c")
    assert value_of_fuser(Path()) == 1


def test_a_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            InputError, match=r"holds no checkpoint; give a run folder or a folder with fuser\.safetensors"
        ):
            checkpoint.load(path)


def test_a_run_without_a_first_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stopped before its first checkpoint"):
        checkpoint.restore(tmp_path / "last", {"fuser": Generator()})
