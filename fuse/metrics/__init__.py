"""Metrics of image fusion on batches of grey levels 0..255: `measure`, the table `METRICS`, every metric by name."""

from fuse.metrics.difference import mse, psnr, rmse
from fuse.metrics.gradient import q_g
from fuse.metrics.information import mi
from fuse.metrics.invented import brightness_shift
from fuse.metrics.measure import applicable, measure
from fuse.metrics.reference import mse_ref, psnr_inner, psnr_ref, rmse_ref, ssim_ref
from fuse.metrics.statistics import ag, en, mean, sd, sf
from fuse.metrics.structure import ssim
from fuse.metrics.table import METRICS, Metric

qabf = q_g

__all__ = [
    "METRICS",
    "Metric",
    "ag",
    "applicable",
    "brightness_shift",
    "en",
    "mean",
    "measure",
    "mi",
    "mse",
    "mse_ref",
    "psnr",
    "psnr_inner",
    "psnr_ref",
    "q_g",
    "qabf",
    "rmse",
    "rmse_ref",
    "sd",
    "sf",
    "ssim",
    "ssim_ref",
]
