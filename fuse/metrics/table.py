"""The table of all metrics."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

from fuse.metrics.artifacts import l_abf, n_abf
from fuse.metrics.body import en_body, mi_body, q_g_body, scd_body, sd_body, ssim_body, vif_body
from fuse.metrics.difference import cc, mse, psnr, rmse, scd
from fuse.metrics.exposure import mef_ssim
from fuse.metrics.feature_information import fmi_dct, fmi_edge, fmi_gradient, fmi_raw, fmi_w
from fuse.metrics.fidelity import vif, viff
from fuse.metrics.gradient import ei, epi, q_g
from fuse.metrics.information import ce, mi, nmi, q_ncie, q_te
from fuse.metrics.invented import brightness_shift, ghost, invented
from fuse.metrics.learned import lpips, lpips_ref
from fuse.metrics.perception import q_cb, q_cv
from fuse.metrics.phase import q_p
from fuse.metrics.reference import mse_ref, psnr_inner, psnr_ref, rmse_ref, ssim_ref
from fuse.metrics.saliency import q_c, q_e, q_s, q_w, q_y
from fuse.metrics.statistics import ag, en, mean, sd, sf
from fuse.metrics.structure import ms_ssim, ssim
from fuse.metrics.transform import q_m, q_sf


class Metric(NamedTuple):
    """What is known of a metric besides its formula, which its function's docstring gives.

    `uses`: what the function takes beside the fused picture. `better`: +1 higher, -1 lower, 0 closer to zero, None
    neither. `range`: for two sources. `min_side`: the smallest height and width in pixels it is defined for.
    `summary`: what it tells and what it is blind to. `worst`: whether the value of the worse source alone is a metric
    too.
    """

    name: str
    function: Callable[..., Tensor]
    uses: Literal["fused", "sources", "reference"]
    better: int | None
    unit: str
    range: str
    min_side: int
    summary: str
    source: str
    worst: bool = False

    def improves(self, score: float, best: float) -> bool:
        """Whether `score` is better than `best`; never where the metric has no better."""
        if self.better == 0:
            return abs(score) < abs(best)
        return self.better is not None and self.better * score > self.better * best


_ROWS: dict[str, tuple[Metric, ...]] = {
    "One picture": (
        Metric("mean", mean, "fused", None, "level", "0..255", 1, "exposure; says nothing of anything else", ""),
        Metric(
            "en", en, "fused", 1, "bit", "0..8", 1, "spread of levels; noise and stretching raise it", "Shannon 1948"
        ),
        Metric("sd", sd, "fused", 1, "level", "0..127.5", 1, "contrast; blind to detail, noise raises it", ""),
        Metric("sf", sf, "fused", 1, "level", "0..", 2, "activity; noise and ringing raise it", "Eskicioglu 1995"),
        Metric("ag", ag, "fused", 1, "level", "0..", 2, "sharpness; noise and ringing raise it", "Cui 2015"),
        Metric("ei", ei, "fused", 1, "level", "0..", 1, "edges; noise and ringing raise it", "Rajalingam 2018"),
        Metric("en_body", en_body, "sources", 1, "bit", "0..8", 1, "en inside the body alone; noise raises it", "ours"),
        Metric("sd_body", sd_body, "sources", 1, "level", "0..127.5", 1, "sd inside the body; noise raises it", "ours"),
    ),
    "Histograms": (
        Metric("mi", mi, "sources", 1, "bit", "0..16", 1, "levels in common; a copy wins", "Qu 2002", True),
        Metric("nmi", nmi, "sources", 1, "", "0..2", 1, "Q_MI: mi normalised; a copy wins", "Hossny 2008", True),
        Metric("ce", ce, "sources", -1, "bit", "any", 1, "histograms; blind to where levels are", "", True),
        Metric("q_ncie", q_ncie, "sources", 1, "", ".8..1", 1, "levels in common, of the sources too", "Wang 2008"),
        Metric("q_te", q_te, "sources", 1, "", "0..", 1, "levels in common; a copy wins", "Cvejic 2006", True),
        Metric("mi_body", mi_body, "sources", 1, "bit", "0..16", 1, "mi inside the body alone; a copy wins", "ours"),
    ),
    "Differences": (
        Metric("mse", mse, "sources", -1, "level^2", "0..65025", 1, "the mean of the sources wins", "", True),
        Metric("rmse", rmse, "sources", -1, "level", "0..255", 1, "almost the mean wins", "Ma 2019", True),
        Metric("psnr", psnr, "sources", 1, "dB", "0..", 1, "the mean of the sources wins", "", True),
        Metric("cc", cc, "sources", 1, "", "-1..1", 1, "likeness; the mean does best; blind to contrast", "", True),
        Metric("scd", scd, "sources", 1, "", "-2..2", 1, "the sum wins; NaN for a copy", "Aslantas 2015", True),
        Metric("scd_body", scd_body, "sources", 1, "", "-2..2", 1, "scd inside the body; the sum wins", "ours"),
    ),
    "Structure": (
        Metric("ssim", ssim, "sources", 1, "", "-1..1", 11, "local structure; the mean does well", "Wang 2004", True),
        Metric("ms_ssim", ms_ssim, "sources", 1, "", "0..1", 176, "structure at five scales", "Wang 2003", True),
        Metric("mef_ssim", mef_ssim, "sources", 1, "", "0..1", 44, "best contrast; blind to brightness", "Ma 2015"),
        Metric("q_s", q_s, "sources", 1, "", "-1..1", 11, "structure of the livelier; noise is lively", "Piella 2003"),
        Metric("q_w", q_w, "sources", 1, "", "-1..1", 11, "q_s, lively places count more", "Piella 2003"),
        Metric("q_e", q_e, "sources", 1, "", "-1..1", 12, "q_w times q_w of the edges", "Piella 2003"),
        Metric("q_c", q_c, "sources", 1, "", "0..1", 7, "structure; unstable on flat areas", "Cvejic 2005"),
        Metric("q_y", q_y, "sources", 1, "", "0..1", 7, "structure of the better where they differ", "Yang 2008"),
        Metric("ssim_body", ssim_body, "sources", 1, "", "-1..1", 11, "ssim inside the body", "ours", True),
    ),
    "Information fidelity": (
        Metric(
            "vif",
            vif,
            "sources",
            1,
            "",
            "0..2+",
            41,
            "what the eye still gets; contrast raises it",
            "Sheikh 2006",
            True,
        ),
        Metric(
            "viff", viff, "sources", 1, "", "0..1+", 41, "vif of the worse source, place by place", "Han 2013", True
        ),
        Metric("vif_body", vif_body, "sources", 1, "", "0..2+", 41, "vif inside the body", "ours", True),
    ),
    "Edges": (
        Metric("q_g", q_g, "sources", 1, "", "0..1", 1, "Qabf: edges; blind to wrong weak ones", "Xydeas 2000", True),
        Metric("l_abf", l_abf, "sources", -1, "", "0..1", 2, "edges lost; noise lowers it", "Petrovic 2004"),
        Metric("n_abf", n_abf, "sources", -1, "", "0..1", 2, "edges added; 0 for a blurred picture", "Kumar 2013"),
        Metric("epi", epi, "sources", 1, "", "-1..1", 1, "likeness of the finest edges", "Sattar 1997", True),
        Metric("q_g_body", q_g_body, "sources", 1, "", "0..1", 1, "q_g inside the body", "ours", True),
    ),
    "Feature information": (
        Metric("fmi_edge", fmi_edge, "sources", 1, "", "0..1", 3, "thin edges (FMI_pixel)", "Haghighat 2014", True),
        Metric(
            "fmi_raw", fmi_raw, "sources", 1, "", "0..1", 3, "3x3 levels; blind to contrast", "Haghighat 2014", True
        ),
        Metric(
            "fmi_gradient", fmi_gradient, "sources", 1, "", "0..1", 3, "3x3 gradients across", "Haghighat 2014", True
        ),
        Metric("fmi_dct", fmi_dct, "sources", 1, "", "0..1", 3, "frequencies; blind to places", "Haghighat 2014", True),
        Metric("fmi_w", fmi_w, "sources", 1, "", "0..1", 3, "3x3 wavelet coefficients", "Haghighat 2014", True),
    ),
    "Transforms and the eye": (
        Metric("q_p", q_p, "sources", 1, "", "-1..1", 11, "features found by phase; blind to contrast", "Zhao 2007"),
        Metric("q_m", q_m, "sources", 1, "", "0..3", 4, "details equal to a few levels", "Wang 2008"),
        Metric("q_sf", q_sf, "sources", 0, "", "-1..", 2, "activity wanted; above 0: noise, ringing", "Zheng 2007"),
        Metric("q_cv", q_cv, "sources", -1, "", "0..65025", 1, "visible error; few blocks decide", "Chen 2007"),
        Metric("q_cb", q_cb, "sources", 1, "", "0..1", 1, "visible contrast kept", "Chen 2009"),
    ),
    "Faults": (
        Metric("brightness_shift", brightness_shift, "sources", 0, "level", "-255..255", 1, "exposure alone", "ours"),
        Metric("invented", invented, "sources", -1, "", "0..1", 1, "pixels no source explains", "ours"),
        Metric("ghost", ghost, "sources", -1, "", "0..0.5", 4, "double contours up to 8 pixels apart", "ours"),
    ),
    "Reference": (
        Metric("mse_ref", mse_ref, "reference", -1, "level^2", "0..65025", 1, "error; blind to structure", ""),
        Metric("rmse_ref", rmse_ref, "reference", -1, "level", "0..255", 1, "error; blind to structure", ""),
        Metric("psnr_ref", psnr_ref, "reference", 1, "dB", "0..", 1, "error; blind to structure", ""),
        Metric("psnr_inner", psnr_inner, "reference", 1, "dB", "0..", 17, "error without the outer 8 pixels", "ours"),
        Metric("ssim_ref", ssim_ref, "reference", 1, "", "-1..1", 11, "local structure", "Wang 2004"),
    ),
}
_OF_ONE = {"0..16": "0..8", "0..2": "0..1", "-2..2": "-1..1", "0..2+": "0..1+"}


def _worst(metric: Metric) -> Metric:
    """The value of the worse source alone, which a picture that forgets one source cannot raise."""
    word = "min" if metric.better == 1 else "max"
    stem, inside, _ = metric.name.partition("_body")
    return metric._replace(
        name=f"{stem}_{word}{inside}",
        function=partial(metric.function, combine=word),
        range=_OF_ONE.get(metric.range, metric.range),
        summary=f"{metric.name} of the worse source alone: a copy of the other does not help",
        worst=False,
    )


FAMILIES: dict[str, tuple[Metric, ...]] = {
    title: tuple(form for row in rows for form in ((row, _worst(row)) if row.worst else (row,)))
    for title, rows in _ROWS.items()
}
METRICS: dict[str, Metric] = {row.name: row for rows in FAMILIES.values() for row in rows}

# Measured only where they are named: they need a network that somebody else trained.
LEARNED: dict[str, Metric] = {
    row.name: row
    for row in (
        Metric("lpips", lpips, "sources", -1, "", "0..", 31, "perceptual distance; a copy does well", "Zhang 2018"),
        Metric("lpips_ref", lpips_ref, "reference", -1, "", "0..", 31, "perceptual distance", "Zhang 2018"),
    )
}
