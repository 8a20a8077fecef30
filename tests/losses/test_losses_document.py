"""The page of the losses is what the code says, and every term is on it."""

import importlib
import inspect
from pathlib import Path

import pytest

from fuse import losses
from fuse.losses.document import TERMS, document, functions

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
FILES = sorted(path.stem for path in Path(losses.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_the_page_has_not_drifted() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run python -m fuse.losses.document > docs/losses.md"


@pytest.mark.parametrize("name", FILES)
def test_every_file_with_terms_is_on_the_page(name: str) -> None:
    module = importlib.import_module(f"fuse.losses.{name}")
    terms = [f for _, f in functions(module) if list(inspect.signature(f).parameters)[:2] == ["fused", "sample"]]
    assert (module in TERMS) == bool(terms)
    for term in terms:
        assert f"### {name}.{term.__name__}\n" in document()
        assert term.__doc__
