"""Focus: order, size and reach of the network, its parts by hand, its loss."""

from itertools import permutations
from pathlib import Path

import claims
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import checkpoint, infer
from fuse.data.sample import Sample
from fuse.models.focus import FAINT, Agreement, Focus, Wide, compared, in_any_order, log_error


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return claims.lively(Focus())


def test_it_is_small() -> None:
    assert claims.parameters(Focus()) == 86_404


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_bit_depends_on_the_order(count: int) -> None:
    made, given = network(), claims.pictures(48, 64, count, batch=2)
    with torch.no_grad():
        weights = made(*given)
        for order in permutations(range(count)):
            assert torch.equal(made(*(given[i] for i in order)), weights[:, list(order)])
    assert weights.std() > 0.05


def test_weights_sum_to_one_and_equal_sources_share() -> None:
    made, (a, b, c) = network(), claims.pictures(32, 32, 3)
    with torch.no_grad():
        torch.testing.assert_close(made(a, b, c).sum(1), torch.ones(1, 32, 32))
        torch.testing.assert_close(made(a, a), torch.full((1, 2, 32, 32), 0.5))
        assert torch.equal(made(a), torch.ones_like(a))


@pytest.mark.parametrize("size", [(17, 23), (5, 40), (1, 1)])
def test_any_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        weights = infer.whole(network(), claims.pictures(*size, batch=2))
    assert weights.shape == (2, 2, *size)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, *size))


def test_settled_and_the_same_in_training() -> None:
    made, given = network(), claims.pictures(32, 32)
    claims.is_settled(made, 32, 48)
    assert torch.equal(made.train()(*given), made.eval()(*given))


def test_its_margin_is_how_far_it_sees() -> None:
    assert 128 < claims.reach(network(), 336, [168]) <= Focus.margin


def test_tiles() -> None:
    claims.tiles_like_whole(network(), 64, 528, 64)


def test_colours_and_depths_are_mixed_as_stored() -> None:
    stored = [torch.randint(65536, (1, 3, 20, 24), dtype=torch.int32).to(torch.uint16) for _ in range(3)]
    fused = infer.fuse(network(), stored)
    low, high = torch.stack([x.int() for x in stored]).aminmax(dim=0)
    assert fused.dtype == torch.uint16
    assert ((fused.int() >= low) & (fused.int() <= high)).all()


def test_saved_and_learning_everywhere(tmp_path: Path) -> None:
    made, given = network(), claims.pictures(32, 32, 3)
    checkpoint.save(tmp_path / "saved", {"fuser": made}, {"fuser": {"_target_": "fuse.models.focus.Focus"}}, {}, {})
    loaded, _ = checkpoint.load(tmp_path / "saved")
    assert torch.equal(loaded(*given), made(*given))
    claims.learns_everywhere(made, made.train()(*given)[:, 0])


def test_agreement_is_positive_where_the_sharp_source_deviates() -> None:
    sharp = torch.zeros(1, 1, 16, 16)
    sharp[..., 8:] = 1
    sharp = sharp + 0.1 * torch.rand(sharp.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(F.pad(sharp, (1,) * 4, mode="replicate"), 3, 1)
    mean = (sharp + blurred) / 2
    made = Agreement(1, 2)
    laplace, one = torch.zeros(2, 5, 5)
    laplace[1:4, 1:4], one[2, 2] = -1 / 9, 1
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.scene.weight[0, 0], made.apart.weight[0, 0] = laplace + one, one
        made.mix.weight[0, 0] = 0.25
        seen = made(mean, torch.cat([sharp - mean, blurred - mean]))
    details = mean - F.avg_pool2d(F.pad(mean, (2,) * 4, mode="replicate"), 3, 1)[..., 1:-1, 1:-1]
    product = details * (sharp - mean)
    wanted = F.avg_pool2d(product / (product.abs() + FAINT).sqrt(), 2)
    torch.testing.assert_close(seen[:1], wanted)
    torch.testing.assert_close(seen[1:], -wanted)
    assert (wanted[..., 3:5] > 0).all()  # at the edge


def test_a_wide_block_by_hand() -> None:
    torch.manual_seed(0)
    made, x = Wide(4), torch.rand(2, 4, 9, 9)
    w = made.state_dict()
    y = F.conv2d(x, w["spread.weight"], w["spread.bias"], padding=2, groups=4)
    y = torch.einsum("dc,bchw->bdhw", w["widen.weight"][:, :, 0, 0], y) + w["widen.bias"][:, None, None]
    y = torch.einsum("dc,bchw->bdhw", w["narrow.weight"][:, :, 0, 0], y.relu()) + w["narrow.bias"][:, None, None]
    torch.testing.assert_close(made(x), x + y)


def planes(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 2, 1, 1).float()


def test_comparison_by_hand() -> None:
    assert torch.equal(compared(planes(1, 5, 2, 3, 4, 1, 7, 9), 2), planes(1, 2, 2, -2, 4, -8, 7, 8))
    assert torch.equal(compared(planes(1, 5, 2, 3, 4, 9), 3), planes(1, -4, 2, -6, 4, 4))
    assert torch.equal(compared(planes(1, 5, 2, 5, 4, 3), 3), planes(1, 0, 2, 0, 4, -2))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_sum_in_any_order(count: int) -> None:
    x = 10 ** (8 * torch.rand(1, count, 50, generator=torch.Generator().manual_seed(count)))
    torch.testing.assert_close(in_any_order(x), x.sum(1, keepdim=True))
    for order in permutations(range(count)):
        assert torch.equal(in_any_order(x[:, list(order)]), in_any_order(x))


def test_the_error_by_hand() -> None:
    truth = torch.zeros(2, 1, 2, 2)
    fused = torch.tensor([0.1, 0.0]).view(2, 1, 1, 1).expand_as(truth)
    sample = Sample((), truth)
    assert log_error(fused, sample).item() == pytest.approx((torch.tensor(0.01001).log10() - 5).item() / 2)
    assert log_error(fused, sample._replace(sources=(fused,), roles=("a",)), "a", 1e-4).item() == pytest.approx(-4)
