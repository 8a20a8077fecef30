"""The task that is made of single pictures: what the fuser is shown, and how blurred."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms
from fuse.metrics.windows import gaussian
from fuse.proxy import SharpOrBlurred
from fuse.steps import Loss, Term

KERNEL = torch.tensor(gaussian(7, 2.0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blur(x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (3,) * 4, mode="reflect"), (KERNEL[:, None] * KERNEL).view(1, 1, 7, 7))


class Watcher(nn.Module):
    """Remembers what it is shown, and returns the first of it."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Tensor, ...]] = []

    def forward(self, *sources: Tensor) -> Tensor:
        self.shown.append(sources)
        return sources[0].clone().requires_grad_()


def protocol(term: Callable[..., Tensor], **settings: Any) -> tuple[SharpOrBlurred, Watcher]:
    watcher = Watcher()
    loss = Loss({"term": Term(1, term)})
    return SharpOrBlurred({"fuser": watcher}, loss, lambda name, value: None, **settings), watcher


def batch(referenced: bool = True) -> Sample:
    near, far, truth = torch.rand(3, 20, 1, 16, 16, generator=rng(1))
    return Sample((near, far), truth if referenced else None, (), ("near", "far"))


def test_a_picture_and_its_blurred_copy_are_shown_in_random_order() -> None:
    step, watcher = protocol(lambda fused, sample: terms.mse(fused, sample, "reference"))
    step(batch(), 0, rng())
    truth, times, firsts = batch().reference, [], 0
    assert truth is not None
    for first, second, sharp in zip(*watcher.shown[0], truth, strict=True):
        assert torch.equal(first, sharp) != torch.equal(second, sharp)
        firsts += int(torch.equal(first, sharp))
        made, candidates = (second if torch.equal(first, sharp) else first), [sharp[None]]
        for _ in range(5):
            candidates.append(blur(candidates[-1]))
        times.append(int(torch.stack([(made - c).abs().max() for c in candidates]).argmin()))
        assert (made - candidates[times[-1]]).abs().max() < 1e-6
    assert set(times) == {1, 2, 3, 4, 5}
    assert 4 < firsts < 16


def test_without_references_every_source_is_a_picture() -> None:
    step, watcher = protocol(lambda fused, sample: terms.mse(fused, sample, "reference"), most=1)
    sample = batch(referenced=False)
    step(sample, 0, rng())
    sources = torch.cat(sample.sources)
    first, second = watcher.shown[0]
    assert len(first) == 40
    sharp = (first == sources).all(3).all(2)[..., None, None]
    assert torch.equal(torch.where(sharp, first, second), sources)
    torch.testing.assert_close(torch.where(sharp, second, first), blur(sources))


def test_the_loss_sees_the_pair_and_its_truth() -> None:
    seen: list[Sample] = []

    def term(fused: Tensor, sample: Sample) -> Tensor:
        seen.append(sample)
        return fused.mean()

    step, _ = protocol(term)
    assert set(step(batch(), 0, rng())) == {"loss", "term"}
    assert seen[0].roles == ("first", "second")
    assert seen[0].reference is not None
    assert torch.equal(seen[0].reference, batch().reference)


def test_the_same_generator_makes_the_same_pairs() -> None:
    step, watcher = protocol(lambda fused, sample: fused.mean())
    for seed in (3, 3, 4):
        step(batch(), 0, rng(seed))
    assert torch.equal(watcher.shown[0][0], watcher.shown[1][0])
    assert not torch.equal(watcher.shown[0][0], watcher.shown[2][0])


@pytest.mark.parametrize(("name", "value"), [("kernel", 6), ("kernel", 1), ("sigma", 0.0), ("most", 0)])
def test_settings_that_blur_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"model.step: .*{name}={value}"):
        protocol(lambda fused, sample: fused.mean(), **{name: value})
