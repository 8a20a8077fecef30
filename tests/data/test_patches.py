"""Every patch is a piece of a picture, the same piece in every source, drawn as promised."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fuse.data import color
from fuse.data.patches import Patches, inside
from fuse.data.sample import Sample
from fuse.errors import InputError

SIZES = ((7, 9), (6, 6), (11, 5))
WINDOWS = sum((h - 3) * (w - 3) for h, w in SIZES)  # of 4x4 pixels


def scenes(channels: int = 1, sources: int = 2, reference: bool = True, sizes: Any = SIZES) -> list[Sample]:
    """Scenes in which no two 4x4 windows of a role are alike, however turned."""
    generator = torch.Generator().manual_seed(3)

    def picture(height: int, width: int) -> Tensor:
        return torch.randint(256, (1, channels, height, width), generator=generator).to(torch.uint8)

    return [
        Sample(
            tuple(picture(h, w) for _ in range(sources)),
            picture(h, w) if reference else None,
            (f"scene-{number}",),
            ("near", "far", "third")[:sources],
        )
        for number, (h, w) in enumerate(sizes)
    ]


def cutter(samples: list[Sample], **settings: Any) -> Patches:
    return Patches(samples, **{"size": 4, "batch": 5, "augment": False} | settings)


def drawn(cut: Patches, step: int, seed: int = 0) -> Sample:
    return cut(step, seed, torch.Generator().manual_seed(1000 * seed + step))


def windows(samples: list[Sample], size: int = 4) -> Iterator[tuple[tuple[int, int, int], list[Tensor]]]:
    """Every window: its place (scene, top, left) and its pixels in every role, on 0..255."""
    for number, sample in enumerate(samples):
        pictures = [*sample.sources, *([sample.reference] if sample.reference is not None else [])]
        height, width = pictures[0].shape[-2:]
        for top in range(height - size + 1):
            for left in range(width - size + 1):
                yield (number, top, left), [x[0, :, top : top + size, left : left + size] for x in pictures]


def stored(batch: Sample) -> list[list[Tensor]]:
    """Per patch its pixels in every role, on 0..255."""
    pictures = [*batch.sources, *([batch.reference] if batch.reference is not None else [])]
    levels = [(x * 255).round().to(torch.uint8) for x in pictures]
    assert all(torch.equal(x.float() / 255, y) for x, y in zip(levels, pictures, strict=True))
    return [list(patch) for patch in zip(*levels, strict=True)]


def place(patch: list[Tensor], known: list[tuple[tuple[int, int, int], list[Tensor]]]) -> tuple[int, int, int]:
    """Where a patch was cut; it must be there in every role."""
    found = [where for where, pixels in known if torch.equal(pixels[0], patch[0])]
    assert len(found) == 1
    assert all(torch.equal(a, b) for a, b in zip(dict(known)[found[0]], patch, strict=True))
    return found[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["random", "grid"])
@pytest.mark.parametrize(("sources", "reference"), [(2, True), (2, False), (3, True)])
def test_a_patch_is_the_same_window_of_every_picture(channels: int, order: str, sources: int, reference: bool) -> None:
    samples = scenes(channels, sources, reference)
    cut, known = cutter(samples, order=order, channels=channels), list(windows(samples))
    seen = set()
    for step in range(10):
        batch = drawn(cut, step)
        assert len(batch.sources) == sources
        assert batch.sources[0].shape == (5, channels, 4, 4)
        assert batch.roles == ("near", "far", "third")[:sources]
        assert (batch.reference is not None) == reference
        seen |= {place(patch, known) for patch in stored(batch)}
    assert {scene for scene, _, _ in seen} == {0, 1, 2}  # pictures of every size


def test_flips_and_turns_are_the_same_in_every_picture_and_all_eight_occur() -> None:
    samples = scenes(3)
    cut, known = cutter(samples, augment=True, channels=3), list(windows(samples))
    turns = {
        (mirrored, quarter): lambda x, m=mirrored, q=quarter: torch.rot90(x.flip(-1) if m else x, q, (-2, -1))
        for mirrored in (False, True)
        for quarter in range(4)
    }
    seen: Counter[tuple[bool, int]] = Counter()
    for step in range(40):
        for patch in stored(drawn(cut, step)):
            found = [
                name
                for name, turn in turns.items()
                for _, pixels in known
                if all(torch.equal(turn(a), b) for a, b in zip(pixels, patch, strict=True))
            ]
            assert len(found) == 1
            seen[found[0]] += 1
    assert len(seen) == 8
    assert min(seen.values()) >= 10  # 25 expected of each


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_grid_holds_each_window_once_an_epoch(shuffle: bool, stride: int) -> None:
    samples = scenes()
    cut, known = cutter(samples, order="grid", stride=stride, shuffle=shuffle, batch=2), list(windows(samples))
    wanted = [where for where, _ in known if where[1] % stride == 0 and where[2] % stride == 0]
    assert cut.windows == len(wanted)
    steps = len(wanted) // 2
    epochs = []
    for epoch in range(3):
        batches = (drawn(cut, epoch * steps + step) for step in range(steps))
        epochs.append([place(patch, known) for batch in batches for patch in stored(batch)])
    for epoch in epochs:
        assert len(epoch) == 2 * steps >= len(wanted) - 1  # only the incomplete batch is dropped
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(wanted)
    if shuffle:
        assert epochs[0] != sorted(epochs[0])
        assert epochs[0] != epochs[1] != epochs[2]
    else:
        assert epochs[0] == epochs[1] == epochs[2] == wanted[: 2 * steps]


def test_an_incomplete_last_batch_is_dropped() -> None:
    samples = scenes(sizes=[(5, 5), (4, 7)])  # 4 + 4 windows
    cut = cutter(samples, order="grid", shuffle=False, batch=3)
    known = list(windows(samples))
    assert [place(patch, known) for patch in stored(drawn(cut, 1))] == [where for where, _ in known[3:6]]
    assert [place(patch, known) for patch in stored(drawn(cut, 2))] == [where for where, _ in known[:3]]


@pytest.mark.parametrize("order", ["random", "grid"])
def test_a_step_follows_from_its_number_and_the_seed_alone(order: str) -> None:
    samples = scenes()
    one, other = (cutter(samples, order=order, augment=True) for _ in range(2))
    for step in range(8):
        drawn(one, step)
    for step in (7, 2, 30):  # any order, as after resuming
        assert torch.equal(drawn(one, step).sources[0], drawn(other, step).sources[0])
    assert not torch.equal(drawn(one, 2).sources[0], drawn(one, 3).sources[0])
    assert not torch.equal(drawn(one, 2).sources[0], drawn(one, 2, seed=1).sources[0])


def test_random_windows_are_uniform_over_all_positions_of_all_pictures() -> None:
    samples = scenes()
    cut, known = cutter(samples, batch=200, size=4), list(windows(samples))
    keys = {tuple(pixels[0].flatten().tolist()): where for where, pixels in known}
    assert cut.windows == len(known) == len(keys) == WINDOWS
    seen: Counter[tuple[int, int, int]] = Counter()
    steps = 30
    for step in range(steps):
        seen.update(keys[tuple(patch[0].flatten().tolist())] for patch in stored(drawn(cut, step)))
    expected = 200 * steps / WINDOWS
    chi_square = sum((seen[where] - expected) ** 2 / expected for where, _ in known)
    assert chi_square < WINDOWS - 1 + 4 * (2 * (WINDOWS - 1)) ** 0.5  # four deviations


def test_a_picture_of_one_window_is_drawn_whole() -> None:
    samples = scenes(sizes=[(4, 4)])
    batch = drawn(cutter(samples), 0)
    assert torch.equal(stored(batch)[4][0], samples[0].sources[0][0])


def test_luma_of_colour_and_grey_pictures() -> None:
    colour = torch.randint(256, (1, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    grey = colour[:, :1]
    for luma in ("full", "limited"):
        cut = cutter([Sample((colour, grey), None, ("a",), ("near", "far"))], luma=luma)
        near, far = stored(drawn(cut, 0))[0]
        assert torch.equal(near, (color.split(colour / 255, luma)[0] * 255).round().to(torch.uint8)[0])
        wanted = grey[0] if luma == "full" else (16 + 0.859 * grey[0]).round().to(torch.uint8)
        assert torch.equal(far, wanted)


def test_grey_pictures_for_a_colour_network_are_repeated() -> None:
    grey = scenes(1, reference=False)
    patch = stored(drawn(cutter(grey, channels=3), 0))[0][0]
    assert patch.shape == (3, 4, 4)
    assert torch.equal(patch[0], patch[1])
    assert torch.equal(patch[0], patch[2])


def test_sixteen_bits_are_brought_to_eight() -> None:
    levels = torch.randint(65536, (1, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint16)
    near = stored(drawn(cutter([Sample((levels,), None, ("a",), ("near",))]), 0))[0][0]
    assert torch.equal(near.double(), (levels[0].double() / 257).round())


@pytest.mark.parametrize(
    ("samples", "settings", "words"),
    [
        (scenes(), {"size": 6}, "scene-2 is 5x11, smaller than a patch of 6; lower model.patches.size"),
        ([], {}, "no pictures to train on"),
        (scenes(), {"order": "grid", "stride": 4, "batch": 9}, "windows on the grid do not fill a batch of 9"),
        (scenes(), {"order": "gird"}, "order=gird.*order is random or grid"),
        (scenes(), {"batch": 0}, "batch=0.*at least 1"),
        (scenes(), {"order": "grid", "stride": 0}, "stride=0.*at least 1"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_what_cannot_be_cut_is_refused(samples: list[Sample], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        cutter(samples, **settings)


def test_sources_of_unequal_size_are_refused() -> None:
    one, two = scenes()[:2]
    with pytest.raises(InputError, match=r"scene-0: sources of sizes .* cannot share windows"):
        cutter([Sample((one.sources[0], two.sources[0]), None, one.names, one.roles)])


def test_scenes_with_unequally_many_sources_are_refused() -> None:
    with pytest.raises(InputError, match="scene-1 has other sources or references than the scenes before"):
        cutter([scenes(sources=3)[0], scenes(reference=False)[1]])


def test_above_the_budget_the_bank_is_on_disk_and_the_patches_are_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held, mapped = cutter(scenes()), cutter(scenes(), budget=0)
    assert torch.equal(held.bank, mapped.bank)
    assert not list(tmp_path.iterdir())  # the file has no name
    for step in range(5):
        one, other = drawn(held, step), drawn(mapped, step)
        assert torch.equal(one.sources[0], other.sources[0])
    part = held.bank.numel() / 2 / 2**30
    assert torch.equal(cutter(scenes(), budget=part).bank, held.bank)  # spilled half-way


def test_balanced_draws_scenes_alike_and_windows_alike_within_them() -> None:
    samples = scenes(sizes=((5, 5), (30, 30)), reference=False)
    for number, sample in enumerate(samples):
        ramp = torch.arange(sample.sources[0].numel()).reshape(sample.sources[0].shape) % 250
        samples[number] = sample._replace(sources=((ramp // 250 + number).to(torch.uint8), ramp.to(torch.uint8)))
    counts: dict[bool, Counter[int]] = {}
    for balanced in (False, True):
        cut = cutter(samples, balanced=balanced, batch=100)
        which = torch.cat([drawn(cut, step).sources[0][:, 0, 0, 0] for step in range(10)])
        counts[balanced] = Counter((which * 255).round().int().tolist())
    assert counts[False][0] < 30  # 4 windows of 733
    assert 430 < counts[True][0] < 570
    small = cutter(samples[:1], balanced=True, batch=400)
    corners = Counter((drawn(small, 0).sources[1][:, 0, 0, 0] * 255).round().int().tolist())
    assert set(corners) == {0, 1, 5, 6}
    assert min(corners.values()) > 70


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_windows_sliced_and_gathered_are_the_same(augment: bool, channels: int) -> None:
    cut = cutter(scenes(channels), augment=augment, batch=40, channels=channels)
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(len(SIZES), (40,), generator=generator)
    top = torch.stack([torch.randint(SIZES[i][0] - 3, (), generator=generator) for i in picture])
    left = torch.stack([torch.randint(SIZES[i][1] - 3, (), generator=generator) for i in picture])
    y, x = inside(4, 40, augment, generator, torch.device("cpu"))
    one, other = (get(picture, top, left, y, x) for get in (cut._sliced, cut._gathered))
    assert one.shape == (40, 3, channels, 4, 4)
    assert torch.equal(one, other)


def test_every_role_shrinks_by_its_own_factor() -> None:
    batch = drawn(cutter(scenes(), shrink={"near": 2, "far": 4}), 0)
    assert [x.shape[-1] for x in batch.sources] == [2, 1]
    assert batch.reference is not None
    assert batch.reference.shape[-1] == 4
