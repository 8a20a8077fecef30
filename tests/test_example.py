"""scripts/example: the README's picture is what the shipped networks make today."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from commands import ENVIRONMENT, ROOT
from PIL import Image


def test_the_picture_of_the_readme(tmp_path: Path) -> None:
    out = tmp_path / "example.png"
    subprocess.run([sys.executable, ROOT / "scripts" / "example", out], env=ENVIRONMENT, check=True)
    made, kept = (np.asarray(Image.open(path), int) for path in (out, ROOT / "docs" / "example.png"))
    assert made.shape == kept.shape
    assert np.abs(made - kept).mean() < 0.1  # levels; another processor rounds otherwise here and there
