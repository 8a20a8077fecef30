"""Pairs made from photographs and guides: the recipes by their formulas, and the set on disk."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from fuse.data import io
from fuse.data.damage import noisy
from fuse.data.photographs import Photographs, by_depth, crisp, gaussian, lens, matte, objects
from fuse.data.scenes import texture
from fuse.errors import InputError

PHOTO = texture(48, torch.Generator().manual_seed(0))
MASK = torch.zeros(48, 48)
MASK[10:30, 14:40] = 1


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaussian_is_scipys() -> None:
    ours = gaussian(PHOTO.double().float(), 2.0).numpy()
    theirs = ndimage.gaussian_filter(PHOTO.numpy(), (0, 2, 2), mode="nearest", truncate=3)
    assert np.allclose(ours, theirs, atol=1e-5)


def test_matte_by_its_formula() -> None:
    (near, far), truth, focus = matte(PHOTO, MASK, rng(), sigma=1.5)
    blurred, soft = gaussian(PHOTO, 1.5), gaussian(MASK[None], 1.5)
    torch.testing.assert_close(near, torch.where(MASK > 0, PHOTO, blurred))
    torch.testing.assert_close(far, soft * blurred + (1 - soft) * PHOTO)
    assert torch.equal(truth, PHOTO)
    assert focus is not None
    assert torch.equal(focus[0], MASK)


def test_objects_blur_by_deviation_two_in_windows_of_random_radius() -> None:
    seen = set()
    for seed in range(12):
        near, far = objects(PHOTO, MASK, rng(seed)).sources
        matches = [
            r for r in range(1, 8) if torch.allclose(near, torch.where(MASK > 0, PHOTO, gaussian(PHOTO, 2.0, r)))
        ]
        assert len(matches) == 1
        seen |= set(matches)
        soft = gaussian(MASK[None], 8.0, 45)
        torch.testing.assert_close(far, (1 - soft) * PHOTO + soft * gaussian(PHOTO, 2.0, matches[0]))
    assert len(seen) > 3


def test_depth_parts_the_photograph_at_a_random_depth() -> None:
    depth = torch.linspace(0, 1, 48).expand(48, 48)
    shares = []
    for seed in range(8):
        (near, far), _, focus = by_depth(PHOTO, depth, rng(seed))
        assert focus is not None
        front = focus[0] > 0
        shares.append(front.float().mean().item())
        assert torch.equal(near[:, front], PHOTO[:, front])
        assert torch.equal(far[:, ~front], PHOTO[:, ~front])
        assert bool(depth[front].min() >= depth[~front].max())
    assert 0.15 < min(shares) < max(shares) < 0.85


def test_a_lens_keeps_the_front_crisp_and_lets_it_spill() -> None:
    (near, far), _, _ = lens(PHOTO, MASK, rng(1))
    torch.testing.assert_close(near[:, MASK > 0], PHOTO[:, MASK > 0], atol=1e-5, rtol=0)
    inside = ndimage.binary_erosion(MASK.numpy() == 0, iterations=7, border_value=1)
    away = torch.from_numpy(inside)
    torch.testing.assert_close(far[:, away], PHOTO[:, away], atol=1e-5, rtol=0)
    edge = torch.from_numpy(ndimage.binary_dilation(MASK.numpy() > 0, iterations=1)) & (MASK == 0)
    assert (far[:, edge] - PHOTO[:, edge]).abs().mean() > 0.01


def test_class_labels_are_masks_too() -> None:
    labels = torch.zeros(4, 4)
    labels[1, 1] = 15 / 255
    assert crisp(labels).sum() == 1
    assert torch.equal(crisp(MASK), MASK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(4):
        io.write(tmp_path / "photo" / f"p{k}.png", (texture(40, rng(k)) * 255).round().to(torch.uint8))
        mask = torch.zeros(1, 40, 40, dtype=torch.uint8)
        mask[:, 8 + k : 25, 10:30] = 255
        io.write(tmp_path / "guide" / f"p{k}.png", mask)
    return tmp_path


def test_a_folder_becomes_a_set_of_pairs(folder: Path) -> None:
    data = Photographs(str(folder), repeats=2)
    assert data.stems("test") == ["p3-0", "p3-1"]
    assert len(data.stems("train")) == 4
    samples = list(data.samples("train"))
    assert [sample.names[0] for sample in samples] == data.stems("train")
    assert not torch.equal(samples[0].sources[1], samples[1].sources[1])  # another blur of the same photograph
    assert torch.equal(samples[0].reference, samples[1].reference)
    again = list(Photographs(str(folder), repeats=2).samples("train"))
    assert torch.equal(samples[3].sources[0], again[3].sources[0])


def test_what_makes_the_pairs_is_in_the_identity(folder: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"recipe": matte},
        {"recipe": partial(matte, sigma=2.0)},
        {"repeats": 2},
        {"seed": 1},
        {"damage": {"near": [noisy]}},
    ]
    identities = {Photographs(str(folder), **kind).identity("train") for kind in kinds}
    assert len(identities) == len(kinds)
    assert Photographs(str(folder)).identity("train") in identities


def test_mistakes(folder: Path) -> None:
    with pytest.raises(InputError, match="repeats=0"):
        Photographs(str(folder), repeats=0)
    io.write(folder / "guide" / "p0.png", torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="p0: the guide is of another size"):
        list(Photographs(str(folder)).samples("train"))
