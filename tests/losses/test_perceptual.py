"""Terms on features, on what fusers tell inside, and on what they made before."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from made import LAPLACE, Term, agrees_with_differences, each, falls, pictures, sample_of, survives_flat_pictures
from torch import Tensor

from fuse.errors import InputError
from fuse.losses import importance, inside, memory, perceptual, structure, terms
from fuse.losses.networks import Pyramid


def features(x: Tensor) -> Mapping[str, Tensor]:
    """Two layers, of several channels and of another size."""
    return {"a": torch.cat([x, x**2, x.roll(1, -1)], 1), "b": 3 * x[..., ::2, ::2]}


TERMS: dict[str, Term] = {
    "content": partial(perceptual.content, role="ir", features=features),
    "mixture": partial(perceptual.content_mixture, shares={"ir": 3.0, "vi": 0.5}, features=features),
    "style": partial(perceptual.style, role="ir", features=features),
    "memory": partial(memory.with_memory, importance=importance.repeated_blur),
}


def test_content_and_mixture_against_numpy() -> None:
    fused, ir, vi = pictures(3)
    sample = sample_of(ir, vi)
    made, first, second = ({k: v.numpy() for k, v in features(x).items()} for x in (fused, ir, vi))
    far = {name: np.mean((made[name] - first[name]) ** 2) for name in made}
    assert perceptual.content(fused, sample, "ir", features).item() == pytest.approx(far["a"] + far["b"])
    weighted = perceptual.content(fused, sample, "ir", features, {"b": 0.25})
    assert weighted.item() == pytest.approx(0.25 * far["b"])
    far = {name: np.mean((made[name] - 3 * first[name] - 0.5 * second[name]) ** 2) for name in made}
    ours = perceptual.content_mixture(fused, sample, {"ir": 3.0, "vi": 0.5}, features, {"a": 2.0, "b": 1.0})
    assert ours.item() == pytest.approx(2 * far["a"] + far["b"])


def test_style_against_numpy_and_blind_to_places() -> None:
    fused, ir = pictures(2)
    expected = 0.0
    for name in ("a", "b"):
        grams = [
            np.einsum("bkyx,blyx->bkl", m, m) / m[0].size for m in (features(x)[name].numpy() for x in (fused, ir))
        ]
        expected += np.mean((grams[0] - grams[1]) ** 2)
    assert perceptual.style(fused, sample_of(ir), "ir", features).item() == pytest.approx(expected)
    only = {"a": 1.0}
    moved = ir.roll(3, -1).roll(2, -2)
    assert perceptual.style(moved, sample_of(ir), "ir", features, only).item() == pytest.approx(0, abs=1e-20)
    assert perceptual.content(moved, sample_of(ir), "ir", features, only).item() > 0.1


def test_a_layer_that_is_not_there_is_refused() -> None:
    fused, ir = pictures(2)
    with pytest.raises(InputError, match="no relu1_1; they are level1, level2"):
        perceptual.content(fused, sample_of(ir), "ir", Pyramid(2), {"relu1_1": 1.0})


def test_a_picture_told_inside_takes_the_place_of_the_fused_one() -> None:
    fused, ir, again = pictures(3)
    sample = sample_of(ir, again=again)
    wanted = terms.mse(again, sample, "ir").item()
    assert inside.of(fused, sample, "again", terms.mse, "ir").item() == wanted
    assert inside.of(fused, sample, "again", partial(terms.mse, role="ir")).item() == wanted
    scaled = sample_of(2 * ir - 1, again=again)
    assert inside.of(fused, scaled, "again", terms.mse, "ir", [-1, 1]).item() == pytest.approx(4 * wanted)
    with pytest.raises(InputError, match="needs 'other'; the fuser tells again inside"):
        inside.of(fused, sample, "other", terms.mse, "ir")


def test_mixtures_of_features_inside() -> None:
    fused, made, ir, vi = pictures(4)
    sample = sample_of(ir, made=made, ir=ir, vi=vi)
    expected = np.mean((made - 6 * ir - 3 * vi).numpy() ** 2)
    assert inside.to_mixture(fused, sample, "made", {"ir": 6.0, "vi": 3.0}).item() == pytest.approx(expected)


def test_decomposition_against_numpy() -> None:
    fused, *maps = pictures(5, channels=3)
    maps[2] = maps[2] + maps[3]
    sample = sample_of(fused, b1=maps[0], b2=maps[1], d1=maps[2], d2=maps[3])
    base, detail = (
        np.mean([np.corrcoef(x[i, k].ravel(), y[i, k].ravel())[0, 1] for i in range(2) for k in range(3)])
        for x, y in ((maps[0].numpy(), maps[1].numpy()), (maps[2].numpy(), maps[3].numpy()))
    )
    ours = inside.decomposition(fused, sample, ["b1", "b2"], ["d1", "d2"])
    assert ours.item() == pytest.approx(detail**2 / (1.01 + base))
    flat = sample_of(fused, b1=maps[0], b2=maps[1] * 0, d1=maps[2], d2=maps[3])
    assert inside.decomposition(fused, flat, ["b1", "b2"], ["d1", "d2"]).item() == pytest.approx(detail**2 / 1.01)


def test_the_memory_of_mufusion_against_its_parts() -> None:
    fused, ir, vi, before = pictures(4)
    sample = sample_of(ir, vi, memory=before)

    def apart(x: Tensor, y: Tensor) -> np.ndarray:
        edges = ((each(x, LAPLACE) - each(y, LAPLACE)) ** 2).mean((1, 2, 3))
        lost = 1 - structure.multiscale(x, y, 1.0, True).numpy()
        return ((x - y) ** 2).mean((1, 2, 3)).numpy() + 10 * lost + 10 * edges

    masks = importance.repeated_blur(sample)
    content = sum(apart(m * fused, m * x) for m, x in zip(masks, (ir, vi), strict=True))
    scores = [sum(structure.multiscale(x, y, 1.0, True).numpy() for y in (ir, vi)) for x in (fused, before)]
    share = np.exp(scores[0]) / (np.exp(scores[0]) + np.exp(scores[1]))
    expected = (share * content + (1 - share) * apart(fused, before)).mean()
    assert memory.with_memory(fused, sample, importance.repeated_blur).item() == pytest.approx(expected)
    first = memory.with_memory(fused, sample_of(ir, vi), importance.repeated_blur)
    assert first.item() == pytest.approx(content.mean() / 2)  # no memory yet


def test_no_gradient_flows_into_the_memory_or_the_share() -> None:
    fused, ir, vi, before = pictures(4)
    fused, before = fused.requires_grad_(), before.requires_grad_()
    sample = sample_of(ir, vi, memory=before)
    memory.with_memory(fused, sample, importance.repeated_blur).backward()
    assert before.grad is None
    assert fused.grad is not None


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    fused, ir, vi, before = (x[:1, :, :11, :12].contiguous() for x in pictures(4))
    sample = sample_of(ir, vi, memory=before)
    if name != "memory":  # its share of the memory is held fixed, which differences are not
        assert agrees_with_differences(TERMS[name], fused, sample)
    assert falls(TERMS[name], fused, sample, 1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_numbers_on_flat_pictures(name: str) -> None:
    assert survives_flat_pictures(TERMS[name])
