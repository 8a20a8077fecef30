"""Checkpoint folders from strangers: refused with one message, and nothing in them is executed."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_checkpoint import NODE, network, save
from torch import nn

from fuse import checkpoint
from fuse.errors import InputError
from fuse.models.mffgan import Generator


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


def test_a_network_counts_only_where_it_is_defined(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuse.models.mffgan.Conv2d", nn.Conv2d, raising=False)
    for target in ("fuse.models.mffgan.Conv2d", "fuse.methods.Average"):
        with pytest.raises(InputError, match="is not a network of fuse"):
            checkpoint.load(rewritten(hostile, {"_target_": target}))


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
