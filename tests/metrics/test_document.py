"""The page of the metrics is what the code says."""

from pathlib import Path

import pytest

from fuse.metrics import METRICS
from fuse.metrics.document import document

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_has_not_drifted() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run python -m fuse.metrics.document > docs/metrics.md"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_described(name: str) -> None:
    page, metric = document(), METRICS[name]
    assert f"| `{name}` |" in page
    assert metric.summary
    if not name.endswith(("_min", "_max")):
        (text,) = (part for part in page.split("\n### ") if name in part.split("\n", 1)[0].split(", "))
        words = " ".join(text.split())
        assert "is better" in words or "No direction" in words or "0 is ideal" in words
