"""The task of a set of pictures: by looks on made pictures, by names, and on real ones where they are."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import shipped
from fuse.data import io
from fuse.data.optics import focus_pair
from fuse.methods import RULES
from fuse.photos import task
from fuse.photos.reduced import grey, levels, reduced


def scene(seed: int, channels: int = 3, side: int = 96) -> Tensor:
    """Smooth blobs with fine texture, levels 30 to 220."""
    generator = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(1, channels, 7, 7, generator=generator), (side, side), mode="bilinear")[0]
    fine = torch.rand(1, side, side, generator=generator)
    return (30 + 160 * coarse + 30 * fine).clamp(0, 255)


def stored(picture: Tensor) -> Tensor:
    return picture.round().clamp(0, 255).to(torch.uint8)


def focus() -> list[Tensor]:
    sources, _, _ = focus_pair(96, torch.Generator().manual_seed(3))
    return [stored(x * 190 + 30) for x in sources]


def exposure() -> list[Tensor]:
    light = scene(1)
    return [stored(255 * (light / 255) ** 2.2), stored(255 * (light / 255) ** 0.4)]


def infrared() -> list[Tensor]:
    return [stored(scene(5, 1)), stored(scene(6))]


def medical() -> list[Tensor]:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    radius = (x**2 + y**2).sqrt()
    body = radius < 0.6
    bone = torch.where(body, torch.where(radius > 0.5, 250.0, 60.0), 0.0)
    return [stored(bone[None]), stored(torch.where(body, 0.6 * scene(7, 1)[0] + 20, 0.0)[None])]


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [(focus(), "focus"), (exposure(), "exposure"), (infrared(), "infrared"), (medical(), "medical")],
    ids=["focus", "exposure", "infrared", "medical"],
)
def test_looks_tell_the_task(pictures: list[Tensor], expected: str) -> None:
    guess = task.guess(pictures)
    assert (guess.task, guess.sure) == (expected, "likely"), guess.why
    assert task.guess(pictures[::-1]).task == expected
    assert task.guess([picture.to(torch.uint16) * 257 for picture in pictures])[:2] == guess[:2]
    assert task.guess([picture.float() / 255 for picture in pictures])[:2] == guess[:2]


def test_roles_follow_colour_and_brightness() -> None:
    assert task.guess(infrared()).roles == ("ir", "vi")
    assert task.guess(infrared()[::-1]).roles == ("vi", "ir")
    assert task.guess(exposure()).roles == ("under", "over")
    assert task.guess(exposure()[::-1]).roles == ("over", "under")
    assert task.guess(focus()).roles is None
    grey_ones = [stored(grey(picture.float())[None]) for picture in infrared()]
    assert task.guess(grey_ones).task == "infrared"
    assert task.guess(grey_ones).roles is None


def test_colour_of_a_functional_picture_and_the_bone_of_ct() -> None:
    bone, soft = medical()
    assert task.guess([bone, soft]).roles == ("ct", "mri")
    pet = torch.cat([bone, soft, soft // 3])
    assert task.guess([soft, pet]).roles == ("mri", "pet")


@pytest.mark.parametrize(
    ("names", "expected", "roles"),
    [
        (("a/ir/01.png", "a/vis/01.png"), "infrared", ("ir", "vi")),
        (("thermal_07.png", "photo_07.png"), "infrared", ("ir", "vi")),
        (("x/CT/3.png", "x/MR/3.png"), "medical", ("ct", "mri")),
        (("houseUnder.jpg", "houseOver.jpg"), "exposure", ("under", "over")),
        (("1_near.jpg", "1_far.jpg"), "focus", ("near", "far")),
        (("bracket/1.jpg", "bracket/2.jpg"), "exposure", None),
    ],
)
def test_names_are_believed_and_contradictions_told(names: tuple[str, str], expected: str, roles: object) -> None:
    paths = [Path(name) for name in names]
    own = {"infrared": infrared(), "medical": medical(), "exposure": exposure(), "focus": focus()}
    guess = task.guess(own[expected], paths)
    assert (guess.task, guess.sure) == (expected, "certain")
    if roles:
        assert guess.roles == roles
    other = task.guess(own["infrared" if expected != "infrared" else "focus"], paths)
    assert (other.task, other.sure) == (expected, "unsure")
    assert "by their looks" in other.why


def test_files_of_hospitals_need_no_looks() -> None:
    guess = task.guess(focus(), [Path("a/1.dcm"), Path("b.nii.gz/003")])
    assert (guess.task, guess.sure) == ("medical", "certain")


def test_names_that_say_nothing_or_two_things_leave_it_to_looks() -> None:
    for names in (("IMG_1.jpg", "IMG_2.jpg"), ("ir_near.png", "vis_far.png")):
        guess = task.guess(focus(), [Path(name) for name in names])
        assert (guess.task, guess.sure) == ("focus", "likely"), names


def test_a_copy_is_no_clear_focus_pair() -> None:
    near = focus()[0]
    guess = task.guess([near, near])
    assert (guess.task, guess.sure) == ("focus", "unsure")
    assert "none is sharper" in guess.why


def test_two_coloured_scenes_are_not_sure_to_belong_together() -> None:
    assert task.guess([stored(scene(8)), stored(scene(9))]).sure == "unsure"


def test_the_darkest_and_the_brightest_of_many_are_compared() -> None:
    light = scene(1)
    steps = [stored(255 * (light / 255) ** power) for power in (1.0, 0.95, 2.2, 0.4)]
    assert task.guess(steps).task == "exposure"
    assert task.guess(steps[:2]).task == "focus"


def test_temperatures_in_16_bits_are_spread_before_they_are_looked_at() -> None:
    ir, vi = infrared()
    raw = (ir.float() * 3 + 7000).to(torch.uint16)
    assert task.guess([raw, vi]).task == "infrared"


def test_sizes_may_differ_and_pictures_may_be_tiny() -> None:
    ir, vi = infrared()
    assert task.guess([ir[:, ::2, ::2], vi]).task == "infrared"
    for size in ((1, 1), (1, 9), (2, 3)):
        flat = torch.full((1, *size), 90, dtype=torch.uint8)
        assert task.guess([flat, flat]).sure == "unsure"


def test_order_counts_pairs_that_agree() -> None:
    ramp = torch.arange(64.0).view(8, 8) * 3
    assert task.order(ramp, ramp**0.5 * 20) == 1
    assert task.order(ramp, 200 - ramp) == 0
    assert task.order(ramp, torch.full_like(ramp, 7)) == 0.5


def test_exchange_is_the_share_of_the_lesser_sharp_part() -> None:
    texture = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) * 200
    flat = torch.full_like(texture, 100)
    left = torch.arange(64) < 16
    a, b = torch.where(left, texture, flat), torch.where(left, flat, texture)
    assert task.exchange([a, b]) == pytest.approx(0.25, abs=0.07)  # cells on the border count, too
    assert task.exchange([b, flat]) == 0


def test_reduced_is_the_mean_of_blocks_whatever_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = stored(torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0)) * 255)
    whole = reduced(picture, 12)
    assert whole.shape == (3, 10, 13)
    assert whole[1, 2, 3] == pytest.approx(float(picture[1, 8:12, 12:16].float().mean()))
    assert whole[1, 9, 12] == pytest.approx(float(picture[1, 36:, 48:].float().mean()))
    monkeypatch.setattr("fuse.photos.reduced.BAND", 1)
    assert torch.equal(reduced(picture, 12), whole)
    assert torch.equal(reduced(picture, 50), picture.float())
    assert torch.allclose(levels(picture.to(torch.uint16) * 257), picture.float())


def test_every_task_has_a_rule_and_a_reason() -> None:
    for name in task.TASKS:
        for rule, why in (task.method(name), task.method(name, 3), task.method(name, coloured=True)):
            assert rule in (*RULES, *shipped.names())
            assert len(why) > 20


def test_medical_pictures_in_colour_go_to_the_network_that_keeps_it() -> None:
    """What is grey must not: the network leaves brightness to the MRI."""
    grey, noise = torch.full((1, 64, 64), 0.5), torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    red = torch.zeros(3, 64, 64)
    red[0, 20:50, 20:50] = 0.8
    assert task.coloured([grey, red])
    assert not task.coloured([grey, grey.expand(3, -1, -1)])
    assert not task.coloured([grey, 0.5 + 0.01 * noise])
    assert task.method("medical", coloured=True)[0] == task.method("medical", 3, coloured=True)[0] == "medical"
    assert task.method("medical")[0] == "laplacian"
    assert task.method("infrared", coloured=True) == task.method("infrared")


def real(shared: Path, name: str, roles: Sequence[str], count: int) -> list[list[Tensor]]:
    folders = [io.pictures(shared / "datasets" / name / role) for role in roles]
    stems = sorted(set.intersection(*(set(folder) for folder in folders)))
    return [[io.read(folder[stem]) for folder in folders] for stem in stems[:: max(len(stems) // count, 1)][:count]]


@pytest.mark.parametrize(
    ("name", "roles", "expected"),
    [
        ("lytro", ("near", "far"), "focus"),
        ("mfifb", ("near", "far"), "focus"),
        ("tno", ("ir", "vi"), "infrared"),
        ("msrs", ("ir", "vi"), "infrared"),
        ("roadscene_hr", ("ir", "vi"), "infrared"),
        ("ct_mri", ("ct", "mri"), "medical"),
        ("spect_mri", ("spect", "mri"), "medical"),
        ("mefb", ("under", "over"), "exposure"),
        ("mef_sequence", ("01", "02", "03", "04", "05"), "exposure"),
    ],
)
def test_real_pictures_without_their_names(shared: Path, name: str, roles: Sequence[str], expected: str) -> None:
    for pictures in real(shared, name, roles, 4):
        guess = task.guess(pictures)
        assert (guess.task, guess.sure) == (expected, "likely"), guess.why
