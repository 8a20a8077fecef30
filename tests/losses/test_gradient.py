"""Terms of edges by hand and against SciPy."""

from functools import partial

import numpy as np
import pytest
import torch
from made import (
    ACROSS,
    LAPLACE,
    RING,
    Term,
    agrees_with_differences,
    each,
    falls,
    pictures,
    sample_of,
    survives_flat_pictures,
)

from fuse.errors import InputError
from fuse.losses import gradient, importance, terms
from fuse.losses.gradient import OPERATORS

TERMS: dict[str, Term] = {
    **{f"role_{name}": partial(gradient.to_role, role="ir", operator=name) for name in OPERATORS},
    **{f"maximum_{name}": partial(gradient.to_maximum, operator=name) for name in OPERATORS},
    "strongest": gradient.to_strongest,
    "strongest_murf": partial(gradient.to_strongest, power=0.7),
    "sources": partial(gradient.to_sources, importance=importance.equal, operator="spatial", distance="l2"),
}


def by_scipy(x: torch.Tensor) -> dict[str, np.ndarray]:
    across, down = each(x, ACROSS), each(x, ACROSS.T)
    forward = np.concatenate(
        [
            np.diff(x.numpy(), axis=3, append=x.numpy()[..., -1:]),
            np.diff(x.numpy(), axis=2, append=x.numpy()[:, :, -1:]),
        ],
        1,
    )
    return {
        "laplacian": each(x, LAPLACE),
        "ring": each(x, RING),
        "sobel": np.abs(across) + np.abs(down),
        "sobel_root": np.sqrt(across**2 + down**2 + 1e-8),
        "differences": forward,
        "spatial": np.concatenate([each(x, ACROSS, "nearest"), each(x, ACROSS.T, "nearest")], 1) / 8,
    }


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operators_agree_with_scipy(name: str, channels: int) -> None:
    x = pictures(1, channels=channels)[0]
    assert np.allclose(OPERATORS[name](x).numpy(), by_scipy(x)[name], rtol=0, atol=1e-13)


def test_directions_by_hand() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64)[None, None]
    right, down = gradient.differences(x)[0]
    assert right.tolist() == [[1, 0], [3, 0]]
    assert down.tolist() == [[2, 4], [0, 0]]
    ramp = torch.arange(5, dtype=torch.float64).expand(1, 1, 5, 5)
    across, down = gradient.spatial(ramp)[0]
    assert across[1:-1, 1:-1].unique().tolist() == [1]  # a slope of one level per pixel
    assert down.unique().tolist() == [0]


@pytest.mark.parametrize("name", OPERATORS)
def test_terms_agree_with_numpy(name: str) -> None:
    fused, ir, vi, third = pictures(4)
    made, *given = (by_scipy(x)[name] for x in (fused, ir, vi, third))
    sample = sample_of(ir, vi, third)
    assert gradient.to_role(fused, sample, "vi", name).item() == pytest.approx(np.abs(made - given[1]).mean())
    assert gradient.to_role(fused, sample, "vi", name, "l2").item() == pytest.approx(((made - given[1]) ** 2).mean())
    joint = np.max(np.abs(given), 0)
    assert gradient.to_maximum(fused, sample, name).item() == pytest.approx(np.abs(np.abs(made) - joint).mean())
    best = np.take_along_axis(np.array(given), np.abs(given).argmax(0)[None], 0)[0]
    signed = np.sign(best) * np.abs(best) ** 0.7
    assert gradient.to_strongest(fused, sample, name, power=0.7).item() == pytest.approx(np.abs(made - signed).mean())
    weights = importance.gradient_share(sample).numpy()
    expected = sum(np.mean(w * (made - g) ** 2) for w, g in zip(weights, given, strict=True))
    assert gradient.to_sources(fused, sample, importance.gradient_share, name).item() == pytest.approx(expected)


def test_the_terms_of_the_readers_path_are_special_cases() -> None:
    fused, near, far = pictures(3)
    sample = sample_of(near, far)
    assert gradient.to_role(fused, sample, "ir", distance="l2").item() == pytest.approx(
        terms.gradient(fused, sample, "ir").item(), rel=1e-12
    )
    assert gradient.to_sources(fused, sample, importance.repeated_blur).item() == pytest.approx(
        terms.decided_gradient(fused, sample).item(), rel=1e-12
    )


def test_only_the_signed_joint_gradient_tells_a_bright_from_a_dark_line() -> None:
    ir, vi = pictures(2)
    sample = sample_of(ir, 0 * vi)
    assert gradient.to_maximum(-ir, sample, "laplacian").item() == pytest.approx(0, abs=1e-15)
    assert gradient.to_strongest(ir, sample, "laplacian").item() == 0
    assert gradient.to_strongest(-ir, sample, "laplacian").item() > 0.5


def test_brightness_does_not_matter_inside() -> None:
    fused, ir = pictures(2)
    shifted = gradient.to_role(fused + 0.3, sample_of(ir), "ir", "spatial")
    assert shifted.item() == pytest.approx(gradient.to_role(fused, sample_of(ir), "ir", "spatial").item(), rel=1e-9)


@pytest.mark.parametrize("scale", [2.0, 255.0])
def test_terms_grow_with_the_range(scale: float) -> None:
    fused, ir, vi = pictures(3)
    for name in ("laplacian", "ring", "sobel", "differences", "spatial"):
        plain = gradient.to_maximum(fused, sample_of(ir, vi), name)
        ours = gradient.to_maximum(scale * fused, sample_of(scale * ir, scale * vi), name)
        assert ours.item() == pytest.approx(scale * plain.item(), rel=1e-9)


def test_an_unknown_operator_is_refused(unchecked_types: None) -> None:
    fused, ir = pictures(2)
    with pytest.raises(InputError, match="operator='prewitt' is not known; use laplacian, ring, sobel"):
        partial(gradient.to_maximum, operator="prewitt")(fused, sample_of(ir))


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_the_gradient_of_finite_differences(name: str) -> None:
    fused, ir, vi = (x[:, :, :5, :6] for x in pictures(3))
    if "differences" in name or name.startswith("strongest"):  # the last row and column have none: 0 - 0, a kink
        assert falls(TERMS[name], fused, sample_of(ir, vi), 1e-4)
    else:
        assert agrees_with_differences(TERMS[name], fused, sample_of(ir, vi))
        assert falls(TERMS[name], fused, sample_of(ir, vi), 1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_numbers_on_flat_pictures(name: str) -> None:
    assert survives_flat_pictures(TERMS[name])
