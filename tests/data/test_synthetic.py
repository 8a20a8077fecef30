"""Made scenes: the same for ever, and what their optics promise."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from fuse.data import optics, synthetic
from fuse.data.damage import noisy
from fuse.data.optics import defocus, focus_pair
from fuse.data.scenes import GAMMA, leaves, texture
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError

KNOWN = (
    [132.129, 119.367, 145.555, 141.734, 138.73, 120.73, 148.754, 144.762, 133.746, 118.469, 146.48, 143.391],
    [125.531, 115.707, 141.328, 136.887, 133.504, 117.18, 145.07, 140.32, 127.922, 115.059, 142.824, 138.953],
    [125.531, 114.855, 141.113, 135.074, 133.504, 116.422, 144.801, 138.859, 127.922, 114.066, 142.598, 137.512],
)


def pair(seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    (near, far), truth, _ = focus_pair(size, torch.Generator().manual_seed(seed))
    return near, far, truth


def parts(monkeypatch: pytest.MonkeyPatch, seed: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """A pair with the mask of its foreground and the radius of its blur."""
    masks, radii = [], []

    def watched_leaves(*given: object) -> tuple[Tensor, Tensor]:
        light, mask = leaves(*given)
        masks.append(mask)
        return light, mask

    def watched_defocus(light: Tensor, radius: float) -> Tensor:
        radii.append(radius)
        return defocus(light, radius)

    monkeypatch.setattr(optics, "leaves", watched_leaves)
    monkeypatch.setattr(optics, "defocus", watched_defocus)
    near, far, truth = pair(seed, size)
    return near, far, truth, masks[1], radii[0]


def test_scenes_are_the_same_for_ever() -> None:
    """Means of quarters, since the last digits of a Fourier transform, and with them a level somewhere, may differ."""
    sample = next(Synthetic(size=32, train=2, val=1, test=1).samples("test"))
    for picture, known in zip((*sample.sources, sample.reference), KNOWN, strict=True):
        assert picture is not None
        assert avg_pool2d(picture.float(), 16).flatten().tolist() == pytest.approx(known, abs=0.02)


def test_a_scene_does_not_depend_on_the_others() -> None:
    few, many = Synthetic(size=24, train=2), Synthetic(size=24, train=5)
    assert few.stems("train") == many.stems("train")[:2]
    early, late = list(few.samples("train")), list(many.samples("train"))
    assert all(torch.equal(a.sources[1], b.sources[1]) for a, b in zip(early, late, strict=False))
    again = list(many.samples("train"))[3]
    assert torch.equal(again.sources[0], late[3].sources[0])


def test_splits_sizes_and_seeds_differ() -> None:
    data = Synthetic(size=24, train=2, val=2, test=2)
    assert data.stems("val") == ["val-000", "val-001"]
    assert data.stems("all") == [f"{part}-00{number}" for part in ("train", "val", "test") for number in (0, 1)]
    pictures = [sample.sources[0] for sample in data.samples("all")]
    pictures.append(next(Synthetic(size=24, seed=1).samples("train")).sources[0])
    for i, one in enumerate(pictures):
        assert not any(torch.equal(one, other) for other in pictures[:i])
    identities = {data.identity(split) for split in ("all", "train", "val", "test")}
    identities |= {Synthetic(size=25, train=2).identity("train"), Synthetic(size=24, train=2, seed=1).identity("train")}
    assert len(identities) == 6


def test_samples_are_eight_bit_colour_with_roles() -> None:
    data = Synthetic(size=20, test=1)
    sample = next(data.samples("test"))
    assert sample.roles == data.roles == ("near", "far")
    assert sample.names == ("test-000",)
    for picture in (*sample.sources, sample.reference):
        assert picture is not None
        assert picture.shape == (1, 3, 20, 20)
        assert picture.dtype == torch.uint8


@pytest.mark.parametrize("seed", [0, 1])
def test_each_source_is_the_truth_where_it_is_in_focus(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    near, far, truth, mask, radius = parts(monkeypatch, seed, 96)
    reach = int(radius) + 2
    covered = max_pool2d(mask[None, None], 2 * reach + 1, 1, reach)[0, 0]
    front, behind = mask == 1, covered == 0
    assert front.sum() > 50
    assert behind.sum() > 50
    torch.testing.assert_close(near[:, front], truth[:, front], rtol=0, atol=1e-6)
    torch.testing.assert_close(far[:, behind], truth[:, behind], rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_each_source_is_blurred_where_it_is_out_of_focus(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    near, far, truth, mask, radius = parts(monkeypatch, seed, 96)
    reach = int(radius) + 2

    def inner(where: Tensor) -> Tensor:
        """`where` without what lies within reach of the edge of the mask."""
        return max_pool2d((~where).float()[None, None], 2 * reach + 1, 1, reach)[0, 0] == 0

    def detail(picture: Tensor, where: Tensor) -> float:
        both = where[:, 1:] & where[:, :-1]
        assert both.sum() > 30
        return (picture[:, :, 1:] - picture[:, :, :-1])[:, both].square().mean().item()

    for blurred, where in ((near, inner(mask == 0)), (far, inner(mask == 1))):
        assert detail(blurred, where) < 0.3 * detail(truth, where)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_pictures_stay_in_range_and_keep_the_light(seed: int) -> None:
    pictures = pair(seed, 32)
    for picture in pictures:
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture.std() > 0.02
    near, far, truth = (picture**GAMMA for picture in pictures)
    assert abs(near.mean() - truth.mean()) < 0.05
    assert abs(far.mean() - truth.mean()) < 0.05


def test_defocus_is_a_mean_over_a_disc() -> None:
    point = torch.zeros(1, 15, 15)
    point[0, 7, 7] = 1
    blurred = defocus(point, 3.0)
    assert blurred.sum().item() == pytest.approx(1)
    y, x = torch.meshgrid(torch.arange(15) - 7, torch.arange(15) - 7, indexing="ij")
    distance = torch.hypot(y.float(), x.float())
    assert (blurred[0][distance > 3.5] == 0).all()
    inside = blurred[0][distance < 2.5]
    assert inside.min().item() == pytest.approx(inside.max().item())
    assert inside[0].item() == pytest.approx(1 / (torch.pi * 3.0**2), rel=0.1)
    torch.testing.assert_close(defocus(torch.full((2, 9, 9), 0.7), 2.3), torch.full((2, 9, 9), 0.7))


def test_texture_falls_as_one_over_f() -> None:
    field = texture(128, torch.Generator().manual_seed(0))
    assert 0 <= field.min() < 0.2
    assert 0.8 < field.max() <= 1
    power = torch.fft.fft2(torch.logit(field.double().clamp(1e-6, 1 - 1e-6))).abs().square().mean(0)
    frequency = torch.fft.fftfreq(128, dtype=torch.float64)
    radius = torch.hypot(frequency[:, None], frequency[None, :])
    low = power[(radius > 0.04) & (radius < 0.06)].mean()
    high = power[(radius > 0.32) & (radius < 0.48)].mean()
    assert torch.log(low / high).item() == pytest.approx(2.5 * torch.log(torch.tensor(8.0)).item(), rel=0.1)


def test_leaves_cover_without_exceeding() -> None:
    light, coverage = leaves(40, 8, 0.1, 0.4, torch.Generator().manual_seed(2))
    assert coverage.min() >= 0
    assert coverage.max() <= 1
    assert (light <= coverage + 1e-6).all()
    assert 0.1 < coverage.mean() < 1


@pytest.mark.parametrize("settings_given", [{"size": 8}, {"train": 0}, {"val": 0}, {"test": -1}])
def test_scenes_too_small_or_too_few_are_refused(settings_given: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least"):
        Synthetic(**settings_given)


def test_unknown_split_names_the_known() -> None:
    with pytest.raises(InputError, match="no split 'rest'; it has all, train, val, test"):
        Synthetic().stems("rest")


def test_the_smallest_scene_can_be_made() -> None:
    near, _, _ = pair(0, synthetic.SMALLEST)
    assert near.shape == (3, 16, 16)


def test_other_scenes_and_damage_have_other_identities_and_pictures() -> None:
    plain = Synthetic(size=32, train=1)
    stack = Synthetic(size=32, train=1, roles=("near", "mid", "far"), scene=partial(optics.focus_stack, settings=3))
    sample = next(stack.samples("train"))
    assert sample.roles == ("near", "mid", "far")
    assert len(sample.sources) == 3
    harmed = Synthetic(size=32, train=1, damage={"near": [noisy]})
    one, other = next(plain.samples("train")), next(harmed.samples("train"))
    assert not torch.equal(one.sources[0], other.sources[0])
    assert torch.equal(one.sources[1], other.sources[1])
    assert len({data.identity("train") for data in (plain, stack, harmed)}) == 3
    with pytest.raises(InputError, match="makes 2 pictures for the roles a, b, c"):
        next(Synthetic(size=32, roles=("a", "b", "c")).samples("train"))
    with pytest.raises(InputError, match=r"damage names ir, but the roles are near, far"):
        Synthetic(damage={"ir": [noisy]})
