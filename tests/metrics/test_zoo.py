"""IVIF_ZOO's forms against the value that its code gives on a known pair, and by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fuse.metrics import en, n_abf, zoo
from fuse.metrics.variants import golden

PUBLISHED = {  # TNO pair 08, SeAFusion: as the specification of the metrics states them
    ("EN", "zoo"): 6.863350,
    ("NMI", "zoo"): 0.704449,
    ("Q_NCIE", "zoo"): 0.916154,
    ("Q_TE", "zoo"): 5.83,
    ("Nabf", "zoo"): 0.049789,
}


@pytest.mark.parametrize("name", PUBLISHED, ids="/".join)
def test_as_its_own_code(name: tuple[str, str], shared: Path) -> None:
    folder = shared / "goldens" / "images" / "ivf_tno08"
    pictures = [np.asarray(Image.open(folder / f"{stem}.png").convert("L")) for stem in ("seafusion", "a", "b")]
    value = golden(*name)(*pictures)
    digits = 2 if name[0] == "Q_TE" else 6
    assert round(value, digits) == pytest.approx(PUBLISHED[name], abs=1e-12)


def test_by_hand() -> None:
    """Four levels alike in both sources: two bits each; a fused picture of two levels: one bit, all of it told."""
    source = torch.tensor([[0, 80], [160, 240]]).repeat(4, 4)[None, None]
    fused = torch.where(source > 100, 200, 50)
    assert zoo.en_guarded(fused).item() == pytest.approx(en(fused).item(), abs=1e-6)
    assert zoo.q_te_entropies(fused, [source, source]).item() == pytest.approx(2 + 2 - 1)
    assert zoo.nmi_of_sources(fused, [source, source]).item() == pytest.approx(2 * (1 + 1) / (2 + 2))
    assert zoo.q_ncie_linear(source, [source, source]).item() == pytest.approx(1, abs=1e-6)


def test_weak_edges_weigh_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randint(0, 256, (1, 1, 32, 32), generator=generator).double()
    other = torch.randint(0, 256, (1, 1, 32, 32), generator=generator).double()
    assert zoo.n_abf_strong(base, [other, base]).item() == pytest.approx(n_abf(base, [other, base]).item(), abs=1e-4)
    faint = base / 1000 + 100
    assert zoo.n_abf_strong(faint, [faint.flip(-1)]).isnan().all()  # no edge counts at all
