"""Metrics of fused pictures on batches of grey levels 0..255: `measure`, the table `METRICS`, every metric by name."""

from fuse.metrics.artifacts import l_abf, n_abf
from fuse.metrics.body import body_mask, en_body, mi_body, q_g_body, scd_body, sd_body, ssim_body, vif_body
from fuse.metrics.difference import cc, mse, psnr, rmse, scd
from fuse.metrics.exposure import mef_ssim
from fuse.metrics.feature_information import fmi_dct, fmi_edge, fmi_gradient, fmi_raw, fmi_w
from fuse.metrics.fidelity import vif, viff
from fuse.metrics.gradient import ei, epi, q_g
from fuse.metrics.information import ce, mi, nmi, q_ncie, q_te
from fuse.metrics.invented import brightness_shift, ghost, invented
from fuse.metrics.learned import lpips, lpips_ref
from fuse.metrics.measure import applicable, measure
from fuse.metrics.memo import Memo
from fuse.metrics.perception import q_cb, q_cv
from fuse.metrics.phase import q_p
from fuse.metrics.reference import mse_ref, psnr_inner, psnr_ref, rmse_ref, ssim_ref
from fuse.metrics.saliency import q_c, q_e, q_s, q_w, q_y
from fuse.metrics.statistics import ag, en, mean, sd, sf
from fuse.metrics.structure import ms_ssim, ssim
from fuse.metrics.table import LEARNED, METRICS, Metric
from fuse.metrics.transform import q_m, q_sf

qabf = q_g

__all__ = [
    "LEARNED",
    "METRICS",
    "Memo",
    "Metric",
    "ag",
    "applicable",
    "body_mask",
    "brightness_shift",
    "cc",
    "ce",
    "ei",
    "en",
    "en_body",
    "epi",
    "fmi_dct",
    "fmi_edge",
    "fmi_gradient",
    "fmi_raw",
    "fmi_w",
    "ghost",
    "invented",
    "l_abf",
    "lpips",
    "lpips_ref",
    "mean",
    "measure",
    "mef_ssim",
    "mi",
    "mi_body",
    "ms_ssim",
    "mse",
    "mse_ref",
    "n_abf",
    "nmi",
    "psnr",
    "psnr_inner",
    "psnr_ref",
    "q_c",
    "q_cb",
    "q_cv",
    "q_e",
    "q_g",
    "q_g_body",
    "q_m",
    "q_ncie",
    "q_p",
    "q_s",
    "q_sf",
    "q_te",
    "q_w",
    "q_y",
    "qabf",
    "rmse",
    "rmse_ref",
    "scd",
    "scd_body",
    "sd",
    "sd_body",
    "sf",
    "ssim",
    "ssim_body",
    "ssim_ref",
    "vif",
    "vif_body",
    "viff",
]
