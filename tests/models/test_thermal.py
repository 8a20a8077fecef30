"""Thermal and Medical: order, range and reach of mixture and sum, the label, silence, and what their losses ask for."""

from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import claims
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import checkpoint, infer
from fuse.data.sample import Sample
from fuse.losses.metric import metric
from fuse.models.medical import FAINT, Medical
from fuse.models.thermal import Contrast, Thermal, asked, dimmed, distinct
from fuse.steps import forward
from fuse.train import recipe

KINDS = [Thermal, Medical]


def network(kind: type[Thermal] = Thermal, **settings: Any) -> Thermal:
    torch.manual_seed(0)
    made = claims.lively(kind(**settings), 1.5)
    assert isinstance(made, Thermal)
    return made


def test_size() -> None:
    assert claims.parameters(Thermal()) == claims.parameters(Medical()) == 232_768


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_bit_depends_on_the_order(kind: type[Thermal], count: int) -> None:
    made, given = network(kind), claims.pictures(32, 64, count, batch=2)
    with torch.no_grad():
        fused = made(*given)
        for order in permutations(given):
            assert torch.equal(made(*order), fused)
    assert (fused - torch.stack(given).mean(0)).std() > 0.01


def test_nothing_comes_out_that_no_source_has() -> None:
    given = claims.pictures(64, 64, 3)
    with torch.no_grad():
        fused = network()(*given)
    low, high = torch.stack(given).aminmax(dim=0)
    assert ((fused >= low - 1e-6) & (fused <= high + 1e-6)).all()


def test_sums_stay_below_the_sum_and_below_1() -> None:
    given = [x.square() for x in claims.pictures(64, 64, 3)]
    with torch.no_grad():
        fused = network(Medical)(*given)
    assert (fused <= sum(given) + 1e-6).all()
    assert (fused == 1).any()
    assert (fused > torch.stack(given).amax(0) + 0.01).any()  # no mixture
    assert (fused >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_source_alone_is_itself(kind: type[Thermal]) -> None:
    given = claims.pictures(64, 64, 1)[0]
    with torch.no_grad():
        assert torch.equal(network(kind)(given), given)


def test_use() -> None:
    claims.fits_any_size(network())
    claims.is_settled(network(), 32, 64)


def test_saved_and_learning_everywhere(tmp_path: Path) -> None:
    made, given = network(balance=0.25), claims.pictures(64, 64)
    node = {"_target_": "fuse.models.thermal.Thermal", "balance": 0.25}
    checkpoint.save(tmp_path / "saved", {"fuser": made}, {"fuser": node}, {}, {})
    loaded, _ = checkpoint.load(tmp_path / "saved")
    assert torch.equal(loaded(*given), made(*given))
    claims.learns_everywhere(made, made.scores(torch.cat(given, 1), torch.full((1, 1), 0.25)))


def test_it_takes_its_levels_from_whole_pictures() -> None:
    """So gain and offset of the exposure hardly matter, and a frame of nothing does not count."""
    made, given = network(), [0.2 + 0.6 * x for x in claims.pictures(32, 64)]
    shown, light, root = made.survey(*(F.pad(x, (0, 0, 32, 32)) for x in given))[0]
    assert shown == 32 * 64
    torch.testing.assert_close(light / shown, sum(x.double().mean() for x in given) / 2)
    torch.testing.assert_close(root / shown, sum(x.double().sqrt().mean() for x in given) / 2)
    with torch.no_grad():
        scores = made.scores(torch.cat(given, 1), torch.ones(1, 1))
        darker = made.scores(torch.cat(given, 1) / 4, torch.ones(1, 1))
    assert (scores - darker).abs().max() < 0.05 * scores.std()


@pytest.mark.parametrize("kind", KINDS)
def test_told_the_levels_of_the_whole_a_part_is_as_in_it(kind: type[Thermal]) -> None:
    given, made = [x * torch.linspace(0.1, 1, 1184) for x in claims.pictures(32, 1184)], network(kind)
    with torch.no_grad():
        whole, alone = made(*given), made(*(x[..., :416] for x in given))
        told = made(*(x[..., :416] for x in given), levels=made.survey(*given))
        torch.testing.assert_close(infer.whole(made, given, 512), whole, rtol=0, atol=2e-5)
    torch.testing.assert_close(told[..., :96], whole[..., :96], rtol=0, atol=2e-5)
    assert (alone - whole[..., :416])[..., :96].abs().max() > 0.01
    parts = [made.survey(*(x[..., part] for x in given)) for part in (slice(448), slice(448, None))]
    torch.testing.assert_close(sum(parts), made.survey(*given), rtol=1e-12, atol=0)


def test_reach() -> None:
    """With levels that are given; a picture along one axis, since what is seen is a square."""
    made, levels = network().double(), torch.tensor([[1.0, 0.5, 0.7]], dtype=torch.float64)
    given, reached = [x.double() for x in claims.pictures(32, 704)], 0
    with torch.no_grad():
        before = made(*given, levels=levels)
        for place in range(336, 368, 2):
            changed = [given[0].clone(), given[1]]
            changed[0][..., place] = 1 - changed[0][..., place]
            moved = ((made(*changed, levels=levels) - before).abs().amax((0, 1, 2)) > 1e-13).nonzero()
            reached = max(reached, int((moved - place).abs().max()))
    assert 256 < reached <= Thermal.margin


def test_the_label_matters_and_every_picture_in_training_has_its_own() -> None:
    given = claims.pictures(32, 32, batch=3)
    with torch.no_grad():
        assert not torch.allclose(network(balance=0)(*given), network(balance=1)(*given), atol=1e-3)
        fused, sample = forward(network().train(), Sample(tuple(given)))
        share = sample.inside["balance"]
        for i in range(3):
            alone = network(balance=float(share[i]))(*(x[i : i + 1] for x in given))
            torch.testing.assert_close(alone, fused[i : i + 1], rtol=1e-4, atol=1e-5)
    assert len(share.unique()) == 3
    with pytest.raises(ValueError, match=r"balance=-1: must be from 0 to 1"):
        Thermal(-1)


def test_both_ends_of_the_label_are_drawn_often() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = network().train()(*claims.pictures(32, 32, batch=60))[1]["balance"]
    assert 3 <= int((drawn == 0).sum()) <= 20
    assert 3 <= int((drawn == 1).sum()) <= 20


def before_training(kind: type[Thermal], balance: float) -> Thermal:
    made = kind(balance=balance).eval()
    nn.init.zeros_(made.score.weight)
    return made


def test_before_training_it_leads_by_scd() -> None:
    """At 1 a + b - c within both, at 0 the average."""
    a, b = (0.4 + 0.6 * x for x in claims.pictures(32, 32))
    wanted = (a + b - (a.mean() + b.mean()) / 2).clamp(torch.minimum(a, b), torch.maximum(a, b))
    with torch.no_grad():
        fused = before_training(Thermal, 1)(a, b)
        torch.testing.assert_close(before_training(Thermal, 0)(a, b), (a + b) / 2, atol=1e-6, rtol=0)
    assert (fused - wanted).abs().max() < 0.035  # no source has less than a fiftieth
    sources = Sample((a, b))
    assert metric(fused, sources, "scd") < metric((a + b) / 2, sources, "scd") - 0.05  # a loss: less is better


def test_before_training_medical_adds() -> None:
    """The average at 0, sigmoid(1) of the sum at 1, where both speak up."""
    a, b = (0.4 + 0.2 * x for x in claims.pictures(32, 32))
    with torch.no_grad():
        torch.testing.assert_close(before_training(Medical, 0)(a, b), (a + b) / 2, atol=0.02, rtol=0)
        torch.testing.assert_close(before_training(Medical, 1)(a, b), 0.731 * (a + b), atol=0.01, rtol=0)


def test_distinct_by_hand() -> None:
    stack = torch.tensor([[0.9, 0.2], [0.5, 0.6], [0.3, 0.1]]).T.reshape(1, 2, 3, 1)  # mean 13 / 30
    a = distinct(stack, torch.tensor(13 / 30).view(1, 1, 1, 1))[0, 0, :, 0]
    share = torch.tensor([(0.9 - 13 / 30) / 0.7, 0.02, 0.02])  # both brighter: the brighter; both darker: the darker
    torch.testing.assert_close(a, share.logit() / 2, atol=1e-3, rtol=0)


def test_contrast_by_hand() -> None:
    torch.manual_seed(0)
    made, mean, deviation, label = Contrast(3, 2), torch.rand(1, 1, 6, 6), torch.randn(2, 1, 6, 6), torch.ones(2, 1)
    w = made.state_dict()
    w["label.weight"].copy_(torch.tensor([1.0, 0, 0, 0, 2, 0]).view(6, 1))
    w["label.bias"].copy_(torch.tensor([0.0, 0, 1, 0, 0, 0]))
    energies = F.conv2d(F.pad(mean + deviation, (2,) * 4, mode="replicate"), w["filters.weight"]).abs()
    seen = torch.cat([energies, mean.expand(2, -1, -1, -1), deviation], 1)
    plain = F.conv2d(seen, w["mix.weight"], w["mix.bias"], stride=2)
    factors, added = torch.tensor([2.0, 1, 2]).view(3, 1, 1), torch.tensor([0.0, 2, 0]).view(3, 1, 1)
    torch.testing.assert_close(made(mean, deviation, label), plain * factors + added)


def test_silent_sources_have_no_say() -> None:
    a, b = claims.pictures(32, 32)
    a[..., :8], b[..., :16] = 0, 0
    with torch.no_grad():
        fused = network(Medical)(a, b)
        assert torch.equal(fused[..., :8], torch.zeros(1, 1, 32, 8))
        assert torch.equal(fused[..., 8:16], a[..., 8:16])
        a, b, c = (x[..., 16:] for x in claims.pictures(32, 32, 3))
        halves = Medical().joined(torch.cat([a, b / 9, c / 99], 1), torch.zeros(1, 3, 32, 16))
    v = [x / (x + FAINT) for x in (a, b / 9, c / 99)]
    gains = [1 - torch.maximum(v[1], v[2]) / 2, 1 - torch.maximum(v[0], v[2]) / 2, 1 - torch.maximum(v[0], v[1]) / 2]
    wanted = gains[0] * a + gains[1] * b / 9 + gains[2] * c / 99
    torch.testing.assert_close(halves, wanted.clamp_max(1))


def test_colours_outside_the_structural_picture_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    pet = torch.randint(256, (1, 3, 32, 32), generator=generator, dtype=torch.uint8)
    mri = torch.randint(1, 256, (1, 1, 32, 32), generator=generator, dtype=torch.uint8)
    mri[..., :16], pet[..., :4], pet[..., 28:] = 0, 0, 0
    fused = infer.fuse(network(Medical), [pet, mri])
    assert torch.equal(fused[..., :16], pet[..., :16])
    assert torch.equal(fused[..., 28:], mri[..., 28:].expand(-1, 3, -1, -1))


def labelled(*balance: float) -> tuple[Tensor, Sample]:
    fused, a, b = claims.pictures(96, 96, 3, batch=len(balance))
    return fused, Sample((a, b), inside={"balance": torch.tensor(balance).view(-1, 1, 1, 1)})


def test_what_is_asked_for_follows_the_label() -> None:
    fused, sample = labelled(0, 1, 0.5, 0.25)
    term = partial(metric, name="ssim_min")
    plain = [term(fused[i : i + 1], Sample(tuple(x[i : i + 1] for x in sample.sources))).item() for i in range(4)]
    wanted = sum(weight * value for weight, value in zip((2, 6, 3, 2.5), plain, strict=True)) / 4
    assert asked(fused, sample, term, similar=2, even=3, distinct=6).item() == pytest.approx(wanted, rel=1e-5)


def test_dimmed_by_hand() -> None:
    a, b, fused = torch.zeros(3, 1, 1, 10, 10)
    a[..., 0, 0], fused[..., 0, 0] = 1, 0.25  # the one bright place of a; b has none
    fused[..., 5, 5] = 1
    assert dimmed(fused, Sample((a, b))).item() == pytest.approx(0.75 / 2)
    assert dimmed(a, Sample((a, b))).item() == 0


@pytest.mark.parametrize("name", ["thermal", "medical"])
def test_its_recipe_moves_it(composed: Any, name: str) -> None:
    cfg = composed("train", f"model={name}", f"loss={name}", "data=synthetic_infrared")
    made = (Medical if name == "medical" else Thermal)()
    fused, sample = forward(made, Sample(tuple(claims.pictures(96, 96)), roles=("ir", "vi")))
    total, terms = recipe(cfg["loss"])(fused, sample)
    assert terms.keys() >= {"edges", "information", "structure", "differences"}
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    assert made.score.get_parameter("weight").grad.abs().max() > 0
