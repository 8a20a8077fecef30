"""Metrics of transforms once more, plainly: see `plain.py`."""

import numpy as np
import pywt
from plain import Array, gauss, sobel, stretch
from scipy import fft, signal


def q_m(f: Array, a: Array, b: Array) -> float:
    product = 1.0
    for weight in (2 / 3, 1 / 3):
        rows, columns = (side // 2 * 2 for side in f.shape)
        (f, df), (a, da), (b, db) = (pywt.dwt2(x[:rows, :columns], "haar", mode="periodization") for x in (f, a, b))
        upper = lower = 0.0
        for bands in (da, db):
            energy = sum(band**2 for band in bands)
            upper += (sum(np.exp(-np.abs(s - t)) for s, t in zip(bands, df, strict=True)) * energy).sum()
            lower += energy.sum()
        product *= (upper / lower) ** weight
    return float(product)


def q_sf(f: Array, a: Array, b: Array) -> float:
    def differences(x: Array) -> list[Array]:
        return [np.diff(x, axis=1), np.diff(x, axis=0), x[1:, 1:] - x[:-1, :-1], x[1:, :-1] - x[:-1, 1:]]

    def frequency(parts: list[Array]) -> float:
        weights = (1, 1, 1 / np.sqrt(2), 1 / np.sqrt(2))
        return np.sqrt(sum(w * (part**2).sum() for w, part in zip(weights, parts, strict=True)) / f.size)

    best = [np.maximum(np.abs(x), np.abs(y)) for x, y in zip(differences(a), differences(b), strict=True)]
    return float((frequency(differences(f)) - frequency(best)) / frequency(best))


def sensed(x: Array, divisor: float, sensitivity: str) -> Array:
    rows, columns = x.shape
    u, v = (np.arange(n) - n // 2 for n in (columns, rows))
    r = np.hypot(u[None] * 2 / divisor, v[:, None] * 2 / divisor)
    if sensitivity == "mannos":
        csf = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    else:
        csf = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    return fft.ifft2(fft.ifftshift(fft.fftshift(fft.fft2(x)) * csf)).real


def q_cv(f: Array, a: Array, b: Array) -> float:
    def blocks(x: Array) -> Array:
        x = np.pad(x, ((0, -x.shape[0] % 16), (0, -x.shape[1] % 16)))
        return x.reshape(x.shape[0] // 16, 16, x.shape[1] // 16, 16).swapaxes(1, 2).reshape(-1, 256)

    upper = lower = 0.0
    for x in (a, b):
        saliency = (blocks(np.hypot(*sobel(stretch(x), "constant"))) ** 5).sum(1)
        error = (blocks(sensed(stretch(x) - stretch(f), 8, "mannos")) ** 2).mean(1)
        upper, lower = upper + (saliency * error).sum(), lower + saliency.sum()
    return float(upper / lower)


def q_cb(f: Array, a: Array, b: Array) -> float:
    def contrast(x: Array) -> Array:
        y, x = sensed(stretch(x), 30, "dog"), np.mgrid[-15:16, -15:16]
        near, far = (np.exp(-(x**2).sum(0) / (2 * s**2)) / (2 * np.pi * s**2) for s in (2, 4))
        c = np.abs(signal.fftconvolve(y, near, mode="same") / signal.fftconvolve(y, far, mode="same") - 1)
        return c**3 / (c**2 + 1e-4)

    pf, pa, pb = contrast(f), contrast(a), contrast(b)
    score = sum(p**2 * np.minimum(p, pf) / np.maximum(p, pf) for p in (pa, pb)) / (pa**2 + pb**2)
    return float(score.mean())


def phase_congruency(image: Array) -> tuple[Array, Array, Array]:
    rows, columns = image.shape
    y, x = ((np.arange(n) - n // 2) / (n - n % 2) for n in (rows, columns))
    y, x = y[:, None], x[None]
    radius, theta = fft.ifftshift(np.hypot(x, y)), fft.ifftshift(np.arctan2(-y, x))
    radius[0, 0] = 1
    ry, rx = ((np.arange(n) - n // 2) / n for n in (rows, columns))
    low = fft.fftshift(1 / (1 + (np.hypot(rx[None], ry[:, None]) / 0.45) ** 30))
    spectrum = fft.fft2(image)
    energies = amplitudes = xx = yy = xy = 0.0
    for orientation in range(6):
        angle = orientation * np.pi / 6
        turn = np.abs(np.arctan2(np.sin(theta - angle), np.cos(theta - angle)))
        spread = np.exp(-(turn**2) / (2 * (np.pi / 6 / 1.2) ** 2))
        responses, impulses, finest = [], [], None
        for scale in range(4):
            bank = np.exp(-(np.log(radius * 3 * 2.1**scale) ** 2) / (2 * np.log(0.55) ** 2)) * low
            bank[0, 0] = 0
            bank = bank * spread
            finest = bank if finest is None else finest
            impulses.append(fft.ifft2(bank).real * np.sqrt(image.size))
            responses.append(fft.ifft2(spectrum * bank))
        amplitude = np.abs(responses)
        mean = np.sum(responses, axis=0)
        mean = mean / (np.abs(mean) + 1e-4)
        energy = sum(
            r.real * mean.real + r.imag * mean.imag - np.abs(r.real * mean.imag - r.imag * mean.real) for r in responses
        )
        power = -np.median(amplitude[0] ** 2) / np.log(0.5) / (finest**2).sum()
        own = sum((h**2).sum() for h in impulses)
        mutual = sum((impulses[i] * impulses[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * power * own + 4 * power * mutual) / 2)
        threshold = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7
        width = amplitude.sum(0) / (amplitude.max(0) + 1e-4) / 4
        energy = np.maximum(energy - threshold, 0) / (1 + np.exp((0.5 - width) * 10))
        energies, amplitudes = energies + energy, amplitudes + amplitude.sum(0)
        px, py = energy / amplitude.sum(0) * np.cos(angle), energy / amplitude.sum(0) * np.sin(angle)
        xx, yy, xy = xx + px**2 / 3, yy + py**2 / 3, xy + px * py / 6
    root = np.sqrt(xy**2 + (xx - yy) ** 2) + 1e-4
    return energies / (amplitudes + 1e-4), (xx + yy + root) / 2, (xx + yy - root) / 2


def q_p(f: Array, a: Array, b: Array) -> float:
    pf, pa, pb = (phase_congruency(x) for x in (f, a, b))
    best = [np.where(pa[0] > pb[0], x, y) for x, y in zip(pa, pb, strict=True)]
    product, window = 1.0, gauss(11, 1.5)

    def same(x: Array) -> Array:
        return signal.convolve2d(x, window, mode="same")

    for feature in range(3):
        scores = []
        for candidate in (pa, pb, best):
            mask, y = candidate[0] > 0.1, pf[feature]
            x = candidate[feature] * mask
            vx, vy = same(x * x) - same(x) ** 2, same(y * y) - same(y) ** 2
            like = (same(x * y) - same(x) * same(y) + 1e-4) / (np.sqrt(np.abs(vx * vy)) + 1e-4)
            scores.append(like * mask)
        product *= np.max(scores, axis=0).sum() / (best[0] > 0.1).sum()
    return float(product)
