"""Wavelet transforms against PyWavelets, and the choice of coefficients against the same written with SciPy."""

import numpy as np
import pytest
import pywt
import torch
from scipy.ndimage import maximum_filter, uniform_filter
from torch import Tensor

from fuse.errors import InputError
from fuse.models.wavelet import Dwt, Swt, filters, largest, put_together, reach, strongest, taken_apart

WAVELETS = ["haar", "db4", "bior2.2", "bior3.1", "sym5"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("size", [(32, 48), (4, 2)])
def test_the_discrete_transform_agrees_with_pywavelets(wavelet: str, size: tuple[int, int]) -> None:
    x, bank = noise(2, 1, *size), filters(wavelet)
    mean, details = taken_apart(x, bank, step=2)
    for number in range(2):
        approximation, three = pywt.dwt2(x[number, 0].numpy(), wavelet, mode="periodization")
        for ours, theirs in zip((mean, *details), (approximation, *three), strict=True):
            assert np.allclose(ours[number, 0], theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(put_together(mean, details, bank, step=2), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_the_stationary_transform_agrees_with_pywavelets(wavelet: str) -> None:
    x, bank = noise(1, 1, 32, 24), filters(wavelet)
    mean, found = x, []
    for spread in (1, 2, 4):
        mean, details = taken_apart(mean, bank, spread)
        found.append((mean, *details))
    for ours, (approximation, three) in zip(found[::-1], pywt.swt2(x[0, 0].numpy(), wavelet, level=3), strict=True):
        for mine, theirs in zip(ours, (approximation, *three), strict=True):
            assert np.allclose(mine[0, 0], theirs, rtol=0, atol=1e-12)
    changed = [tuple(band + noise(1, 1, 32, 24, seed=level) for band in found[level]) for level in range(3)]
    back = changed[2][0]
    for level in (2, 1, 0):
        _, across, down, diagonal = changed[level]
        back = put_together(back, (across, down, diagonal), bank, 2**level)
    plain = [tuple(band[0, 0].numpy() for band in level) for level in changed[::-1]]
    theirs = pywt.iswt2([(plain[0][0], plain[0][1:]), *((None, level[1:]) for level in plain[1:])], wavelet)
    assert np.allclose(back[0, 0], theirs, rtol=0, atol=1e-10)


def test_an_unknown_wavelet_is_refused() -> None:
    with pytest.raises(InputError, match="'db99' is no discrete wavelet; try haar"):
        Dwt("db99")
    with pytest.raises(InputError, match="'morl' is no discrete wavelet"):
        Swt("morl")


@pytest.mark.parametrize("size", [(9, 12), (1, 7), (2, 2), (3, 1)])
def test_the_largest_of_nine(size: tuple[int, int]) -> None:
    x = noise(1, 1, *size)
    assert np.array_equal(largest(x)[0, 0], maximum_filter(x[0, 0].numpy(), 3, mode="constant", cval=-1))


def chosen(bands: list[np.ndarray]) -> np.ndarray:
    """Per place the coefficient of who has the largest magnitude in 3x3 in most of the 3x3 around."""
    first = np.argmax([maximum_filter(np.abs(x), 3, mode="constant") for x in bands], 0)
    votes = [uniform_filter((first == i).astype(float), 3, mode="constant") for i in range(len(bands))]
    return np.take_along_axis(np.stack(bands), np.round(votes, 6).argmax(0)[None], 0)[0]


def test_the_vote_agrees_with_scipy() -> None:
    details = noise(1, 2, 19, 23) - 0.5
    ours = strongest(details)[0, 0].numpy()
    inner = np.s_[1:-1, 1:-1]  # at the border an even number votes, and equal votes mean the average
    assert np.allclose(ours[inner], chosen(list(details[0].numpy()))[inner], rtol=0, atol=1e-12)
    assert 0.2 < (ours == details[0, 0].numpy()).mean() < 0.8


@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
def test_the_discrete_rule_agrees_with_pywavelets(wavelet: str) -> None:
    sources = list(noise(2, 1, 1, 30, 45))
    beyond = -(-reach(wavelet, 2, 2) // 4) * 4
    wide = [np.pad(x[0, 0].numpy(), [(beyond, beyond + 2), (beyond, beyond + 3)], mode="reflect") for x in sources]
    parts = [pywt.wavedec2(x, wavelet, mode="periodization", level=2) for x in wide]
    fused = [np.mean([part[0] for part in parts], 0)]
    fused += [tuple(chosen([part[level][band] for part in parts]) for band in range(3)) for level in (1, 2)]
    expected = pywt.waverec2(fused, wavelet, mode="periodization")[beyond : beyond + 30, beyond : beyond + 45]
    assert np.allclose(Dwt(wavelet, 2)(*sources)[0, 0], expected, rtol=0, atol=1e-10)


def test_only_the_stationary_rule_does_not_mind_shifts() -> None:
    sources = list(noise(2, 1, 1, 60, 60))
    moved = [x[..., 1:, 1:] for x in sources]
    discrete, stationary = (
        (fuser(*sources)[..., 1:, 1:] - fuser(*moved))[..., 20:40, 20:40].abs().max()
        for fuser in (Dwt("haar", 2), Swt("haar", 2))
    )
    assert discrete > 0.01
    assert stationary < 1e-12


@pytest.mark.parametrize("fuser", [Dwt(), Swt()])
def test_a_periodic_border_is_not_seen(fuser: Dwt | Swt) -> None:
    left, right = noise(2, 1, 1, 200, 200)
    other = right.clone()
    other[..., 190:] += 1
    change = (fuser(left, right) - fuser(left, other)).abs()
    assert change[..., :20].max() == 0
    assert change[..., 180:].max() > 0.1
