"""GACN: its decision against plain functions, the boundary and calibration by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.models.gacn import GACN, SpatialGate, calibrated, smoothed_at_boundary
from fuse.models.guided import guided_filter
from fuse.models.sesf import neighbourhood, variation


def network() -> GACN:
    torch.manual_seed(0)
    made = GACN()
    with torch.no_grad():
        made(*torch.rand(2, 4, 1, 40, 40))  # batch norms see something
    return made.eval()


def pictures(count: int, batch: int = 1, side: int = 33) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.rand(batch, 1, side, side + 6, generator=generator) for _ in range(count)]


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in GACN().parameters()) == 68_820


def test_spatial_gates_give_all_channels_of_a_pixel_one_share() -> None:
    torch.manual_seed(0)
    gate = SpatialGate(3)
    x = torch.rand(2, 3, 9, 9)
    share = torch.sigmoid(F.conv2d(x, gate.squeeze.weight, padding=3))
    torch.testing.assert_close(gate(x), x * share)


def test_the_decision_layer_by_layer() -> None:
    made = network().double().train()  # rounding decides where spatial frequencies are nearly equal
    a, b = (x.double() for x in pictures(2, batch=2))
    weights, inside = made(a, b)
    fa, fb = (neighbourhood(variation(made.encoder(x))) for x in (a, b))
    x = torch.sigmoid(1000 * (fa - fb))
    assert x.shape[1] == 64  # per channel, not summed
    w = made.decide.state_dict()
    for i in range(5):
        x = x * torch.sigmoid(F.conv2d(x, w[f"{2 * i}.squeeze.weight"], padding=3))
        if i < 4:
            block = f"{2 * i + 1}"
            x = F.relu(F.conv2d(x, w[f"{block}.0.weight"], w[f"{block}.0.bias"], padding=1))
            x = F.batch_norm(x, None, None, w[f"{block}.2.weight"], w[f"{block}.2.bias"], training=True)
    torch.testing.assert_close(inside["decision"], torch.sigmoid(1000 * x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights[:, :1], smoothed_at_boundary(inside["decision"], a, b))
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 33, 39, dtype=torch.float64))


def test_only_boundaries_are_smoothed() -> None:
    a, b = pictures(2, side=40)
    sure = torch.zeros(1, 1, 40, 46)
    sure[..., 20:] = 1
    smooth = smoothed_at_boundary(sure, a, b)
    torch.testing.assert_close(smooth[..., 5:-5, 26:-5], torch.ones(1, 1, 30, 15))
    torch.testing.assert_close(smooth[..., :13], torch.zeros(1, 1, 40, 13), rtol=0, atol=0.001)
    guided = guided_filter(sure * a + (1 - sure) * b, sure, 3, 0.1)
    # five of nine columns under the Gaussian are 1: 0.1 < g < 0.8, neither sure side, band 1
    torch.testing.assert_close(smooth[..., 10:30, 20], guided[..., 10:30, 20], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("level", "band"),
    [
        (0.9, 0.28),  # above 0.8: u = 0.9, 1 - |2 (0.9 * 0.9 + 0.1 * 0.5) - 1|
        (0.75, 1.0),  # unsure: u = 0
        (0.15, 1.0),
        (0.05, 0.145),  # below 0.1: u = 0.95, 1 - |2 (0.05 * 0.95 + 0.05 * 0.5) - 1|
    ],
)
def test_the_band_by_hand(level: float, band: float) -> None:
    decision = torch.full((1, 1, 11, 11), level)  # g is the level in the middle
    a, b = pictures(2, side=11)
    a, b = a[..., :11], b[..., :11]
    decision[..., 4, 4] += 0.01  # the filter changes something
    guided = guided_filter(decision * a + (1 - decision) * b, decision, 3, 0.1)
    weight = (smoothed_at_boundary(decision, a, b) - decision)[..., 4, 4] / (guided - decision)[..., 4, 4]
    assert weight.item() == pytest.approx(band, abs=0.01)


@pytest.mark.parametrize(
    ("first_wins", "winner"),
    [((0.9, 0.8), 0), ((0.9, 0.1), 2), ((0.1, 0.8), 1), ((0.2, 0.2), 1), ((0.4, 0.1), 2), ((0.9, 0.9, 0.05), 3)],
)
def test_calibration_by_hand(first_wins: tuple[float, ...], winner: int) -> None:
    # (0.2, 0.2): 0.2, 0.8, 0.2 * 0.8 / 0.2 = 0.8 less a little; (0.4, 0.1): 0.4, 0.6, 0.4 * 0.9 / 0.1 = 3.6
    weights = calibrated(torch.tensor(first_wins).view(1, -1, 1, 1))
    assert weights.flatten().tolist() == [float(i == winner) for i in range(len(first_wins) + 1)]


def test_more_than_two_sources_are_calibrated_against_the_first() -> None:
    made, (a, b, c) = network(), pictures(3)
    with torch.no_grad():
        weights = made(a, b, c)
        pairs = torch.cat([made(a, b)[:, :1], made(a, c)[:, :1]], 1)
    assert torch.equal(weights, calibrated(pairs.clamp(0, 1)))
    assert set(weights.unique().tolist()) <= {0, 1}


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    made = GACN()
    sources = pictures(2, batch=2, side=24)
    weights, inside = made(*sources)
    (infer.sum_weighted(weights, sources).square().mean() + inside["decision"].mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


def test_pictures_in_use_do_not_depend_on_their_company() -> None:
    made, (a, b) = network().double(), [x.double() for x in pictures(2)]
    with torch.no_grad():
        torch.testing.assert_close(made(torch.cat([a, b]), torch.cat([b, a]))[:1], made(a, b))
        assert torch.equal(made(a, b), made(a, b))
    stored = [(x * 255).round().to(torch.uint8).expand(-1, 3, -1, -1) for x in (a, b)]
    assert infer.fuse(network(), stored).shape == (1, 3, 33, 39)
