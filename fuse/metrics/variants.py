"""Every named form of a metric: the names of the specification (`SSIM/cddfuse`, `AG/forward-mn`) and the functions."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from fuse import metrics
from fuse.errors import InputError
from fuse.metrics import legacy, zoo
from fuse.metrics.artifacts import q_g_petrovic
from fuse.metrics.levels import Image, Images, Scores
from fuse.metrics.steerable import vif_wavelet

Variant = Callable[[Image, Images], Scores]


def _alone(function: Callable[[Image], Scores]) -> Variant:
    """A one-picture statistic in the form of the others."""

    def of_fused(fused: Image, _: Images) -> Scores:
        return function(fused)

    return of_fused


def _times(function: Variant, factor: float) -> Variant:
    def scaled(fused: Image, sources: Images) -> Scores:
        return function(fused, sources) * factor

    return scaled


def _plus(function: Variant, term: float) -> Variant:
    def shifted(fused: Image, sources: Images) -> Scores:
        return function(fused, sources) + term

    return shifted


def _on(function: Variant, whole: float) -> Variant:
    """On levels 0..whole: for metrics that should not depend on the scale, but do through rounding and equality."""

    def of_scaled(fused: Image, sources: Images) -> Scores:
        return function(fused.double() / 255 * whole, [source.double() / 255 * whole for source in sources])

    return of_scaled


VARIANTS: dict[str, Variant] = {
    "EN/default": _alone(metrics.en),
    "EN/zoo": _alone(zoo.en_guarded),
    "SD/default": _alone(metrics.sd),
    "SD/sample": _alone(partial(metrics.sd, sample=True)),
    "SD/legacy-uint8": _alone(legacy.sd_uint8),
    "SF/default": _alone(metrics.sf),
    "SF/div-mn": _alone(partial(metrics.sf, whole=True)),
    "SF/div-mn@rgb-vifb-bug": _alone(legacy.sf_across_channels),
    "SF/unit": _times(_alone(metrics.sf), 1 / 255),
    "AG/default": _alone(metrics.ag),
    "AG/mean": _alone(partial(metrics.ag, divisor="whole")),
    "AG/forward": _alone(legacy.ag_forward),
    "AG/forward-mn": _alone(partial(legacy.ag_forward, whole=True)),
    "EI/default": _alone(metrics.ei),
    "EI/zero-pad": _alone(partial(metrics.ei, border="zeros")),
    "EPI/default": metrics.epi,
    "MI/default": metrics.mi,
    "MI/nats": legacy.mi_nats,
    "MI/minmax-nats": partial(legacy.mi_nats, stretch=True),
    "MI/tang": legacy.mi_saturated,
    "MI/legacy-2EN": legacy.mi_two_entropies,
    "NMI/default": metrics.nmi,
    "NMI/zoo": zoo.nmi_of_sources,
    "CE/default": metrics.ce,
    "Q_NCIE/default": metrics.q_ncie,
    "Q_NCIE/zoo": zoo.q_ncie_linear,
    "Q_TE/default": metrics.q_te,
    "Q_TE/liu": legacy.q_te_swapped,
    "Q_TE/nava": legacy.q_te_nava,
    "Q_TE/zoo": zoo.q_te_entropies,
    "MSE/default": metrics.mse,
    "MSE/unit": _times(metrics.mse, 1 / 255**2),
    "RMSE/default": metrics.rmse,
    "RMSE/vifb": legacy.rmse_vifb,
    "PSNR/default": metrics.psnr,
    "PSNR/peak-fused": legacy.psnr_peak_fused,
    "PSNR/mean-of-two": partial(metrics.psnr, combine="mean"),
    "PSNR/tang": _plus(metrics.psnr, 20 * np.log10(255)),
    "PSNR/vifb": legacy.psnr_vifb,
    "CC/default": metrics.cc,
    "SCD/default": metrics.scd,
    "SSIM/default": metrics.ssim,
    "SSIM/sum": partial(metrics.ssim, combine="sum"),
    "SSIM/matlab": partial(metrics.ssim, border="replicate"),
    "SSIM/tang": partial(metrics.ssim, border="replicate", data_range=1.0),
    "SSIM/cddfuse": legacy.ssim_cddfuse,
    "SSIM/x255": legacy.ssim_x255,
    "SSIM/skimage-uniform7": legacy.ssim_box,
    "MS-SSIM/default": metrics.ms_ssim,
    "MS-SSIM/sum": partial(metrics.ms_ssim, combine="sum"),
    "MS-SSIM/lib-piq": legacy.ms_ssim_piq,
    "MS-SSIM/lib-sewar": legacy.ms_ssim_sewar,
    "MS-SSIM/lib-torchmetrics": legacy.ms_ssim_torchmetrics,
    "MS-SSIM/legacy-x255-sum": legacy.ms_ssim_x255,
    "MEF-SSIM/default": metrics.mef_ssim,
    "MEF-SSIM/single": partial(metrics.mef_ssim, scales=1),
    "VIF/default": metrics.vif,
    "VIF/default(float32)": metrics.vif,
    "VIF/mean": partial(metrics.vif, combine="mean"),
    "VIF/wavelet": vif_wavelet,
    "VIF/legacy-wavelet-unit-mean": partial(vif_wavelet, combine="mean", unit=True),
    "VIF/legacy-uint8": legacy.vif_uint8,
    "VIFF/default": metrics.viff,
    "Qabf/default": metrics.q_g,
    "Qabf/default@rgb": _on(metrics.q_g, 255**2),  # VIFB takes 0..255 for 0..1
    "Qabf/petrovic": q_g_petrovic,
    "Qabf/liu": legacy.q_g_local,
    "Qabf/survey2020": legacy.q_g_survey,
    "Qabf/symmetric": legacy.q_g_symmetric,
    "Qabf/unit": _on(metrics.q_g, 1),
    "Labf/default": metrics.l_abf,
    "Nabf/default": metrics.n_abf,
    "Nabf/petrovic": partial(metrics.n_abf, petrovic=True),
    "Nabf/unit": _on(metrics.n_abf, 1),
    "Nabf/zoo": zoo.n_abf_strong,
    "FMI/edge": metrics.fmi_edge,
    "FMI/raw": metrics.fmi_raw,
    "FMI/gradient": metrics.fmi_gradient,
    "FMI/dct": metrics.fmi_dct,
    "FMI/w": metrics.fmi_w,
    "Q_S/default": metrics.q_s,
    "Q_S/uiqi": partial(metrics.q_s, index="uiqi"),
    "Q_W/default": metrics.q_w,
    "Q_W/uiqi": partial(metrics.q_w, index="uiqi"),
    "Q_E/default": metrics.q_e,
    "Q_E/uiqi": partial(metrics.q_e, index="uiqi"),
    "Q_E/mefb-edge-only": partial(metrics.q_e, edges_only=True),
    "Q_C/default": metrics.q_c,
    "Q_Y/default": metrics.q_y,
    "Q_Y/survey2020": partial(metrics.q_y, flat="alike"),
    "Q_CV/default": metrics.q_cv,
    "Q_CB/default": metrics.q_cb,
    "Q_CB/mefb-uint8": _on(metrics.q_cb, 1),
    "Q_P/default": metrics.q_p,
    "Q_M/default": metrics.q_m,
    "Q_SF/default": metrics.q_sf,
}

Array = Num[np.ndarray, "h w *channels"]


def luma(image: Array) -> Num[np.ndarray, "h w"]:
    """Grey levels of an 8-bit picture: floor(0.298936 R + 0.587043 G + 0.114021 B + 0.5), as MATLAB's `rgb2gray`."""
    if image.ndim == 2:
        return image
    red, green, blue = np.moveaxis(image[..., :3].astype(np.float64), -1, 0)
    return np.floor(0.298936 * red + 0.587043 * green + 0.114021 * blue + 0.5).astype(image.dtype)


def _grey(image: Array) -> Tensor:
    return torch.from_numpy(np.array(luma(image)))[None, None]


def _channels(image: Array) -> Tensor:
    """The channels as a batch; a grey picture three times."""
    colour = image if image.ndim == 3 else np.stack([image] * 3, -1)
    return torch.from_numpy(np.array(colour[..., :3].transpose(2, 0, 1)))[:, None]


def _centre(image: Array, side: int = 48) -> Tensor:
    """The central 48x48 pixels."""
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return _grey(image[top : top + side, left : left + side])


PLACES: dict[str, Callable[[Array], Tensor]] = {
    "": _grey,
    "gray": _grey,
    "rgb": _channels,
    "rgb-vifb-bug": _channels,
    "crop48": _centre,
}


def golden(metric: str, variant: str) -> Callable[[Array, Array, Array], float]:
    """The function `(fused, a, b) -> value` on 8-bit arrays (h, w) or (h, w, 3) of a named variant of a metric.

    `variant` may end in `@gray` (as without), `@rgb` (mean over the channels, a grey picture counting as three equal
    ones) or `@crop48` (the central 48x48 pixels).

    Raises:
        InputError: there is no such metric, variant or place.
    """
    name, _, place = variant.partition("@")
    function = VARIANTS.get(f"{metric}/{variant}", VARIANTS.get(f"{metric}/{name}"))
    if function is None or place not in PLACES:
        known = [key for key in VARIANTS if key.startswith(f"{metric}/")] or list(VARIANTS)
        raise InputError(
            f"no variant {metric}/{variant}; there is {', '.join(known)}, each with @gray, @rgb or @crop48"
        )
    view = PLACES[place]
    return lambda fused, a, b: function(view(fused), [view(a), view(b)]).mean().item()
