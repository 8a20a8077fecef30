"""Every metric once more, plainly: NumPy, SciPy and scikit-image on one pair of float64 arrays, nothing shared.

Written from the definitions, not from the package: the oracle of the tests and the yardstick of the benchmark. Windows
are two-dimensional and go through `scipy.signal.convolve2d`, as in the Python code that the field passes around.
"""

import numpy as np
import pywt
import skimage.measure
import skimage.metrics
from scipy import ndimage, signal

Array = np.ndarray


def gauss(size: int, sigma: float) -> Array:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return window / window.sum()


def valid(x: Array, window: Array) -> Array:
    return signal.convolve2d(x, window, mode="valid")


def moments(x: Array, y: Array, window: Array) -> tuple[Array, ...]:
    mx, my = valid(x, window), valid(y, window)
    return mx, my, valid(x * x, window) - mx**2, valid(y * y, window) - my**2, valid(x * y, window) - mx * my


def sobel(x: Array, mode: str) -> tuple[Array, Array]:
    options = {"mode": mode, "cval": 0.0}
    return ndimage.sobel(x, axis=1, **options), ndimage.sobel(x, axis=0, **options)


def levels(x: Array) -> Array:
    return np.round(x).astype(int)


def stretch(x: Array) -> Array:
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def entropy(shares: Array) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def hist(x: Array) -> Array:
    return np.bincount(levels(x).ravel(), minlength=256) / x.size


def joint(x: Array, y: Array) -> Array:
    return np.histogram2d(x.ravel(), y.ravel(), bins=256, range=[[-0.5, 255.5]] * 2)[0] / x.size


def information(x: Array, y: Array) -> float:
    return entropy(hist(x)) + entropy(hist(y)) - entropy(joint(x, y))


def en(f: Array) -> float:
    return float(skimage.measure.shannon_entropy(levels(f)))


def sf(f: Array) -> float:
    return float(np.sqrt(np.mean(np.diff(f, axis=0) ** 2) + np.mean(np.diff(f, axis=1) ** 2)))


def ag(f: Array) -> float:
    gy, gx = np.gradient(f)
    return float(np.sqrt((gx**2 + gy**2) / 2).sum() / ((f.shape[0] - 1) * (f.shape[1] - 1)))


def ei(f: Array) -> float:
    return float(np.hypot(*sobel(f, "nearest")).mean())


def nmi(f: Array, a: Array, b: Array) -> float:
    f, a, b = stretch(f), stretch(a), stretch(b)
    return sum(2 * information(x, f) / (entropy(hist(x)) + entropy(hist(f))) for x in (a, b))


def ce(f: Array, a: Array, b: Array) -> float:
    values = []
    for x in (a, b):
        p, q = hist(x), hist(f)
        both = (p > 0) & (q > 0)
        values.append((p[both] * np.log2(p[both] / q[both])).sum())
    return float(np.mean(values))


def q_ncie(f: Array, a: Array, b: Array) -> float:
    images = [stretch(x) for x in (a, b, f)]
    rows = [[1.0 if x is y else information(x, y) / 8 for y in images] for x in images]
    return 1 - entropy(np.linalg.eigvalsh(np.array(rows)) / 3) / 8


def q_te(f: Array, a: Array, b: Array) -> float:
    total, q = 0.0, 1.85
    for x in (a, b):
        p = joint(stretch(x), stretch(f))
        apart = np.outer(p.sum(1), p.sum(0))
        total += (1 - (p[p > 0] ** q / apart[p > 0] ** (q - 1)).sum()) / (1 - q)
    return total


def mse(f: Array, a: Array, b: Array) -> float:
    return float(np.mean([skimage.metrics.mean_squared_error(x, f) for x in (a, b)]))


def cc(f: Array, a: Array, b: Array) -> float:
    return float(np.mean([np.corrcoef(x.ravel(), f.ravel())[0, 1] for x in (a, b)]))


def scd(f: Array, a: Array, b: Array) -> float:
    return float(np.corrcoef((f - b).ravel(), a.ravel())[0, 1] + np.corrcoef((f - a).ravel(), b.ravel())[0, 1])


def ssim_maps(x: Array, y: Array, window: Array, c1: float = 2.55**2, c2: float = 7.65**2) -> tuple[Array, Array]:
    mx, my, vx, vy, cov = moments(x, y, window)
    structure = (2 * cov + c2) / (vx + vy + c2)
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1) * structure, structure


def ssim_of(x: Array, y: Array) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(skimage.metrics.structural_similarity(x, y, **options))


def half(x: Array) -> Array:
    x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2)), mode="symmetric")
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def ms_ssim(f: Array, a: Array, b: Array) -> float:
    values = []
    for x in (a, b):
        y, product = f, 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            full, structure = ssim_maps(x, y, gauss(11, 1.5))
            product *= max((full if scale == 4 else structure).mean(), 0.0) ** weight
            x, y = half(x), half(y)
        values.append(product)
    return float(np.mean(values))


def mef_ssim(f: Array, a: Array, b: Array) -> float:
    box, window, product = np.full((11, 11), 1 / 121), gauss(11, 1.5), 1.0
    for weight in (0.0448, 0.2856, 0.3001):
        _, _, va, vb, cab = moments(a, b, box)
        na, nb = 11 * np.sqrt(np.maximum(va, 0)), 11 * np.sqrt(np.maximum(vb, 0))
        agree = (11 * np.sqrt(np.maximum(va + vb + 2 * cab, 0)) + 2.2e-16) / (na + nb + 2.2e-16)
        power = np.minimum(np.tan(np.pi / 2 * np.clip(agree, 0, 1 - 2.2e-16)), 10)
        ea, eb = na + 0.001, nb + 0.001
        wa, wb = (ea / 11) ** power + 2.2e-16, (eb / 11) ** power + 2.2e-16
        ca, cb = wa / (wa + wb) / ea, wb / (wa + wb) / eb
        norm = 11 * np.sqrt(np.maximum(ca**2 * va + cb**2 * vb + 2 * ca * cb * cab, 0))
        gain = np.where(norm > 0, np.maximum(ea, eb) / np.where(norm > 0, norm, 1), 0)
        _, _, va, vb, cab = moments(a, b, window)
        _, _, _, vf, caf = moments(a, f, window)
        cbf = moments(b, f, window)[4]
        variance = gain**2 * (ca**2 * va + cb**2 * vb + 2 * ca * cb * cab)
        score = (2 * gain * (ca * caf + cb * cbf) + 7.65**2) / (variance + vf + 7.65**2)
        product *= score.mean() ** (weight / 0.6305)
        a, b, f = half(a), half(b), half(f)
    return float(product)


def piella(f: Array, a: Array, b: Array) -> tuple[Array, Array]:
    window = gauss(11, 1.5)
    va, vb = moments(a, f, window)[2], moments(b, f, window)[2]
    va, vb = va + 0.5 * ((va == 0) & (vb == 0)), vb + 0.5 * ((va == 0) & (vb == 0))
    share = va / (va + vb)
    return share * ssim_maps(a, f, window)[0] + (1 - share) * ssim_maps(b, f, window)[0], np.maximum(va, vb)


def q_s(f: Array, a: Array, b: Array) -> float:
    return float(piella(f, a, b)[0].mean())


def q_w(f: Array, a: Array, b: Array) -> float:
    score, weight = piella(f, a, b)
    return float((score * weight).sum() / weight.sum())


def q_e(f: Array, a: Array, b: Array) -> float:
    def edges(x: Array) -> Array:
        return np.hypot(ndimage.prewitt(x, 0, mode="constant"), ndimage.prewitt(x, 1, mode="constant"))

    return q_w(f, a, b) * q_w(edges(f), edges(a), edges(b))


def q_c(f: Array, a: Array, b: Array) -> float:
    window = gauss(7, 1.5)
    ca, cb = moments(a, f, window)[4], moments(b, f, window)[4]
    share = ca / (ca + cb)
    sa, sb = (np.clip(ssim_maps(x, f, window, 2e-16, 2e-16)[0], -1, 1) for x in (a, b))
    return float(np.where(share < 0, 0, np.where(share > 1, 1, share * sa + (1 - share) * sb)).mean())


def q_y(f: Array, a: Array, b: Array) -> float:
    window = gauss(7, 1.5)
    va, vb = moments(a, b, window)[2:4]
    sab, sa, sb = (np.clip(ssim_maps(x, y, window, 2e-16, 2e-16)[0], -1, 1) for x, y in ((a, b), (a, f), (b, f)))
    return float(np.where(sab >= 0.75, (va * sa + vb * sb) / (va + vb), np.maximum(sa, sb)).mean())


def vif_parts(x: Array, f: Array) -> list[tuple[Array, Array, Array]]:
    parts = []
    for scale, size in enumerate((17, 9, 5, 3)):
        window = gauss(size, size / 5)
        if scale:
            x, f = valid(x, window)[::2, ::2], valid(f, window)[::2, ::2]
        _, _, vx, vf, cov = moments(x, f, window)
        vx, vf = np.maximum(vx, 0), np.maximum(vf, 0)
        g = cov / (vx + 1e-10)
        noise = vf - g * cov
        g[vx < 1e-10], noise[vx < 1e-10], vx[vx < 1e-10] = 0, vf[vx < 1e-10], 0
        g[vf < 1e-10], noise[vf < 1e-10] = 0, 0
        noise[g < 0], g[g < 0] = vf[g < 0], 0
        parts.append((g, np.maximum(noise, 1e-10), vx))
    return parts


def vif(f: Array, a: Array, b: Array) -> float:
    total = 0.0
    for x in (a, b):
        kept = there = 0.0
        for g, noise, vx in vif_parts(x, f):
            kept += np.log10(1 + g**2 * vx / (noise + 2)).sum()
            there += np.log10(1 + vx / 2).sum()
        total += kept / there
    return float(total)


def viff(f: Array, a: Array, b: Array) -> float:
    value, noise = 0.0, 0.005 * 255**2
    for (ga, na, va), (gb, nb, vb), weight in zip(vif_parts(a, f), vif_parts(b, f), (1, 0, 0.15, 1), strict=True):
        kept = np.where(ga < gb, np.log10(1 + ga**2 * va / (na + noise)), np.log10(1 + gb**2 * vb / (nb + noise)))
        there = np.where(ga < gb, np.log10(1 + va / noise), np.log10(1 + vb / noise))
        value += weight * (kept + 1e-7).sum() / (there + 1e-7).sum()
    return float(value / 2.15)


def q_g(f: Array, a: Array, b: Array, where: Array | bool = True) -> float:
    def edges(x: Array) -> tuple[Array, Array]:
        across, down = sobel(x, "constant")
        flat = across == 0
        return np.sqrt(across**2 + down**2), np.where(flat, np.pi / 2, np.arctan(down / np.where(flat, 1, -across)))

    (gf, af), upper, lower = edges(f), 0.0, 0.0
    for g, angle in (edges(a), edges(b)):
        high = np.maximum(g, gf)
        ratio = np.where(g == gf, gf, np.minimum(g, gf) / np.where(high > 0, high, 1))
        aligned = 1 - np.abs(angle - af) / (np.pi / 2)
        kept = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (aligned - 0.8)))
        upper, lower = upper + (kept * g).sum(where=where), lower + g.sum(where=where)
    return float(upper / lower)


def petrovic(f: Array, a: Array, b: Array) -> tuple[float, float]:
    def edges(x: Array) -> tuple[Array, Array]:
        across, down = (part / 8 for part in sobel(x, "mirror"))
        with np.errstate(all="ignore"):
            angle = np.arctan(across / down)
        return np.hypot(across, down), np.where((across == 0) & (down == 0), 0, angle)

    (gf, af), lost, weights, stronger = edges(f), [], [], True
    for g, angle in (edges(a), edges(b)):
        high = np.maximum(g, gf)
        ratio = np.where((g > 0) & (gf > 0), np.minimum(g, gf) / np.where(high > 0, high, 1), 0)
        aligned = np.abs(np.abs(angle - af) - np.pi / 2) * 2 / np.pi
        kept = np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + np.exp(-22 * (aligned - 0.5))))
        weights.append(np.where(g >= 2, g**1.5, 0.001))
        lost.append((1 - kept) * weights[-1])
        stronger = stronger & (gf > g)
    return float((sum(lost) * ~stronger).sum() / sum(weights).sum()), float(
        (sum(lost) * stronger).sum() / sum(weights).sum()
    )


def epi(f: Array, a: Array, b: Array) -> float:
    kernel = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]]) / 3
    f, a, b = (signal.convolve2d(x, kernel, mode="same") for x in (f, a, b))
    return cc(f, a, b)


def fmi(f: Array, a: Array, b: Array) -> float:
    def windows(x: Array) -> Array:
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3)).swapaxes(-1, -2).reshape(-1, 9)

    def shares(x: Array) -> Array:
        low, high = x.min(1, keepdims=True), x.max(1, keepdims=True)
        flat = low == high
        x = np.where(flat, 1.0, (x - low) / np.where(flat, 1, high - low))
        return x / x.sum(1, keepdims=True)

    def minus_p_log_p(p: Array) -> Array:
        p = p.reshape(len(p), -1)
        return -(p * np.log2(np.abs(p), out=np.zeros_like(p), where=p != 0)).sum(1)

    index, values = np.arange(1, 10), []
    for x in (a, b):
        p, q = shares(windows(f)), shares(windows(x))
        pc, qc = p - 1 / 9, q - 1 / 9
        power = (pc**2).sum(1) * (qc**2).sum(1)
        c = np.where(power > 0, (pc * qc).sum(1) / np.sqrt(np.where(power > 0, power, 1)), 0)
        spread = (p @ index**2 - (p @ index) ** 2) * (q @ index**2 - (q @ index) ** 2)
        big, small = p.cumsum(1)[:, :, None], q.cumsum(1)[:, None, :]
        bound = np.where(c[:, None, None] >= 0, np.minimum(big, small), np.maximum(big + small - 1, 0))
        covariance = (bound - big * small).sum((1, 2))
        usable = (c != 0) & (spread > 0) & (covariance != 0)
        phi = np.where(usable, c * np.sqrt(np.maximum(spread, 0)) / np.where(usable, covariance, 1), 0)[:, None, None]
        coupled = np.diff(np.diff(bound, axis=1, prepend=0), axis=2, prepend=0)
        alone = minus_p_log_p(p) + minus_p_log_p(q)
        shared = alone - minus_p_log_p(phi * coupled + (1 - phi) * p[:, :, None] * q[:, None, :])
        value = np.where(alone > 0, 2 * shared / np.where(alone > 0, alone, 1), 0)
        flat = (np.ptp(windows(f), 1) == 0) & (np.ptp(windows(x), 1) == 0)
        values.append(np.where(flat | (windows(f) == windows(x)).all(1), 1, value).mean())
    return float(np.mean(values))


def edge(x: Array) -> Array:
    strength = np.hypot(*sobel(x, "nearest"))
    outside = np.pad(strength, 1)
    ridge = (strength > outside[1:-1, :-2]) & (strength > outside[1:-1, 2:])
    ridge |= (strength > outside[:-2, 1:-1]) & (strength > outside[2:, 1:-1])
    return (ridge & (strength > np.sqrt(4 * (strength**2).mean()))).astype(float)


def meyer(x: Array) -> Array:
    mean, (horizontal, vertical, diagonal) = pywt.dwt2(x, "dmey", mode="symmetric")
    stacked = np.block([[mean, horizontal], [vertical, diagonal]])
    return (stacked - stacked.min()) / np.ptp(stacked)
