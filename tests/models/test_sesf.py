"""SESF-Fuse: layers by plain functions, spatial frequency and cleaned maps by hand, two sources and more."""

import pytest
import torch
from skimage import morphology
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import infer
from fuse.data.sample import Sample
from fuse.losses import intensity
from fuse.models.guided import guided_filter
from fuse.models.sesf import SESF, ChannelGate, Encoder, cleaned, neighbourhood, variation
from fuse.steps import Loss, Reconstruct, Term


def network(seed: int = 0) -> SESF:
    """In use, with batch norms that have seen something."""
    torch.manual_seed(seed)
    made = SESF()
    made.train()
    with torch.no_grad():
        made(torch.rand(4, 1, 40, 40))
    return made.eval()


def pictures(count: int, height: int = 37, width: int = 45) -> list[Tensor]:
    """Each sharp noise in its own upright stripe, smooth elsewhere."""
    noise = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(3))
    smooth = F.avg_pool2d(noise, 7, 1, 3, count_include_pad=False)
    stripe = torch.arange(width) * count // width
    return [torch.where(stripe == i, noise, smooth) for i in range(count)]


def test_parameters_are_those_of_the_paper() -> None:
    assert sum(p.numel() for p in SESF().parameters()) == 74_803
    assert sum(p.numel() for p in Encoder().parameters()) == 14_416


def test_the_encoder_layer_by_layer() -> None:
    made = network().encoder
    w, x = made.state_dict(), pictures(1)[0]

    def layer(y: Tensor, i: int) -> Tensor:
        conv, norm, gate = f"blocks.{i}.0.0", f"blocks.{i}.0.2", f"blocks.{i}.1"
        y = F.relu(F.conv2d(y, w[f"{conv}.weight"], w[f"{conv}.bias"], padding=1))
        statistics = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
        y = F.batch_norm(y, *statistics, w[f"{norm}.weight"], w[f"{norm}.bias"])
        hidden = F.relu(y.mean((2, 3)) @ w[f"{gate}.squeeze.weight"].T)
        return y * torch.sigmoid(hidden @ w[f"{gate}.excite.weight"].T)[:, :, None, None]

    e0 = layer(x, 0)
    e1 = layer(e0, 1)
    e2 = layer(torch.cat([e0, e1], 1), 2)
    e3 = layer(torch.cat([e0, e1, e2], 1), 3)
    torch.testing.assert_close(made(x), torch.cat([e0, e1, e2, e3], 1))


def test_gates_weigh_channels_between_0_and_1() -> None:
    torch.manual_seed(0)
    gate, x = ChannelGate(16), torch.ones(2, 16, 3, 3)
    shares = gate(x)
    assert torch.equal(shares.amin((2, 3)), shares.amax((2, 3)))
    assert 0 < shares.min() < shares.max() < 1


def test_spatial_frequency_by_hand() -> None:
    x = torch.tensor([[1.0, 3.0], [6.0, 2.0]])[None, None]
    # (1 - 0)^2 + (1 - 0)^2, (3 - 1)^2 + (3 - 0)^2; (6 - 0)^2 + (6 - 1)^2, (2 - 6)^2 + (2 - 3)^2
    assert variation(x).tolist() == [[[[2, 13], [61, 17]]]]
    dot = torch.zeros(1, 1, 13, 13)
    dot[..., 6, 6] = 1
    wide = neighbourhood(dot)
    assert wide.sum() == 11 * 11
    assert wide[0, 0, 1, 1] == wide[0, 0, 11, 11] == 1
    assert wide[0, 0, 0, 6] == wide[0, 0, 6, 12] == 0


def test_maps_are_cleaned_in_the_papers_order() -> None:
    noise = torch.rand(1, 1, 90, 80, generator=torch.Generator().manual_seed(0))
    mask = F.avg_pool2d(noise, 9, 1, 4, count_include_pad=False) > 0.5
    disk = morphology.disk(5)
    wanted = morphology.dilation(morphology.erosion(mask[0, 0].numpy(), disk, mode="max"), disk, mode="min")
    wanted = morphology.remove_small_objects(wanted, max_size=71, connectivity=2)  # below 1 % of 7200
    wanted = morphology.erosion(morphology.dilation(wanted, disk, mode="min"), disk, mode="max")
    wanted = morphology.remove_small_holes(wanted, max_size=71, connectivity=2)
    assert 0.05 < wanted.mean() < 0.95
    assert torch.equal(cleaned(mask)[0, 0], torch.from_numpy(wanted))


def test_two_sources_get_the_cleaned_and_guided_map_and_its_rest() -> None:
    made = network()
    a, b = pictures(2)
    with torch.no_grad():
        weights = made(a, b)
        features = [made.encoder((x - 0.45005) / 0.26465) for x in (a, b)]
    first, second = (neighbourhood(variation(x)).sum(1, keepdim=True) for x in features)
    mask = cleaned(first > second).float()
    smooth = guided_filter(mask * a + (1 - mask) * b, mask, 4, 0.01).clamp(0, 1)
    torch.testing.assert_close(weights, torch.cat([smooth, 1 - smooth], 1), rtol=0, atol=1e-4)
    assert torch.equal(weights.sum(1), torch.ones(1, *a.shape[-2:]))
    assert 0.2 < weights[:, 0].mean() < 0.8


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_source_wins_where_it_is_sharp(count: int) -> None:
    sources = pictures(count, 48, 32 * count)
    with torch.no_grad():
        weights = network()(*sources)
    assert weights.shape == (1, count, 48, 32 * count)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 48, 32 * count))
    for i in range(count):
        assert weights[0, i, 8:-8, 32 * i + 10 : 32 * i + 22].min() > 0.99


def test_equal_sources_leave_everything_to_the_last() -> None:
    x = pictures(1)[0]
    with torch.no_grad():
        weights = network()(x, x)
    assert torch.equal(weights[:, 1], torch.ones(1, 37, 45))


def test_of_one_picture_it_makes_the_reconstruction_it_is_trained_for() -> None:
    made, x = network(), pictures(1)[0]
    with torch.no_grad():
        wanted = made.decoder(made.encoder((x - 0.45005) / 0.26465)) * 0.26465 + 0.45005
        torch.testing.assert_close(made(x), wanted)
    seen: dict[str, float] = {}
    loss = Loss({"pixel": Term(1, lambda f, s: intensity.norm(f, s, "source"))}, (-1.70055, 2.07803))
    step = Reconstruct({"fuser": made}, loss, lambda name, value: seen.update({name: value.item()}))
    a, b = torch.rand(2, 3, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    terms = step(Sample((a, b), None, (), ("near", "far")), 0, torch.Generator())
    error = (made(torch.cat([a, b])) - torch.cat([a, b])) / 0.26465
    assert terms["pixel"].item() == pytest.approx(error.square().sum().sqrt().item(), rel=1e-4)
    assert seen["fuser"] == pytest.approx(terms["pixel"].item())


def test_pictures_in_use_do_not_depend_on_their_company() -> None:
    made = network()
    a, b = pictures(2)
    with torch.no_grad():
        torch.testing.assert_close(made(torch.cat([a, b]), torch.cat([b, a]))[:1], made(a, b))
        assert torch.equal(made(a, b), made(a, b))
    stored = [(x * 255).round().to(torch.uint8).expand(-1, 3, -1, -1) for x in (a, b)]
    assert infer.fuse(made, stored).shape == (1, 3, 37, 45)


def test_every_parameter_learns_from_reconstruction() -> None:
    torch.manual_seed(0)
    made = SESF()
    made(torch.rand(2, 1, 24, 24)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    assert isinstance(made.decoder[3][2], nn.BatchNorm2d)  # the last block too ends in ReLU and batch norm
