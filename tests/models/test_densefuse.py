"""DenseFuse: its layers against plain convolutions, and the rules that join features."""

import claims
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse.config import build
from fuse.errors import InputError
from fuse.models.densefuse import DenseFuse, l1_weights, styled


def plain(network: DenseFuse, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Features and reconstruction, on 0..255, layer by layer as the paper draws them."""
    weights = list(network.state_dict().values())
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    assert [tuple(w.shape[:2]) for w, _ in layers] == [
        (16, 1), (16, 16), (16, 32), (16, 48), (64, 64), (32, 64), (16, 32), (1, 16),
    ]  # fmt: skip

    def conv(x: Tensor, number: int) -> Tensor:
        return F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), *layers[number])

    c1 = F.relu(conv(picture * 255, 0))
    d1 = F.relu(conv(c1, 1))
    d2 = F.relu(conv(torch.cat([c1, d1], 1), 2))
    d3 = F.relu(conv(torch.cat([c1, d1, d2], 1), 3))
    features = torch.cat([c1, d1, d2, d3], 1)
    c4 = F.relu(conv(F.relu(conv(F.relu(conv(features, 4)), 5)), 6))
    return features, conv(c4, 7)


def pictures(count: int) -> Tensor:
    return torch.rand(count, 1, 1, 14, 19, generator=torch.Generator().manual_seed(5))


def test_layers_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    network = DenseFuse()
    picture = pictures(1)[0]
    features, reconstruction = plain(network, picture)
    torch.testing.assert_close(network.encode(picture * 255), features)
    torch.testing.assert_close(network(picture), reconstruction / 255)


@pytest.mark.parametrize("rule", ["l1", "mean", "max"])
def test_equal_sources_are_reconstructed_like_one(rule: str) -> None:
    torch.manual_seed(0)
    network = DenseFuse(rule)
    picture = pictures(1)[0]
    one = network(picture)
    torch.testing.assert_close(network(picture, picture), one)
    torch.testing.assert_close(network(picture, picture, picture), one)


def test_rules_join_features_as_they_say() -> None:
    a, b = pictures(2)
    for rule, join in {
        "mean": lambda x, y: (x + y) / 2,
        "sum": lambda x, y: x + y,
        "max": torch.maximum,
    }.items():
        torch.manual_seed(0)
        network = DenseFuse(rule)
        joined = join(network.encode(a * 255), network.encode(b * 255))
        torch.testing.assert_close(network(a, b), network.decode(joined) / 255)


def test_l1_weights_by_hand() -> None:
    # Two channels, 3x3 pixels; activity |.| summed over channels, then averaged over the pixels inside the block.
    first = torch.zeros(1, 2, 3, 3)
    first[0, 0, 0, 0], first[0, 1, 0, 0], first[0, 0, 2, 2] = 3, -1, 9
    second = torch.ones(1, 2, 3, 3)
    weights = l1_weights(torch.stack([first, second]))
    assert weights.shape == (2, 1, 1, 3, 3)
    # corner (0, 0): block of 4 holds 4 -> mean 1, against 2; centre: block of 9 holds 13 -> 13/9, against 2
    assert weights[0, 0, 0, 0, 0].item() == pytest.approx(1 / 3)
    assert weights[0, 0, 0, 1, 1].item() == pytest.approx(13 / 9 / (13 / 9 + 2))
    assert weights[0, 0, 0, 0, 2].item() == 0
    torch.testing.assert_close(weights.sum(0), torch.ones(1, 1, 3, 3))


def test_l1_weights_are_equal_where_nothing_is_active() -> None:
    assert torch.equal(l1_weights(torch.zeros(3, 1, 4, 5, 5)), torch.full((3, 1, 1, 5, 5), 1 / 3))


def test_equal_features_get_equal_weights() -> None:
    features = torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(0)).expand(2, 1, 4, 6, 6)
    torch.testing.assert_close(l1_weights(features), torch.full((2, 1, 1, 6, 6), 0.5))


def test_the_l1_rule_keeps_what_only_one_source_has() -> None:
    features = torch.zeros(2, 1, 1, 9, 9)
    features[0, 0, 0, :, :4] = 2.0
    joined = (l1_weights(features) * features).sum(0)
    assert torch.equal(joined, features[0])


def test_style_is_the_first_source_s_statistics_on_the_others_content() -> None:
    generator = torch.Generator().manual_seed(0)
    look, content = 3 * torch.randn(2, 5, 8, 9, generator=generator) + 7, torch.rand(2, 5, 8, 9, generator=generator)
    made = styled(torch.stack([look, content]))
    torch.testing.assert_close(made.mean((2, 3)), look.mean((2, 3)))
    torch.testing.assert_close(made.std((2, 3)), look.std((2, 3)))
    for ours, theirs in zip(made.flatten(0, 1), content.flatten(0, 1), strict=True):
        assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.9999
    flat = styled(torch.stack([look, torch.full_like(content, 2.0)]))
    torch.testing.assert_close(flat, look.mean((2, 3), keepdim=True).expand_as(flat))


def test_style_needs_the_whole_picture_and_takes_three() -> None:
    network = DenseFuse("style")
    assert network.margin is None
    one, two, three = claims.pictures(24, 32, 3)
    torch.testing.assert_close(network(one, two, two), network(one, two))
    assert not torch.allclose(network(one, two), network(two, one))
    assert network(one, two, three).shape == one.shape


def test_batches_are_fused_picture_by_picture() -> None:
    torch.manual_seed(0)
    network = DenseFuse()
    a, b = pictures(3)[:, 0], pictures(3).flip(0)[:, 0]
    together = network(a, b)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], network(a[i : i + 1], b[i : i + 1]))


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_rule_is_refused_with_the_known() -> None:
    with pytest.raises(InputError, match="rule 'l2' is not known; choose l1, mean, sum, max or style"):
        build({"_target_": "fuse.models.densefuse.DenseFuse", "rule": "l2"})
