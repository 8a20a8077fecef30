"""Scores of two classical methods on the 20 Lytro pairs equal those of Liu et al. 2020 to the printed digit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fuse.metrics import Memo, nmi, q_cb, q_cv, q_e, q_ncie, q_p, q_y
from fuse.metrics.legacy import q_g_survey
from fuse.metrics.variants import luma

PUBLISHED = {
    "dwt": ["0.9019", "0.8282", "0.7357", "0.8119", "0.8773", "0.9545", "0.7362", "24.80"],
    "dsift": ["1.1876", "0.8454", "0.7617", "0.8479", "0.8792", "0.9881", "0.8093", "15.88"],
}
COLUMNS = ("Q_MI", "Q_NCIE", "Q_G", "Q_P", "Q_E", "Q_Y", "Q_CB", "Q_CV")
QUICK = ("Q_MI", "Q_NCIE", "Q_G")


def _picture(folder: Path, stem: str) -> Tensor:
    (path,) = folder.glob(f"{stem}.*")
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(luma(np.asarray(picture))))[None, None]


def _scores(fused: Tensor, sources: list[Tensor], columns: tuple[str, ...], memo: Memo) -> list[float]:
    functions = {
        "Q_MI": lambda: nmi(fused, sources, memo=memo),
        "Q_NCIE": lambda: q_ncie(fused, sources, memo=memo),
        "Q_G": lambda: q_g_survey(fused, sources),
        "Q_P": lambda: q_p(fused, sources, memo=memo),
        "Q_E": lambda: q_e(fused, sources, index="uiqi", memo=memo),
        "Q_Y": lambda: q_y(fused, sources, flat="alike", memo=memo),
        "Q_CB": lambda: q_cb(fused, sources, memo=memo),
        "Q_CV": lambda: q_cv(fused, sources, memo=memo),
    }
    return [functions[column]().item() for column in columns]


def _check(shared: Path, columns: tuple[str, ...]) -> None:
    released = shared / "released" / "lytro"
    stems = sorted(path.stem for path in (released / "dwt").glob("*.png"))
    if len(stems) != 20:
        pytest.skip(f"the 20 published pictures are not in {released}")
    rows: dict[str, list[list[float]]] = {method: [] for method in PUBLISHED}
    for stem in stems:
        sources = [_picture(shared / "datasets" / "lytro" / role, stem) for role in ("near", "far")]
        memo = Memo()  # the sources are those of both methods
        for method, scores in rows.items():
            scores.append(_scores(_picture(released / method, stem), sources, columns, memo))
    for method, scores in rows.items():
        printed = dict(zip(COLUMNS, PUBLISHED[method], strict=True))
        for column, mean in zip(columns, np.mean(scores, 0), strict=True):
            digits = len(printed[column].split(".")[1])
            assert f"{mean:.{digits}f}" == printed[column], f"{column} of {method} is {mean}"


def test_published_means_of_histograms_and_edges(shared: Path) -> None:
    _check(shared, QUICK)


@pytest.mark.slow
def test_published_means(shared: Path) -> None:
    _check(shared, COLUMNS)
