"""Metrics of networks that others trained: their messages, and their arithmetic with random weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fuse import judge, methods
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError
from fuse.metrics import LEARNED, applicable, learned, measure


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty place for weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    learned._network.cache_clear()
    yield tmp_path / "hub" / "checkpoints"
    learned._network.cache_clear()


def pictures(count: int = 2, side: int = 64) -> list[Tensor]:
    return list(torch.randint(0, 256, (3, count, 1, side, side), generator=torch.Generator().manual_seed(0)).double())


@pytest.mark.parametrize("name", LEARNED)
def test_missing_weights_are_named_with_their_place(name: str, hub: Path) -> None:
    fused, a, b = pictures()
    with pytest.raises(InputError, match=r"alexnet-owt-7be5be79\.pth: fetch https://.* and put it into .*checkpoints"):
        measure(fused, [a, b], a, [name])


def test_they_are_measured_only_where_they_are_named() -> None:
    assert not set(applicable(True)) & set(LEARNED)
    assert judge.chosen(["lpips"], False) == ["lpips"]
    with pytest.raises(InputError, match="'lpips_ref' needs a reference"):
        judge.chosen(["lpips_ref"], False)


def test_lpips_with_random_weights(hub: Path) -> None:
    from torchvision.models import squeezenet1_1

    hub.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), hub / learned.FILES["squeeze"])
    fused, a, b = pictures()
    to_a, to_b = (learned.lpips_ref(fused, x, net="squeeze") for x in (a, b))
    assert bool((to_a > 0).all())
    torch.testing.assert_close(learned.lpips(fused, [a, b], net="squeeze"), (to_a + to_b) / 2)
    torch.testing.assert_close(learned.lpips(fused, [a, b], combine="max", net="squeeze"), torch.maximum(to_a, to_b))
    assert learned.lpips_ref(a, a, net="squeeze").abs().max() == 0
    alone = learned.lpips_ref(fused[1:], a[1:], net="squeeze")
    torch.testing.assert_close(alone, to_a[1:], rtol=1e-4, atol=1e-6)


class Moments(nn.Module):
    """Two features of a picture: its mean and its deviation."""

    num_features = 2

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1)


def test_frechet_distance_of_known_gaussians() -> None:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2)), with features whose covariances are computed here."""
    meter = learned.Distribution(["fid"], Moments())
    generator = torch.Generator().manual_seed(0)
    fused = torch.randint(0, 200, (40, 1, 8, 8), generator=generator).to(torch.uint8)
    real = torch.randint(30, 256, (40, 1, 8, 8), generator=generator).to(torch.uint8)
    for f, r in zip(fused.split(1), real.split(1), strict=True):
        meter.add(f, [r])
    one, two = (Moments()(x.expand(-1, 3, -1, -1)).double() for x in (fused, real))
    c1, c2 = torch.cov(one.T), torch.cov(two.T)
    root = torch.linalg.eigvals(c1 @ c2).sqrt().real.sum()
    wanted = ((one.mean(0) - two.mean(0)) ** 2).sum() + c1.trace() + c2.trace() - 2 * root
    assert meter.values()["fid"] == pytest.approx(wanted.item(), rel=1e-3)


def test_inception_score_of_known_probabilities() -> None:
    """Pictures that are surely of one of two classes, half of each: exp(ln 2) = 2."""

    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first = (x.float().mean((1, 2, 3)) > 100).float()
            return 50 * torch.stack([first, 1 - first], 1)

    meter = learned.Distribution(["inception_score"], Sure())
    for i in range(400):
        meter.add(torch.full((1, 1, 4, 4), 200 * (i % 2), dtype=torch.uint8), [])
    assert meter.values()["inception_score"] == pytest.approx(2, rel=0.02)


def test_a_distribution_says_what_it_lacks_before_anything_is_fused(hub: Path, tmp_path: Path) -> None:
    data = Synthetic(size=40, train=1, val=1, test=2)
    average = methods.resolve("average", torch.device("cpu"))
    with pytest.raises(InputError, match="weights-inception-2015-12-05"):
        judge.run([average], data, "test", tmp_path / "e", distribution=["fid"])
    assert not (tmp_path / "e").exists()
    with pytest.raises(InputError, match="choose from fid, inception_score"):
        learned.Distribution(["fiid"])


def test_values_over_the_set_stand_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "Distribution", lambda names: learned.Distribution(names, Moments()))
    data = Synthetic(size=40, train=1, val=1, test=3)
    methods_ = [methods.resolve("average", torch.device("cpu"))]
    text, _ = judge.run(methods_, data, "test", tmp_path / "e", ["sd"], distribution=["fid"])
    assert "average, all pictures: fid " in text
    assert '"fid"' in (tmp_path / "e" / "summary.json").read_text()
