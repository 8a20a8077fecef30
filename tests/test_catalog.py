"""The command `fuse-list`."""

import json

import pytest

from fuse import catalog
from fuse.metrics import METRICS


def test_models_carry_name_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    catalog.main(["models", "--json"])
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["mffgan"]["parameters"] == 40_033
    assert cards["densefuse"]["parameters"] == 74_193
    assert cards["fusionnet"]["parameters"] == 1_702_211
    assert cards["densefuse"]["gflop"] == pytest.approx(2 * 640 * 480 * 74_000 / 1e9, rel=0.2)
    assert (cards["ifcnn"]["sources"], cards["mffgan"]["sources"]) == ("any", 2)
    assert (cards["mffgan"]["field"], cards["gacn"]["field"]) == (11, "whole picture")
    assert all(card["about"] for card in cards.values())


def test_every_kind_has_a_line_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    catalog.main([])
    said = capsys.readouterr().out
    for name in ("mffgan", "lytro", "laplacian", "synthetic", *METRICS):
        assert f"  {name} " in said
