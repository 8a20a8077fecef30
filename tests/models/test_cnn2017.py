"""CNN (Liu 2017): its scores against windows classified one by one, their spread by hand, its map in use."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.models.cnn2017 import CNN2017, spread
from fuse.models.guided import guided_filter
from fuse.models.masks import small_regions_removed


def network() -> CNN2017:
    torch.manual_seed(0)
    return CNN2017()


def pictures(height: int = 24, width: int = 30, batch: int = 1) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, batch, 1, height, width, generator=torch.Generator().manual_seed(height))
    return a, b


def test_parameters_are_those_of_the_paper() -> None:
    made = CNN2017()
    assert sum(p.numel() for p in made.branch.parameters()) == 369_664
    assert made.connect.weight.numel() == 8_388_608
    assert sum(p.numel() for p in made.parameters()) == 8_758_786


def test_one_window_layer_by_layer() -> None:
    made, (a, b) = network(), pictures(16, 16, 2)
    w = made.state_dict()

    def branch(x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, w["branch.0.weight"], w["branch.0.bias"], padding=1))
        x = F.relu(F.conv2d(x, w["branch.2.weight"], w["branch.2.bias"], padding=1))
        x = F.max_pool2d(x, 2)
        return F.relu(F.conv2d(x, w["branch.5.weight"], w["branch.5.bias"], padding=1))

    both = torch.cat([branch(a), branch(b)], 1).flatten(1)
    logits = both @ w["connect.weight"].flatten(1).T @ w["decide.weight"].flatten(1).T + w["decide.bias"]
    weights, inside = made(a, b)
    torch.testing.assert_close(inside["scores"].flatten(1), logits.softmax(1))
    torch.testing.assert_close(weights, logits.softmax(1)[..., None, None].expand(2, 2, 16, 16))


def test_scores_lie_two_pixels_apart() -> None:
    for height, width, rows, columns in ((16, 16, 1, 1), (17, 18, 2, 2), (24, 30, 5, 8), (12, 33, 1, 10)):
        _, inside = network()(*pictures(height, width))
        assert inside["scores"].shape == (1, 2, rows, columns)


def test_spread_by_hand() -> None:
    scores = torch.tensor([[0.0, 1.0], [0.5, 0.5]])[None, None]
    made = spread(scores, 18, 18)[0, 0]
    assert made.shape == (18, 18)
    assert made[0, 0] == 0  # the first window alone
    assert made[0, 17] == 1  # the second alone
    assert made[0, 8] == 0.5  # both of the upper row
    assert made[17, 0] == 0.5
    assert made[8, 8] == pytest.approx((0 + 1 + 0.5 + 0.5) / 4)
    assert spread(scores, 17, 18).shape == (1, 1, 17, 18)


def test_the_map_in_use_is_thresholded_cleaned_and_guided() -> None:
    made, (a, b) = network(), pictures(40, 44)
    with torch.no_grad():  # so that half of the scores are above 0.5
        scores = made(a, b)[1]["scores"]
        made.decide.bias[0] -= (scores[:, 0] / scores[:, 1]).log().median()
    soft, _ = made(a, b)
    mask = small_regions_removed(soft[:, :1] > 0.5, 0.01).float()
    smooth = guided_filter(mask * a + (1 - mask) * b, mask, 8, 0.1).clamp(0, 1)
    with torch.no_grad():
        weights = made.eval()(a, b)
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(weights, torch.cat([smooth, 1 - smooth], 1))


@pytest.mark.parametrize("size", [(5, 40), (17, 23), (16, 16), (2, 2)])
def test_any_size(size: tuple[int, int]) -> None:
    made = network()
    for training in (True, False):
        result = made.train(training)(*pictures(*size))
        weights = result[0] if training else result
        assert weights.shape == (1, 2, *size)
        torch.testing.assert_close(weights.sum(1), torch.ones(1, *size))


def test_pictures_in_use_do_not_depend_on_their_company() -> None:
    made, (a, b) = network().eval(), pictures(20, 20, 2)
    with torch.no_grad():
        torch.testing.assert_close(made(a, b)[1:], made(a[1:], b[1:]))
    stored = [(x * 255).round().to(torch.uint8).expand(-1, 3, -1, -1) for x in pictures(21, 27)]
    assert infer.fuse(made, stored).shape == (1, 3, 21, 27)


def test_every_parameter_learns() -> None:
    made = network()
    weights, _ = made(*pictures(18, 18))
    weights[:, 0].square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())
