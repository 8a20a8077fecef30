"""Terms of unequal resolution, colour, information and re-sensing."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from made import Term, agrees_with_differences, falls, pictures, sample_of
from torch.nn import functional as F

from fuse import checkpoint
from fuse.errors import InputError
from fuse.losses import chroma, cycle, information, resolution
from fuse.losses.gradient import spatial
from fuse.losses.networks import Sensor
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet

TERMS: dict[str, Term] = {
    "resolution": partial(resolution.to_role, role="ir"),
    "resolution_area": partial(resolution.to_role, role="ir", way="area", distance="l1"),
    "information": partial(information.regional, role="ir"),
    "cycle": partial(cycle.sensed, role="ir", sensor=torch.sin),
}


def test_lowered_pictures_by_hand() -> None:
    fused = torch.tensor([[0.0, 2, 4, 6], [2, 4, 8, 2]], dtype=torch.float64)[None, None]
    sample = sample_of(torch.tensor([[2.0, 6.0]], dtype=torch.float64)[None, None])
    assert resolution.to_role(fused, sample, "ir", "area").item() == pytest.approx(0.5)  # means 2 and 5
    assert resolution.to_role(fused, sample, "ir", "area", "l1").item() == pytest.approx(0.5)
    same = pictures(1)[0]
    for way in ("area", "bicubic"):
        assert resolution.to_role(same, sample_of(same), "ir", way).item() == pytest.approx(0, abs=1e-30)


def test_bicubic_is_how_patches_are_shrunk() -> None:
    large = pictures(1, 16, 24)[0]
    small = F.interpolate(large, (4, 6), mode="bicubic", antialias=True)
    assert resolution.to_role(large, sample_of(small), "ir").item() == 0
    assert resolution.to_role(large, sample_of(large[..., ::4, ::4].contiguous()), "ir").item() > 0.01


def test_a_source_larger_than_the_fused_picture_is_refused(unchecked_types: None) -> None:
    small, large = pictures(1, 4, 6)[0], pictures(1, 8, 6)[0]
    with pytest.raises(InputError, match=r"fused picture of \(4, 6\) cannot be lowered to \(8, 6\)"):
        resolution.to_role(small, sample_of(large), "ir")
    with pytest.raises(InputError, match="way='nearest' is not known"):
        partial(resolution.to_role, way="nearest")(large, sample_of(small), role="ir")


def test_chroma_by_hand_and_blind_to_luma() -> None:
    fused, vi = pictures(2, channels=3)
    cb, cr = (lambda x: 0.564 * (x[:, 2] - luma(x))), (lambda x: 0.713 * (x[:, 0] - luma(x)))

    def luma(x: torch.Tensor) -> torch.Tensor:
        return 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]

    expected = sum((part(fused) - part(vi)).abs().mean() for part in (cb, cr))
    assert chroma.to_role(fused, sample_of(vi), "ir").item() == pytest.approx(expected.item())
    assert chroma.to_role(vi + 0.2, sample_of(vi), "ir").item() == pytest.approx(0, abs=1e-15)
    assert agrees_with_differences(partial(chroma.to_role, role="ir"), fused, sample_of(vi))


def test_regional_information_against_numpy() -> None:
    fused, ir = pictures(2, 12, 13)
    fused = 0.6 * ir + 0.4 * fused
    expected = []
    for x, y in zip(fused[:, 0].numpy(), ir[:, 0].numpy(), strict=True):
        vectors = [np.lib.stride_tricks.sliding_window_view(p, (3, 3)).reshape(-1, 9).T for p in (x, y)]
        joint = np.cov(np.concatenate(vectors), bias=True)
        own, cross, theirs = joint[:9, :9] + 5e-4 * np.eye(9), joint[:9, 9:], joint[9:, 9:]
        left = theirs - cross.T @ np.linalg.inv(own) @ cross + 5e-4 * np.eye(9)
        expected.append(np.log(np.linalg.det(left / 5e-4)) / 18)
    assert information.regional(fused, sample_of(ir), "ir").item() == pytest.approx(np.mean(expected), rel=1e-9)


def test_what_tells_all_of_a_source_leaves_little_open() -> None:
    fused, ir = pictures(2, 24, 24)
    copy, inverse, other = (information.regional(x, sample_of(ir), "ir").item() for x in (ir, 1 - ir, fused))
    assert copy == pytest.approx(inverse)  # it tells as much
    assert 0 < copy < 0.4 < 2 < other
    flat = torch.full_like(ir, 0.5)
    assert information.regional(flat, sample_of(flat), "ir").item() == pytest.approx(0, abs=1e-9)
    assert information.regional(flat, sample_of(ir), "ir").item() == pytest.approx(other, rel=0.1)


@pytest.mark.parametrize("scale", [2.0, 255.0])
def test_information_takes_the_range(scale: float) -> None:
    fused, ir = pictures(2)
    plain = information.regional(fused, sample_of(ir), "ir").item()
    scaled = information.regional(scale * fused, sample_of(scale * ir), "ir", data_range=scale)
    assert scaled.item() == pytest.approx(plain, rel=1e-6)


def test_what_a_sensor_sees_is_compared() -> None:
    fused, ir = pictures(2)
    seen = fused**2
    expected = (seen - ir).abs().mean() + (spatial(seen) - spatial(ir)).abs().mean()
    assert cycle.sensed(fused, sample_of(ir), "ir", torch.square).item() == pytest.approx(expected.item())


def test_a_sensor_is_a_checkpoint_that_takes_one_picture(tmp_path: Path) -> None:
    fuser, card = DenseFuse(), {"fuser": {"_target_": "fuse.models.densefuse.DenseFuse"}}
    checkpoint.save(tmp_path / "one" / "best", {"fuser": fuser}, card, {}, {})
    x = torch.rand(1, 1, 12, 12)
    with torch.no_grad():
        expected = fuser(x)
        assert torch.allclose(Sensor(str(tmp_path / "one"))(x), expected, atol=1e-6)
        assert torch.allclose(Sensor(str(tmp_path / "one"), [-1, 1])(2 * x - 1), 2 * expected - 1, atol=1e-5)
    card = {"fuser": {"_target_": "fuse.models.fusionnet.FusionNet"}}
    checkpoint.save(tmp_path / "two" / "best", {"fuser": FusionNet()}, card, {}, {})
    with pytest.raises(InputError, match="FusionNet, which takes more than one picture"):
        Sensor(str(tmp_path / "two"))


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    fused, ir = pictures(2, 12, 12)
    sample = sample_of(ir[..., ::2, ::2].contiguous() if "resolution" in name else ir)
    assert agrees_with_differences(TERMS[name], fused, sample)
    assert falls(TERMS[name], fused, sample, 1e-4)
