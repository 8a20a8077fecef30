"""MFIF-GAN: its two networks against plain functions, the true map and the penalty by hand, its map in use."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fuse import infer
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.models.masks import small_regions_removed
from fuse.models.mfifgan import Discriminator, Generator, Residual, fake, map_penalty, real, true_map


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator()


def pictures(side: int = 16, batch: int = 1) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, batch, 3, side, side + 4, generator=torch.Generator().manual_seed(side))
    return a, b


def test_parameters_are_those_of_the_paper(generator: Generator) -> None:
    assert sum(p.numel() for p in generator.parameters()) == 13_700_928
    assert sum(p.numel() for p in Discriminator().parameters()) == 3_815_105


def test_residual_blocks_weigh_channels_before_they_add() -> None:
    torch.manual_seed(0)
    block, x = Residual(32).eval(), torch.rand(2, 32, 6, 6) - 0.3
    w = block.state_dict()
    y = F.conv2d(x, w["convs.0.0.weight"], padding=1) / (1 + 1e-5) ** 0.5  # batch norm as it starts
    y = F.conv2d(F.relu(y), w["convs.1.weight"], padding=1) / (1 + 1e-5) ** 0.5
    share = torch.sigmoid(F.relu(y.mean((2, 3)) @ w["squeeze.weight"].T) @ w["excite.weight"].T)
    torch.testing.assert_close(block(x), F.relu(x + y * share[:, :, None, None]))


def test_one_encoder_sees_every_plane_and_the_means_are_decoded(generator: Generator) -> None:
    made, (a, b) = generator.eval(), pictures()
    with torch.no_grad():
        means = [torch.stack([made.encoder(2 * x[:, i : i + 1] - 1) for i in range(3)]).mean(0) for x in (a, b)]
        soft = torch.sigmoid(made.decoder(torch.cat(means, 1)))
        hard = small_regions_removed(soft > 0.5, 0.001).float()
        assert means[0].shape == (1, 256, 4, 5)
        assert torch.equal(made(a, b), torch.cat([hard, 1 - hard], 1))


def test_weights_are_soft_while_training(generator: Generator) -> None:
    made, (a, b) = generator.train(), pictures(16, 2)
    weights = made(a, b)
    assert weights.shape == (2, 2, 16, 20)
    assert 0 < weights.min() < weights.max() < 1
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 16, 20))
    weights[:, 0].square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    made.zero_grad()


def test_pictures_of_any_size_are_selected_from(generator: Generator) -> None:
    made = generator.eval()
    for channels, height, width in ((3, 17, 23), (1, 5, 30)):
        stored = [torch.randint(256, (1, channels, height, width), dtype=torch.uint8) for _ in range(2)]
        fused = infer.fuse(made, stored)
        assert fused.shape == (1, channels, height, width)
        assert ((fused == stored[0]).all(1) | (fused == stored[1]).all(1)).all()  # whole pixels, from one of the two
        assert torch.equal(infer.fuse(made, stored), fused)


def test_the_critic_layer_by_layer() -> None:
    torch.manual_seed(0)
    critic, x = Discriminator(), torch.rand(2, 7, 64, 64)
    w, y, number = critic.state_dict(), x, 0
    for i in range(6):
        y = F.conv2d(y, w[f"layers.{number}.weight"], w.get(f"layers.{number}.bias"), stride=2, padding=2)
        if i:
            mean, deviation = y.mean((2, 3), keepdim=True), y.var((2, 3), keepdim=True, unbiased=False).add(1e-5).sqrt()
            y = (y - mean) / deviation
        y = torch.where(y > 0, y, 0.01 * y) if i < 3 else F.relu(y)
        number += 3 if i else 2
    wanted = F.conv2d(y, w[f"layers.{number}.weight"], w[f"layers.{number}.bias"], padding=2)
    torch.testing.assert_close(critic(x), wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert critic(torch.rand(1, 7, 256, 256)).shape == (1, 1, 6, 6)


def scene() -> Sample:
    """Left half right in the first source, right half in the second; sources in [-1, 1]."""
    truth = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1
    left = (torch.arange(12) < 6).expand(1, 1, 12, 12)
    wrong = truth + 0.3
    return Sample((torch.where(left, truth, wrong), torch.where(left, wrong, truth)), truth, (), ("near", "far"))


def test_the_true_map_by_hand() -> None:
    left = (torch.arange(12) < 6).float().expand(2, 1, 12, 12)
    assert torch.equal(true_map(scene()), left)
    sample = scene()
    same = sample._replace(sources=(sample.sources[0], sample.sources[0]))
    assert not true_map(same).any()
    with pytest.raises(InputError, match="two sources, and these data have 3"):
        true_map(sample._replace(sources=(*sample.sources, sample.sources[0])))


def test_the_critic_is_shown_pictures_and_a_map_in_0_to_1() -> None:
    sample = scene()
    weights = torch.full((2, 2, 12, 12), 0.5)
    fused = sample.sources[0]
    for shown, wanted in ((real(sample), true_map(sample)), (fake(fused, sample._replace(weights=weights)), 0.5)):
        assert shown.shape == (2, 7, 12, 12)
        assert torch.equal(shown[:, :6], torch.cat(sample.sources, 1))
        assert torch.equal(shown[:, 6:], torch.as_tensor(wanted).expand(2, 1, 12, 12))
    with pytest.raises(InputError, match="this fuser makes pixels"):
        fake(fused, sample)


def test_only_the_slope_along_the_map_is_penalised() -> None:
    class Linear(torch.nn.Module):
        """Score: 100 times the mean of the pictures, and 3 times one pixel of the map."""

        def forward(self, shown: Tensor) -> Tensor:
            assert torch.equal(shown[:, :6], a[:, :6])
            return 100 * shown[:, :6].mean((1, 2, 3)) + 3 * shown[:, 6, 0, 0]

    a, b = torch.rand(2, 4, 7, 8, 8)
    penalty = map_penalty(Linear(), a, b, torch.Generator().manual_seed(0))
    assert penalty.item() == pytest.approx(10 * (3 - 1) ** 2, rel=1e-5)
