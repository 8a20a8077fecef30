"""Training protocols: what is updated, in which order, from what."""

from functools import partial

import pytest
import torch
from protocols import SIDE, Recorder, batch, rng, updating
from torch import Tensor, nn

from fuse.errors import InputError
from fuse.losses import terms
from fuse.models.densefuse import DenseFuse
from fuse.models.fusionnet import FusionNet
from fuse.steps import Direct, Loss, Reconstruct, Term, forward


def test_a_recipe_weighs_its_terms_and_names_them_unweighted() -> None:
    near, far = (partial(term, role=role) for term, role in ((terms.mse, "near"), (terms.l1, "far")))
    loss = Loss({"a": Term(2, near, "near"), "b": Term(3, far, "far")})
    sample = batch()
    fused = sample.sources[0] + 0.5
    total, values = loss(*loss.view(fused, sample))
    assert values["a"].item() == pytest.approx(0.25)
    assert total.item() == pytest.approx(2 * 0.25 + 3 * values["b"].item())
    assert not any(value.requires_grad for value in values.values())


def test_a_recipe_sees_pictures_in_its_own_range() -> None:
    sample = batch()
    fused, seen = Loss({}, (-1, 1)).view(sample.sources[0], sample)
    assert torch.equal(fused, 2 * sample.sources[0] - 1)
    assert torch.equal(seen.sources[1], 2 * sample.sources[1] - 1)
    assert seen.reference is not None
    assert sample.reference is not None
    torch.testing.assert_close(seen.reference, 2 * sample.reference - 1)
    wide, without = Loss({}, (0, 255)).view(fused, sample._replace(reference=None))
    assert torch.equal(wide, 255 * fused)
    assert without.reference is None
    assert Loss({}).view(fused, sample) == (fused, sample)


def test_a_role_that_the_data_lack_is_refused_with_the_remedy() -> None:
    loss = Loss({"pixel": Term(1, terms.mse, "reference"), "free": Term(1, terms.decided_intensity)})
    loss.check(["near", "far", "reference"])
    with pytest.raises(InputError, match=r"loss\.pixel compares with the role 'reference'.*have ir, vi; set loss"):
        loss.check(["ir", "vi"])


@pytest.mark.parametrize("residual", [False, True])
def test_direct_lowers_its_loss(residual: bool) -> None:
    torch.manual_seed(0)
    fuser = FusionNet(residual)
    loss = Loss({"mse": Term(1, partial(terms.mse, role="reference"))})
    step = Direct({"fuser": fuser}, loss, updating({"fuser": fuser}, 3e-3))
    sample = batch(3, 2)
    sample = sample._replace(reference=0.3 * sample.sources[0])
    values = [step(sample, 0, rng())["loss"].item() for _ in range(8)]
    assert values[-1] < 0.8 * values[0]


def test_direct_updates_the_fuser_once_with_the_weighted_sum() -> None:
    update = Recorder()
    loss = Loss({"mse": Term(7, partial(terms.mse, role="reference"))})
    named = Direct({"fuser": FusionNet()}, loss, update)(batch(3, 2), 0, rng())
    assert [name for name, _ in update.calls] == ["fuser"]
    assert update.calls[0][1] == pytest.approx(7 * named["mse"].item())
    assert named["loss"].item() == pytest.approx(update.calls[0][1])


def test_reconstruct_lowers_its_loss_on_pictures_alone() -> None:
    torch.manual_seed(0)
    fuser = DenseFuse()
    pixel, ssim = (partial(term, role="source") for term in (terms.mse, terms.ssim))
    loss = Loss({"pixel": Term(1, pixel), "ssim": Term(100, ssim)})
    step = Reconstruct({"fuser": fuser}, loss, updating({"fuser": fuser}))
    values = [step(batch(), 0, rng())["loss"].item() for _ in range(8)]
    assert min(values[5:]) < 0.8 * values[0]


def test_reconstruct_gives_every_source_alone_and_wants_it_back() -> None:
    given: list[Tensor] = []

    class Echo(nn.Module):
        def forward(self, *sources: Tensor) -> Tensor:
            given.extend(sources)
            return sources[0].clone().requires_grad_()

    step = Reconstruct({"fuser": Echo()}, Loss({"pixel": Term(1, partial(terms.mse, role="source"))}), Recorder())
    assert step.roles == ("source",)
    assert step(batch(), 0, rng())["pixel"].item() == 0
    assert len(given) == 1
    assert torch.equal(given[0], torch.cat(batch().sources))


def test_a_selecting_fuser_is_trained_on_the_mixture_and_shows_its_weights() -> None:
    class Choice(nn.Module):
        selects = True

        def forward(self, *sources: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            weights = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(4, 2, SIDE, SIDE)
            return weights, {"score": weights.sum()}

    sample = batch()
    fused, seen = forward(Choice(), sample)
    torch.testing.assert_close(fused, 0.25 * sample.sources[0] + 0.75 * sample.sources[1])
    assert seen.weights is not None
    assert seen.weights.shape == (4, 2, SIDE, SIDE)
    assert list(seen.inside) == ["score"]
    assert forward(DenseFuse(), sample)[1].weights is None


def test_of_one_picture_a_selecting_auto_encoder_returns_the_picture() -> None:
    class Half(nn.Module):
        selects = True

        def forward(self, source: Tensor) -> Tensor:
            return source / 2

    sample = batch()._replace(sources=batch().sources[:1])
    made, seen = forward(Half(), sample)
    assert torch.equal(made, sample.sources[0] / 2)
    assert seen.weights is None
