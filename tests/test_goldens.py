"""Every row of a folder of golden values (`FUSE_GOLDENS`, by default `../shared/goldens`) equals ours."""

import csv
import os
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuse.errors import InputError
from fuse.metrics.variants import golden

FOLDER = Path(os.environ.get("FUSE_GOLDENS", Path(__file__).parents[2] / "shared" / "goldens"))
# references that compute in float32, by the beginning of their name
FLOAT32 = ("Zhaozixiang1228/", "puduliu/", "RollingPlain/", "Topanxal/", "torchmetrics")
# metrics that divide by variances of rounding noise where sources are black or white: the bounds of the folder's README
FLAT_AREAS = {"Q_CB": 1e-6, "Q_W": 5e-6, "VIF": 2e-5, "VIFF": 2e-5}


def _rows() -> dict[tuple[str, str], list[dict[str, str]]]:
    path = FOLDER / "metrics.csv"
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                groups[row["pair_id"], row["fused_id"]].append(row)
    return groups


ROWS = _rows()


@cache
def _picture(pair: str, name: str, colour: bool) -> np.ndarray:
    grey = FOLDER / "images" / pair / "gray" / f"{name}.png"
    path = grey if grey.is_file() and not colour else FOLDER / "images" / pair / f"{name}.png"
    with Image.open(path) as picture:
        return np.asarray(picture)


def _tolerance(row: dict[str, str], sources: list[np.ndarray]) -> float:
    bound = 1e-5 if row["reference"].startswith(FLOAT32) else 1e-9
    flat = max(float(np.mean((source == 0) | (source == 255))) for source in sources) > 0.01
    return max(bound, FLAT_AREAS.get(row["metric"], 0.0)) if flat else bound


@pytest.mark.skipif(not ROWS, reason=f"no golden values in {FOLDER}; set FUSE_GOLDENS")
@pytest.mark.parametrize(("pair", "fused"), list(ROWS), ids=["-".join(key) for key in ROWS])
def test_rows(pair: str, fused: str) -> None:
    values: dict[tuple[str, str], float | str] = {}
    wrong = []
    for row in ROWS[pair, fused]:
        key = row["metric"], row["variant"]
        pictures = [_picture(pair, name, "@rgb" in row["variant"]) for name in (fused, "a", "b")]
        if key not in values:
            try:
                values[key] = golden(*key)(*pictures)
            except InputError as error:
                values[key] = str(error)
        ours, theirs = values[key], float(row["value"])
        if isinstance(ours, str) or not abs(ours - theirs) <= _tolerance(row, pictures[1:]) * abs(theirs):
            wrong.append(f"{'/'.join(key)}: {ours}, should be {theirs} by {row['reference']}")
    assert not wrong, "\n".join(wrong)
    assert values


@pytest.mark.parametrize(("metric", "variant"), [("XX", "default"), ("SSIM", "nonsense"), ("SSIM", "default@corner")])
def test_unknown_names_fail(metric: str, variant: str) -> None:
    with pytest.raises(InputError, match=f"no variant {metric}/{variant}"):
        golden(metric, variant)
