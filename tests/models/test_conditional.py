"""A label that sets the degree of fusion: in training, in use, and from the command line."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fuse import app, checkpoint, infer
from fuse.config import build
from fuse.data import io
from fuse.data.sample import Sample
from fuse.models.conditional import Conditional
from fuse.steps import forward
from fuse.train import recipe

GENERATOR = torch.Generator().manual_seed(0)
A, B = torch.rand(2, 3, 1, 24, 24, generator=GENERATOR)


def lively() -> Conditional:
    """With a last layer that is not zero."""
    torch.manual_seed(0)
    fuser = Conditional()
    torch.nn.init.normal_(fuser.last.weight, std=0.05)
    return fuser


def test_size() -> None:
    assert sum(p.numel() for p in Conditional().parameters()) == 46_593


def test_starts_as_the_mixture_that_the_label_asks_for() -> None:
    for balance in (0.0, 0.3, 1.0):
        fused = Conditional(balance).eval()(A, B)
        torch.testing.assert_close(fused, balance * A + (1 - balance) * B)
    with pytest.raises(ValueError, match=r"balance=1\.5: must be from 0 to 1"):
        Conditional(1.5)


def test_the_label_reaches_every_layer() -> None:
    fuser = lively().eval()
    added = []
    for balance in (0.0, 1.0):
        fuser.balance = balance
        added.append(fuser(A, B) - (balance * A + (1 - balance) * B))
    assert (added[0] - added[1]).abs().max() > 1e-3


def test_training_draws_a_label_for_every_picture_and_tells_it() -> None:
    torch.manual_seed(1)
    fused, sample = forward(Conditional(), Sample((A, B), None, (), ("ir", "vi")))
    share = sample.inside["balance"]
    assert share.shape == (3, 1, 1, 1)
    assert len(share.unique()) == 3
    torch.testing.assert_close(share + sample.inside["rest"], torch.ones(3, 1, 1, 1))
    torch.testing.assert_close(fused, share * A + (1 - share) * B)


def test_its_recipe_asks_for_the_mixture(composed: Any) -> None:
    """The start, a plain mixture, has no error of brightness whatever the labels."""
    loss = recipe(composed("train", "model=conditional", "data=tno")["loss"])
    total, terms = loss(*forward(Conditional(), Sample((A, B), None, (), ("ir", "vi"))))
    assert terms["intensity"].item() == pytest.approx(0, abs=1e-6)
    assert terms["gradient"] > 0
    assert total.item() == pytest.approx(5 * terms["gradient"].item() + 0.2 * terms["structure"].item(), rel=1e-5)


def test_tiles_are_invisible() -> None:
    fuser = lively().eval()
    x = [torch.rand(1, 1, 40, 37, generator=GENERATOR) for _ in range(2)]
    with torch.inference_mode():
        torch.testing.assert_close(infer.whole(fuser, x, 16), fuser(*x))


def test_the_command_sets_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"_target_": "fuse.models.conditional.Conditional"}
    checkpoint.save(tmp_path / "net", {"fuser": build(node)}, {"fuser": node}, {}, {})
    for name, level in (("a", 200), ("b", 100)):
        io.write(tmp_path / f"{name}.png", torch.full((1, 20, 20), level, dtype=torch.uint8))
    words = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "f.png"), "--method"]
    for balance, level in (("0.25", 125), ("1", 200)):
        app.main([*words, str(tmp_path / "net"), "--balance", balance])
        assert bool((io.read(tmp_path / "f.png") == level).all())
    for method, balance, message in (("laplacian", "0.5", "no balance to set"), (tmp_path / "net", "2", "from 0 to 1")):
        with pytest.raises(SystemExit) as stop:
            app.main([*words, str(method), "--balance", balance])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
