"""The command `fuse-list`."""

import functools
import json
import subprocess
import sys

import pytest
from commands import ENVIRONMENT

from fuse import catalog
from fuse.metrics import METRICS

MODELS = functools.cache(catalog.models)  # builds every network


@pytest.fixture(autouse=True)
def _built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.KINDS, "models", MODELS)


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


def test_a_reader_who_stops_is_no_fault() -> None:
    """`fuse-list metrics | head -1`, many times over what a pipe holds."""
    code = "from fuse import catalog; catalog.KINDS['metrics'] = lambda: [{'name': 'x', 'about': 'y' * 100}] * 9999; "
    code += "catalog.main(['metrics'])"
    told = subprocess.Popen(
        [sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert told.stdout is not None
    assert told.stdout.readline() == b"metrics:\n"
    told.stdout.close()
    assert told.stderr is not None
    assert told.stderr.read() == b""
    told.stderr.close()
    assert told.wait() == 0
