"""The page of the methods is what the cards and the networks say; what the cards claim holds."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fuse import catalog, infer
from fuse.config import build
from fuse.methods_page import document

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
MODELS = {name: node["model"] for name, _, node in catalog.group("model")}


def test_the_page_has_not_drifted() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run python -m fuse.methods_page > docs/methods.md"


@pytest.mark.parametrize("name", MODELS)
def test_a_symmetric_network_does_not_mind_the_order(name: str) -> None:
    model: dict[str, Any] = MODELS[name]
    torch.manual_seed(0)
    fuser = build(catalog.resolved(model["fuser"], model)).eval()
    facts = infer.traits(fuser)
    side = -(-64 // facts.multiple) * facts.multiple
    a, b = torch.rand(2, 1, facts.channels, side, side, generator=torch.Generator().manual_seed(1))
    seen = []
    for std in (None, 2.0, 0.5):  # many start so small, or from zero, that nothing of the sources is left to compare
        with torch.no_grad():
            for weight in (p for p in fuser.parameters() if std and p.dim() > 1):
                weight.normal_(0, (std / weight[0].numel()) ** 0.5)
        with torch.inference_mode():
            one, other = infer.whole(fuser, [a, b]), infer.whole(fuser, [b, a])
        other = other.flip(1) if facts.selects else other
        if one.isfinite().all() and one.std() > 0:
            seen.append(torch.allclose(one, other, rtol=0, atol=1e-4 * one.std().item()))
    assert seen
    assert all(seen) == model["about"]["symmetric"]
