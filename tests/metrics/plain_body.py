"""The metrics inside the body once more, plainly, as in `plain`; scikit-image's SSIM map, SciPy's regions."""

import numpy as np
import plain
import skimage.metrics
from plain import Array
from scipy import ndimage


def body(a: Array, b: Array) -> Array:
    mask = ndimage.binary_fill_holes(np.maximum(a, b) > 8)
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return mask & (sizes >= 0.05 * sizes.max())[labels]


def en_body(f: Array, a: Array, b: Array) -> float:
    return plain.en(f[body(a, b)])


def sd_body(f: Array, a: Array, b: Array) -> float:
    return float(f[body(a, b)].std())


def mi_body(f: Array, a: Array, b: Array) -> float:
    mask = body(a, b)
    return plain.information(a[mask], f[mask]) + plain.information(b[mask], f[mask])


def scd_body(f: Array, a: Array, b: Array) -> float:
    mask = body(a, b)
    return plain.scd(f[mask], a[mask], b[mask])


def _ssim(f: Array, a: Array, b: Array) -> list[float]:
    inner = (slice(5, -5), slice(5, -5))  # windows that lie inside of the picture
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    maps = [skimage.metrics.structural_similarity(x, f, full=True, **options)[1][inner] for x in (a, b)]
    return [float(x[body(a, b)[inner]].mean()) for x in maps]


def ssim_body(f: Array, a: Array, b: Array) -> float:
    return sum(_ssim(f, a, b)) / 2


def ssim_min_body(f: Array, a: Array, b: Array) -> float:
    return min(_ssim(f, a, b))


def _vif(f: Array, a: Array, b: Array) -> list[float]:
    mask, values = body(a, b), []
    for x in (a, b):
        kept = there = 0.0
        # the pixel under the middle of the first window, and how many pixels the next window is farther
        for (g, noise, vx), first, step in zip(plain.vif_parts(x, f), (8, 12, 16, 20), (1, 2, 4, 8), strict=True):
            rows, columns = (first + step * np.arange(n) for n in g.shape)
            inside = mask[np.ix_(rows, columns)]
            kept += np.log10(1 + g**2 * vx / (noise + 2))[inside].sum()
            there += np.log10(1 + vx / 2)[inside].sum()
        values.append(float(kept / there))
    return values


def vif_body(f: Array, a: Array, b: Array) -> float:
    return sum(_vif(f, a, b))


def vif_min_body(f: Array, a: Array, b: Array) -> float:
    return min(_vif(f, a, b))


def q_g_body(f: Array, a: Array, b: Array) -> float:
    return plain.q_g(f, a, b, body(a, b))


def q_g_min_body(f: Array, a: Array, b: Array) -> float:
    return min(plain.q_g(f, x, x, body(a, b)) for x in (a, b))
