"""Patches read on the fly: the same from a step's number, whoever reads them and in whatever order."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fuse import train
from fuse.data import io
from fuse.data.sample import Sample, Split
from fuse.data.stream import Stream
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError


def scenes(count: int = 6, side: int = 12, reference: bool = True) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(256, (count, 3, 1, 1, side, side), generator=generator).to(torch.uint8)
    return [Sample((a, b), c if reference else None, (str(i),), ("near", "far")) for i, (a, b, c) in enumerate(made)]


def drawn(stream: Stream, step: int, seed: int = 0) -> Sample:
    return stream(step, seed, torch.Generator().manual_seed(1000 * seed + step))


def equal(one: Sample, other: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.sources, other.sources, strict=True))


def test_every_patch_is_the_same_window_of_all_pictures() -> None:
    samples = scenes()
    batch = drawn(Stream(samples, 5, 16, augment=False), 0)
    assert batch.roles == ("near", "far")
    for i in range(16):
        places = [
            (number, top, left)
            for number, sample in enumerate(samples)
            for top in range(8)
            for left in range(8)
            if torch.equal(sample.sources[0][0, :, top : top + 5, left : left + 5] / 255, batch.sources[0][i])
        ]
        assert len(places) == 1
        number, top, left = places[0]
        for ours, theirs in (
            (batch.sources[1], samples[number].sources[1]),
            (batch.reference, samples[number].reference),
        ):
            assert ours is not None
            assert theirs is not None
            assert torch.equal(theirs[0, :, top : top + 5, left : left + 5] / 255, ours[i])


def test_steps_follow_from_their_number_whatever_came_before_and_however_many_read() -> None:
    one, other = Stream(scenes(), 5, 4, workers=1, ahead=1), Stream(scenes(), 5, 4, workers=3, ahead=5)
    steps = [drawn(one, step) for step in range(6)]
    assert all(equal(a, drawn(other, step)) for step, a in enumerate(steps))
    assert equal(drawn(other, 2), steps[2])  # back again
    assert equal(drawn(Stream(scenes(), 5, 4), 4), steps[4])  # resumed
    assert not equal(drawn(one, 0, seed=1), steps[0])
    assert not equal(steps[0], steps[1])
    assert len(other.waiting) <= other.ahead


def test_turned_patches_are_turned_alike() -> None:
    batch = drawn(Stream([s._replace(sources=(s.sources[0], s.sources[0])) for s in scenes()], 5, 32), 0)
    assert torch.equal(*batch.sources)
    plain = drawn(Stream(scenes(), 5, 32, augment=False), 0)
    values = [sorted(x.flatten().tolist()) for x in plain.sources[0]]
    assert [sorted(x.flatten().tolist()) for x in batch.sources[0]] == values
    assert not torch.equal(batch.sources[0], plain.sources[0])


def test_scenes_are_drawn_alike_and_small_ones_passed_over() -> None:
    samples = [*scenes(3, 20), *scenes(1, 4)]
    samples = [
        s._replace(sources=tuple(torch.full_like(x, 40 * i) for x in s.sources), reference=None)
        for i, s in enumerate(samples)
    ]
    stream = Stream(samples, 6, 50)
    counts = Counter(int(v * 255 + 0.5) for step in range(6) for v in drawn(stream, step).sources[0][:, 0, 0, 0])
    assert set(counts) == {0, 40, 80}
    assert min(counts.values()) > 60


def test_mistakes() -> None:
    with pytest.raises(InputError, match="no pictures"):
        Stream([], 5, 4)
    with pytest.raises(InputError, match="workers=0"):
        Stream(scenes(), 5, 4, workers=0)
    with pytest.raises(InputError, match="smaller than a patch of 50"):
        drawn(Stream(scenes(), 50, 2), 0)
    for shrink in ({"ir": 2}, {"near": 2}):
        with pytest.raises(InputError, match="one of near, far and the factor a divisor of size=5"):
            drawn(Stream(scenes(), 5, 4, shrink=shrink), 0)
    mixed = [*scenes(2), *scenes(2, reference=False)]
    with pytest.raises(InputError, match="other sources or references"):
        drawn(Stream(mixed, 5, 40), 0)


def test_a_split_reads_what_is_asked_for() -> None:
    data = Synthetic(size=20, train=3)
    split = Split(data, "train")
    assert len(split) == 3
    assert split[1].names == ("train-001",)
    assert [sample.names[0] for sample in split[1:]] == ["train-001", "train-002"]
    assert [sample.names for sample in split] == [sample.names for sample in data.samples("train")]
    assert torch.equal(split[2].sources[0], list(data.samples("train"))[2].sources[0])


def test_a_run_on_a_stream_of_single_pictures(tiny: Callable[..., tuple[dict[str, Any], Path]], tmp_path: Path) -> None:
    """An auto-encoder on a folder of photographs, as on COCO."""
    for i in range(12):
        io.write(tmp_path / "photos" / f"{i}.png", (torch.rand(3, 40, 48) * 255).to(torch.uint8))
    cfg, out = tiny("run", "model=densefuse", "run.steps=3", "run.ema=0", "run.evaluate=false")
    own = {"_target_": "fuse.data.own.own", "path": str(tmp_path / "photos"), "roles": "single"}
    cfg["data"] = own
    cfg["run"]["objective"] = "en"
    cfg["model"]["patches"] = {"_target_": "fuse.data.stream.Stream", "size": 32, "batch": 4, "workers": 2}
    train.run(cfg, out)
    assert (out / "last" / "fuser.safetensors").is_file()
