"""Checkpoint folders: whole whenever a save is cut off, and harmless whoever made them."""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
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


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """A good checkpoint to spoil; whatever is done with it, no canary may appear."""
    save(tmp_path / "c", 1.0)
    yield tmp_path / "c"
    assert not (tmp_path / "canary").exists()


def test_a_folder_holds_what_it_says(tmp_path: Path) -> None:
    save(tmp_path / "a" / "last", 2.0)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["last"]
    assert {path.name for path in (tmp_path / "a" / "last").iterdir()} == {
        "fuser.safetensors",
        "critic.safetensors",
        "config.json",
        "metrics.json",
        "state.pt",
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


def rewritten(folder: Path, node: object) -> Path:
    (folder / "config.json").write_text(json.dumps({"fuser": node}))
    return folder


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "builtins.exec",
        "fuse.train.os.system",
        "fuse.checkpoint.os.system",
        "fuse.checkpoint.shutil.rmtree",
        "fuse.checkpoint.torch.nn.Linear",
        "fuse.checkpoint.nn.Linear",
        "fuse.models.mffgan.nn.Module",
        "fuse.models.densefuse.nn",
        "fuse.models.mffgan.initialise",  # ours, but no network
        "fuse.data.synthetic.Synthetic",
        "torch.nn.Linear",
        "torch.hub.load",
        "fusehostile.Net",
        "fuse",
        "fuse.",
        "fuse..Net",
        ".fuse.Net",
        "fuse.\0.Net",
        "fuse.models.mffgan.",
        "fuse.models.nothing.Net",
        "fuse.models.mffgan.Nothing",
        "",
        None,
        3,
        ["fuse.models.mffgan.Generator"],
    ],
)
def test_only_networks_of_ours_are_built(hostile: Path, target: object) -> None:
    node = {"_target_": target, "command": f"touch {hostile.parent / 'canary'}"}
    with pytest.raises(InputError, match="is not a network of fuse"):
        checkpoint.load(rewritten(hostile, node))


def test_a_refusal_says_how_to_trust(hostile: Path) -> None:
    with pytest.raises(InputError, match=r"'mynet\.Net', .*trust it.*|name it: trust=\[mynet\]"):
        checkpoint.load(rewritten(hostile, {"_target_": "mynet.Net"}))


def test_a_trusted_package_is_used_but_not_reached_through(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mynet.py").write_text("from torch import nn\nclass Net(nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    save_file({}, hostile / "fuser.safetensors")
    with pytest.raises(InputError, match=r"trust=\[mynet\]"):
        checkpoint.load(rewritten(hostile, {"_target_": "mynet.Net"}))
    fuser, _ = checkpoint.load(rewritten(hostile, {"_target_": "mynet.Net"}), trust=["mynet"])
    assert type(fuser).__name__ == "Net"
    with pytest.raises(InputError, match="not a network of fuse or mynet"):
        checkpoint.load(rewritten(hostile, {"_target_": "mynet.nn.Module"}), trust=["mynet"])


@pytest.mark.parametrize("key", ["init_std", "other"])
@pytest.mark.parametrize("nest", [lambda node: node, lambda node: [node], lambda node: {"deep": [{"deeper": node}]}])
def test_constructors_in_arguments_are_refused(hostile: Path, key: str, nest: Callable[[Any], Any]) -> None:
    inner = {"_target_": "os.system", "command": f"touch {hostile.parent / 'canary'}"}
    with pytest.raises(InputError, match="nests constructors"):
        checkpoint.load(rewritten(hostile, NODE | {key: nest(inner)}))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (NODE | {"no_such": 1}, "cannot be built"),
        (NODE | {"init_std": "x"}, "cannot be built"),
        ({"_target_": "fuse.models.densefuse.DenseFuse", "rule": "l3"}, "rule 'l3' is not known"),
        ({"_target_": "fuse.models.densefuse.DenseFuse"}, "does not fit DenseFuse"),
        (
            {"_target_": "fuse.models.mffgan.Discriminator", "patch": 10**6},
            "does not fit Discriminator|cannot be built",
        ),
        ({"_target_": "fuse.models.mffgan.Discriminator", "patch": 10**18}, "cannot be built"),
        ({"_target_": "fuse.models.mffgan.Discriminator", "patch": -5}, "cannot be built"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_arguments_that_do_not_fit_are_refused_before_memory_is_taken(
    hostile: Path, node: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        checkpoint.load(rewritten(hostile, node))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "[1, 2]",
        "3",
        '"fuser"',
        "null",
        "{}",
        '{"fuser": null}',
        '{"fuser": "fuse.models.mffgan.Generator"}',
        '{"fuser": [["_target_"]]}',
        '{"fuser": {}}',
        "[" * 100_000,
        '{"fuser": {"_target_": "fuse.models.mffgan.Generator", "a": ' + "[" * 900 + "]" * 900 + "}}",
        " " * (checkpoint.LARGEST_CONFIG + 1) + "{}",
        "\ud800",
    ],
)
def test_a_config_that_is_none_is_refused(hostile: Path, text: str) -> None:
    (hostile / "config.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"config\.json|cannot be built"):
        checkpoint.load(hostile)


def test_a_config_that_is_missing_or_a_folder_is_refused(hostile: Path) -> None:
    (hostile / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json does not say how to build its fuser"):
        checkpoint.load(hostile)
    (hostile / "config.json").mkdir()
    with pytest.raises(InputError, match=r"config\.json does not say how to build its fuser"):
        checkpoint.load(hostile)


def pickled(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(canary)))


def torch_saved(path: Path, canary: Path) -> None:
    torch.save({"weights": Bomb(canary)}, path)


def cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def huge_header(path: Path, _: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize("spoil", [pickled, torch_saved, cut, emptied, huge_header])
def test_weights_that_are_none_are_refused(hostile: Path, spoil: Callable[[Path, Path], None]) -> None:
    spoil(hostile / "fuser.safetensors", hostile.parent / "canary")
    with pytest.raises(InputError, match=r"fuser\.safetensors cannot be read as weights"):
        checkpoint.load(hostile)
    with pytest.raises(InputError, match=r"fuser\.safetensors cannot be read as weights"):
        checkpoint.restore(hostile, {"fuser": Generator()})


@pytest.mark.parametrize("spoil", [pickled, torch_saved, cut, emptied])
def test_a_state_that_is_none_is_refused(hostile: Path, spoil: Callable[[Path, Path], None]) -> None:
    spoil(hostile / "state.pt", hostile.parent / "canary")
    with pytest.raises(InputError, match=r"state\.pt cannot be resumed from"):
        checkpoint.restore(hostile, {"fuser": Generator()})


def test_a_state_of_another_kind_is_refused(hostile: Path) -> None:
    torch.save([1, 2], hostile / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt cannot be resumed from: it holds a list"):
        checkpoint.restore(hostile, {"fuser": Generator()})
    (hostile / "state.pt").unlink()
    with pytest.raises(InputError, match=r"state\.pt cannot be resumed from"):
        checkpoint.restore(hostile, {"fuser": Generator()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "output.bias"}, r"output\.bias is missing"),
        (lambda w: w | {"extra": torch.zeros(1)}, "extra is unknown"),
        (lambda w: w | {"output.bias": torch.zeros(2)}, r"output\.bias is \(2,\) instead of \(1,\)"),
        (lambda w: {k.replace("near", "first"): v for k, v in w.items()}, "is unknown"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(
    hostile: Path, change: Callable[[dict[str, Any]], dict[str, Any]], words: str
) -> None:
    path = hostile / "fuser.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(InputError, match=f"fuser.safetensors does not fit Generator: .*{words}"):
        checkpoint.load(hostile)
    network_before = network(5.0)
    with pytest.raises(InputError, match=words):
        checkpoint.restore(hostile, {"fuser": network_before})
    assert next(network_before.parameters()).mean() == 5  # nothing was half loaded
