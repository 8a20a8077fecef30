"""Terms through a frozen detector or any exported network: what is kept, what has a gradient, what is refused."""

from pathlib import Path

import pytest
import torch
from made import pictures
from torch import Tensor, nn

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.detection import DETECTORS, Exported, TorchvisionDetector, kept


class Redness(nn.Module):
    """By how much red exceeds green."""

    def forward(self, picture: Tensor) -> Tensor:
        return (picture[:, :1] - picture[:, 1:2]).relu()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of seeded random weights."""
    from torchvision.models import detection

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "detector.pth"
    state = getattr(detection, DETECTORS[0])(weights=None, weights_backbone=None).state_dict()
    # PyTorch's start is so small that after fifty layers nothing of the picture is left.
    torch.save({name: 1.5 * x if x.dim() == 4 else x for name, x in state.items()}, path)
    return path


def test_the_source_that_is_answered_to_most_is_the_aim() -> None:
    one, other, fused = (torch.full((1, 3, 2, 2), level) for level in (0.0, 0.0, 0.0))
    one[:, 0, 0, 0], other[:, 0, 1, 1], fused[:, 0, 0, 0] = 0.8, 0.4, 0.6
    loss = kept(fused, Sample((one, other)), lambda x: {"red": Redness()(x)})
    assert float(loss) == pytest.approx((0.2 + 0.4) / 4)
    whole = torch.maximum(one, other)
    assert float(kept(whole, Sample((one, other)), lambda x: {"red": Redness()(x)})) == 0


def test_an_exported_network_is_frozen_and_takes_any_size(tmp_path: Path) -> None:
    sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Sigmoid())
    program = torch.export.export(network, (torch.rand(2, 3, 16, 16),), dynamic_shapes=(sizes,))
    torch.export.save(program, tmp_path / "segmenter.pt2")
    loaded = Exported(str(tmp_path / "segmenter.pt2"), span=(-1.0, 1.0))
    one, other = (x.float() for x in pictures(2, 12, 20))
    fused = one.clone().requires_grad_()
    found = loaded(2 * one - 1)["response"]
    assert torch.allclose(found, network(one.expand(-1, 3, -1, -1)), atol=1e-6)
    kept(fused, Sample((one, other)), loaded).backward()
    assert fused.grad is not None
    assert fused.grad.abs().max() > 0
    assert all(p.grad is None for p in loaded.network.parameters())


def test_a_detector_of_torchvision_looks_at_pictures_of_any_kind(weights: Path) -> None:
    detector = TorchvisionDetector(weights=str(weights))
    one, other = (x.float() for x in pictures(2, 70, 64))
    maps = detector(one)
    assert [tuple(x.shape[:2]) for x in maps.values()] == [(len(one), 1)] * len(maps)
    assert all(0 <= float(x.min()) <= float(x.max()) <= 1 for x in maps.values())
    assert torch.allclose(detector(one.expand(-1, 3, -1, -1))["level0"], maps["level0"])
    fused = other.clone().requires_grad_()
    kept(fused, Sample((one, one)), detector).backward()
    assert fused.grad is not None
    assert fused.grad.abs().max() > 0
    assert float(kept(one, Sample((one, one)), detector)) == 0


def test_what_cannot_be_used_is_said(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "none.pt2").write_bytes(b"nothing")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for make, words in (
        (lambda: TorchvisionDetector("yolo"), "choose fasterrcnn"),
        (lambda: TorchvisionDetector(), "COCO_V1 weights of fasterrcnn"),
        (lambda: TorchvisionDetector(weights=str(tmp_path / "other.pth")), "no weights of fasterrcnn"),
        (lambda: TorchvisionDetector(weights=str(tmp_path / "none.pt2")), "cannot be read as weights"),
        (lambda: Exported(str(tmp_path / "none.pt2")), "no network of torch.export.save"),
        (lambda: Exported(str(tmp_path / "missing.pt2")), "no network of torch.export.save"),
    ):
        with pytest.raises(InputError, match=words):
            make()
