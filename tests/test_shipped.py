"""Networks that come with the package: named like rules, and only as they were shipped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import ENVIRONMENT
from safetensors.torch import save_file

from fuse import catalog, checkpoint, methods, shipped
from fuse.errors import InputError
from fuse.models.conditional import Conditional


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with one network."""
    place = tmp_path / "small"
    place.mkdir()
    save_file(Conditional().state_dict(), place / "fuser.safetensors")
    (place / "config.json").write_text(
        json.dumps({"fuser": {"_target_": "fuse.models.conditional.Conditional"}, "step": 7})
    )
    (place / "card.md").write_text("# small\n\nFuses for this test.\n\nMore.\n")
    shipped.seal(place)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    return place


def test_a_shipped_network_is_a_method_by_its_name(made: Path) -> None:
    fuser, facts = methods.fuser("small", torch.device("cpu"))
    assert isinstance(fuser, Conditional)
    assert facts == {"kind": "shipped", "weights": checkpoint.digest(made), "step": 7}
    assert methods.resolve("small", torch.device("cpu")).name == "small"
    card = catalog.methods()[0]
    assert (card["name"], card["about"]) == ("small", "Fuses for this test.")
    assert card["parameters"] == sum(p.numel() for p in fuser.parameters())


@pytest.mark.parametrize("file", ["fuser.safetensors", "config.json"])
def test_changed_or_missing_files_are_not_used(made: Path, file: str) -> None:
    (made / file).write_bytes((made / file).read_bytes() + b" ")
    with pytest.raises(InputError, match=f"{file} is not what was shipped"):
        methods.fuser("small", torch.device("cpu"))
    (made / file).unlink()
    with pytest.raises(InputError, match=f"{file} cannot be read"):
        methods.fuser("small", torch.device("cpu"))


def test_a_misspelt_name_is_told(made: Path) -> None:
    with pytest.raises(InputError, match="did you mean small"):
        methods.fuser("smal", torch.device("cpu"))


@pytest.mark.parametrize("name", shipped.names())
def test_what_is_shipped_is_whole_and_small(name: str) -> None:
    place = shipped.folder(name)
    fuser, _ = methods.fuser(name, torch.device("cpu"))
    assert not fuser.training
    assert sum(path.stat().st_size for path in place.iterdir()) < 4 * 2**20
    card = (place / "card.md").read_text(encoding="utf-8")
    for section in ("## Training", "## Scores", "## Limits", "## Licence"):
        assert section in card


def test_loading_does_not_start_the_compiler() -> None:
    code = (
        "import sys, torch; from fuse import methods; methods.fuser('focus', torch.device('cpu')); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
