"""All plain metrics by the names of `fuse.metrics.METRICS`: functions of `fused` or `fused, a, b`, float64 arrays."""

from collections.abc import Callable

import numpy as np
import plain
import plain_body
import plain_transforms
from plain import Array
from scipy import fft, ndimage


def invented(f: Array, a: Array, b: Array) -> float:
    above = f > np.maximum(*(ndimage.maximum_filter(x, 3) for x in (a, b))) + 2
    below = f < np.minimum(*(ndimage.minimum_filter(x, 3) for x in (a, b))) - 2
    return float((above | below).mean())


def ghost(f: Array, a: Array, b: Array) -> float:
    def echoes(block: Array) -> tuple[Array, float]:
        gx, gy = block[0], block[1]
        rows, columns = gx.shape
        found = []
        for down in range(9):
            for across in range(-8, 9):
                if not 4 <= down**2 + across**2 <= 64 or (down == 0 and across <= 0):
                    continue
                first = np.s_[: rows - down, max(0, -across) : columns - max(0, across)]
                second = np.s_[down:, max(0, across) : columns + min(0, across)]
                found.append(sum((g[first] * g[second]).sum() for g in (gx, gy)))
        energy = (gx**2 + gy**2).sum()
        return np.array(found) / max(energy, 1e-300), energy

    fields = [np.stack([np.diff(x, axis=1)[1:], np.diff(x, axis=0)[:, 1:]]) for x in (f, a, b)]
    upper = lower = 0.0
    for top in range(0, fields[0].shape[1], 64):
        for left in range(0, fields[0].shape[2], 64):
            (mine, energy), *others = (echoes(x[:, top : top + 64, left : left + 64]) for x in fields)
            excess = (mine - np.max([echo for echo, _ in others], axis=0)).max()
            upper, lower = upper + max(excess, 0.0) * energy, lower + energy
    return float(upper / lower)


def _both(of: Callable[[Array, Array], float]) -> Callable[..., float]:
    return lambda f, a, b: (of(a, f) + of(b, f)) / 2


def _featured(extract: Callable[[Array], Array]) -> Callable[..., float]:
    # on levels 0..1, as published: of equal or flat neighbourhoods rounding remains
    return lambda f, a, b: plain.fmi(extract(f / 255), extract(a / 255), extract(b / 255))


PLAIN: dict[str, Callable[..., float]] = {
    "mean": lambda f: float(f.mean()),
    "sd": lambda f: float(f.std()),
    "mi": lambda f, a, b: plain.information(a, f) + plain.information(b, f),
    "rmse": _both(lambda x, f: float(np.sqrt(((x - f) ** 2).mean()))),
    "psnr": lambda f, a, b: float(10 * np.log10(255**2 / plain.mse(f, a, b))),
    "ssim": _both(plain.ssim_of),
    "l_abf": lambda f, a, b: plain.petrovic(f, a, b)[0],
    "n_abf": lambda f, a, b: plain.petrovic(f, a, b)[1],
    "fmi_edge": _featured(plain.edge),
    "fmi_raw": _featured(lambda x: x),
    "fmi_gradient": _featured(lambda x: np.gradient(x, axis=1)),
    "fmi_dct": _featured(lambda x: fft.dctn(x, norm="ortho")),
    "fmi_w": _featured(plain.meyer),
    "brightness_shift": lambda f, a, b: float(f.mean() - (a.mean() + b.mean()) / 2),
    "invented": invented,
    "ghost": ghost,
}
_NAMES = {
    plain: "en sf ag ei nmi ce q_ncie q_te mse cc scd ms_ssim mef_ssim q_s q_w q_e q_c q_y vif viff q_g epi",
    plain_transforms: "q_m q_sf q_cv q_cb q_p",
    plain_body: "en_body sd_body mi_body scd_body ssim_body ssim_min_body vif_body vif_min_body q_g_body q_g_min_body",
}
PLAIN |= {name: getattr(module, name) for module, names in _NAMES.items() for name in names.split(" ")}
