"""Metrics by hand: values that a pencil gives."""

import math

import pytest
import torch
from torch import Tensor

from fuse import metrics
from fuse.metrics.artifacts import q_g_petrovic


def image(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def ramp(height: int, width: int, step: float = 1.0) -> Tensor:
    return (torch.arange(width, dtype=torch.float64) * step).expand(1, 1, height, width)


def halves(height: int = 16, width: int = 16, low: float = 0.0, high: float = 255.0) -> Tensor:
    picture = torch.full((1, 1, height, width), low, dtype=torch.float64)
    picture[..., width // 2 :] = high
    return picture


def noise(seed: int, height: int = 48, width: int = 50) -> Tensor:
    return torch.randint(0, 256, (1, 1, height, width), generator=torch.Generator().manual_seed(seed)).double()


def test_statistics_of_two_halves() -> None:
    assert metrics.en(halves()).item() == pytest.approx(1.0)
    assert metrics.mean(halves()).item() == 127.5
    assert metrics.sd(halves()).item() == 127.5
    assert metrics.sd(halves(), sample=True).item() == pytest.approx(127.5 * math.sqrt(256 / 255))


def test_activity_of_a_ramp() -> None:
    # 4 rows, 5 columns, one level per column: every horizontal difference is 1, every vertical one 0
    picture = ramp(4, 5)
    assert metrics.sf(picture).item() == pytest.approx(1.0)
    assert metrics.sf(picture, whole=True).item() == pytest.approx(math.sqrt(16 / 20))
    assert metrics.ag(picture).item() == pytest.approx(20 * math.sqrt(0.5) / 12)
    assert metrics.ag(picture, divisor="whole").item() == pytest.approx(math.sqrt(0.5))
    # Sobel gives 8 inside and 4 in the two border columns, whose outer neighbour is repeated
    assert metrics.ei(picture).item() == pytest.approx((3 * 8 + 2 * 4) / 5)


def test_information_of_equal_halves() -> None:
    one = halves()
    assert metrics.mi(one, [one, one]).item() == pytest.approx(2.0)
    assert metrics.mi(one, [one, one], combine="min").item() == pytest.approx(1.0)
    assert metrics.nmi(one, [one, one]).item() == pytest.approx(2.0)
    assert metrics.ce(one, [one, one]).item() == pytest.approx(0.0)
    # p is 1/2 on the diagonal and the product of the marginals 1/4 everywhere
    tsallis = (1 - 2 * 0.5**1.85 / 0.25**0.85) / (1 - 1.85)
    assert metrics.q_te(one, [one, one]).item() == pytest.approx(2 * tsallis)
    # nonlinear correlations (1 + 1 - 1) / 8, so eigenvalues 5/4, 7/8, 7/8
    shares = [1.25 / 3, 0.875 / 3, 0.875 / 3]
    assert metrics.q_ncie(one, [one, one]).item() == pytest.approx(1 + sum(s * math.log2(s) for s in shares) / 8)


def test_information_with_a_constant_is_nothing() -> None:
    flat = torch.full((1, 1, 16, 16), 9.0, dtype=torch.float64)
    assert metrics.mi(halves(), [flat, flat]).item() == pytest.approx(0.0)
    assert metrics.nmi(halves(), [flat, flat]).item() == pytest.approx(0.0)


def test_cross_entropy_leaves_out_levels_of_one_picture() -> None:
    # of levels 0, 1 | 0, 2 only 0 is common: 1/2 log2((1/2) / (3/4))
    source, fused = image([0, 0, 1, 1]), image([0, 0, 0, 2])
    assert metrics.ce(fused, [source]).item() == pytest.approx(0.5 * math.log2(0.5 / 0.75))


def test_errors() -> None:
    fused, near, far = image([10, 10]), image([13, 13]), image([6, 6])
    assert metrics.mse(fused, [near, far]).item() == 12.5
    assert metrics.mse(fused, [near, far], combine="max").item() == 16
    assert metrics.rmse(fused, [near, far]).item() == 3.5
    assert metrics.psnr(fused, [near, far]).item() == pytest.approx(10 * math.log10(255**2 / 12.5))
    each = [10 * math.log10(255**2 / error) for error in (9, 16)]
    assert metrics.psnr(fused, [near, far], combine="mean").item() == pytest.approx(sum(each) / 2)
    assert metrics.psnr(fused, [fused]).item() == math.inf


def test_correlations() -> None:
    a, b = image([0, 1, 0, 1]), image([0, 0, 1, 1])
    assert metrics.cc(a + b, [a, b]).item() == pytest.approx(math.sqrt(0.5))
    assert metrics.scd(a + b, [a, b]).item() == pytest.approx(2.0)
    # without b nothing of a is left, without a all of b is, and its sign turned
    assert metrics.scd(2 * b, [a, b]).item() == pytest.approx(2 / math.sqrt(5))
    assert metrics.scd(2 * b, [a, b], combine="min").item() == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(metrics.scd(a, [a, b]).item())


def test_ssim_of_constants_is_the_luminance_factor() -> None:
    x, y = torch.full((1, 1, 11, 11), 100.0), torch.full((1, 1, 11, 11), 50.0)
    expected = (2 * 100 * 50 + 2.55**2) / (100**2 + 50**2 + 2.55**2)
    assert metrics.ssim(x, [y]).item() == pytest.approx(expected, rel=1e-9)


def test_mef_ssim_does_not_see_brightness() -> None:
    a, b = noise(1), noise(2)
    assert metrics.mef_ssim((a + b) / 2 + 20, [a, b]).item() == pytest.approx(
        metrics.mef_ssim((a + b) / 2, [a, b]).item()
    )


def test_vif_counts_contrast() -> None:
    source = noise(3)
    assert metrics.vif(source, [source, source]).item() == pytest.approx(2.0, abs=1e-9)
    assert metrics.vif(source * 1.5, [source]).item() > 1 > metrics.vif(source * 0.5, [source]).item()


def test_edge_strength_and_angle_of_an_equal_picture() -> None:
    # equal strengths are 8 levels and more here, so only the angle's sigmoid is left: 1 / (1 + exp(-22 0.2))
    picture = ramp(20, 20, 8)
    expected = 0.9994 * 0.9879 / (1 + math.exp(-4.4))
    assert metrics.q_g(picture, [picture, picture]).item() == pytest.approx(expected, rel=1e-6)


def test_kept_lost_and_added_edges_are_all_there_are() -> None:
    a, b, fused = noise(4), noise(5), noise(6)
    parts = (metrics.l_abf(fused, [a, b]), metrics.n_abf(fused, [a, b]), q_g_petrovic(fused, [a, b]))
    assert sum(parts).item() == pytest.approx(1.0)


def test_what_an_exact_copy_scores() -> None:
    picture = noise(7)
    same = [picture, picture]
    expected = {"q_m": 3, "q_sf": 0, "q_cv": 0, "q_cb": 1, "q_s": 1, "q_w": 1, "q_e": 1, "q_c": 1, "q_y": 1, "epi": 1}
    expected |= {"fmi_raw": 1, "fmi_edge": 1, "fmi_gradient": 1, "fmi_dct": 1, "fmi_w": 1, "mef_ssim": 1, "viff": 1}
    expected |= {"mse": 0, "cc": 1, "ssim": 1, "n_abf": 0, "brightness_shift": 0, "invented": 0, "ghost": 0}
    scores = metrics.measure(picture, same, names=expected)
    assert {name: score.item() for name, score in scores.items()} == pytest.approx(expected, abs=1e-6)


def test_haar_of_one_block() -> None:
    # details (a+b-c-d)/2, (a-b+c-d)/2, (a-b-c+d)/2 of the block 4 2 / 0 2 are 2, 0, 2; of F, 0 all: twice exp(-2)
    source, fused = image([4, 2, 4, 2], [0, 2, 0, 2], [4, 2, 4, 2], [0, 2, 0, 2]), image(*[[2] * 4] * 4)
    first = (2 * math.exp(-2) + 1) * 8 / 8
    assert math.isnan(metrics.q_m(fused, [source]).item())  # the second level has no details
    wide = source.clone()
    wide[..., 2:, :] += 4  # now the second level has one detail, (2 + 2 - 6 - 6) 2 / 2 = -8
    second = math.exp(-8) + 2
    assert metrics.q_m(fused, [wide]).item() == pytest.approx(first ** (2 / 3) * second ** (1 / 3))
