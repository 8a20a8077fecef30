"""Every card of a paper trains: two steps on made scenes of its kind, at the precision and shapes of its recipe."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fuse import checkpoint, infer, train
from fuse.config import CONF, build
from fuse.data.sample import Split

CARDS = sorted(path.stem for path in Path(CONF, "experiment").glob("*.yaml"))
# What is as wide as its paper has it, or built for one size, and too heavy for a test.
SMALLER = {
    "pix2pix_mfi_whu": ["model.fuser.depth=6", "model.patches.size=64"],
    **{f"{name}_tno": ["model.patches.size=60"] for name in ("attentionfgan", "fusiongan", "ganmcc")},
    **{f"{name}_tno": ["model.patches.size=32"] for name in ("cddfuse", "swinfusion")},
    "ddcgan_tno": ["model.patches.size=64"],
    "mfifgan_mfi_whu": ["model.patches.size=32"],
    "ufgan_tno": ["model.patches.size=64", "model.fuser.widths=[16,32,64,128,256]"],
    "thermal_infrared": ["model.patches.size=112"],
    "medical_harvard": ["model.patches.size=112"],
}
MADE = {("near", "far"): "synthetic", ("near", "mid", "far"): "synthetic_stack", ("ir", "vi"): "synthetic_infrared"}
MADE |= {("ct", "mri"): "synthetic_ct_mri", ("pet", "mri"): "synthetic_pet_mri", ("spect", "mri"): "synthetic_pet_mri"}
MADE |= {("other", "mri"): "synthetic_ct_mri"}


def made(roles: list[str]) -> str:
    """Made data for these roles; those of exposures and SPECT are played by others under their names."""
    return MADE.get(tuple(roles), "synthetic")


@pytest.mark.parametrize("card", CARDS)
def test_two_steps(card: str, composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    smaller = SMALLER.get(card, [])
    whole = composed("train", f"experiment={card}", *smaller)
    roles, side = whole["data"]["roles"], whole["model"]["patches"]["size"]
    out = tmp_path / "run"
    out.mkdir()
    words = [f"data={made(roles)}", f"++data.roles={list(roles)}", f"data.size={max(64, side)}", "data.train=2"]
    words += ["data.val=1", "data.test=1", "model.patches.batch=2", "run.steps=2", "run.log_every=1"]
    cfg = composed(
        "train", f"experiment={card}", *words, *smaller, "run.evaluate=false", f"run.dir={out}", "run.device=cpu"
    )
    assert train.run(cfg, out) is not None
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)

    fuser, told = checkpoint.load(out)
    assert told["step"] in (1, 2)
    sample = Split(build(cfg["data"]), "test")[0]
    fused = infer.fuse(fuser, sample.sources)
    assert fused.shape[-2:] == sample.sources[0].shape[-2:]
    assert torch.equal(fused, infer.fuse(fuser, sample.sources))  # nothing is drawn in use
