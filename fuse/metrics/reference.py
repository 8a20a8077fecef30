"""Metrics against the ideal result, where a data set has one."""

from jaxtyping import Float
from torch import Tensor

from fuse.metrics import difference, structure
from fuse.metrics.levels import Image, Scores
from fuse.metrics.memo import Memo

FRAME = 8  # pixels; the blurred regions of MFI-WHU were filtered with zeros outside, which darkens the outermost rings


def mse_ref(fused: Image, reference: Image, *, memo: Memo | None = None) -> Scores:
    """Mean squared difference to the reference, squared grey levels, 0..65025. Lower is better."""
    return difference.mse(fused, [reference], memo=memo)


def rmse_ref(fused: Image, reference: Image, *, memo: Memo | None = None) -> Scores:
    """Root of the mean squared difference to the reference, grey levels, 0..255. Lower is better."""
    return difference.rmse(fused, [reference], memo=memo)


def psnr_ref(fused: Image, reference: Image, *, memo: Memo | None = None) -> Scores:
    """10 log10(255^2 / MSE) to the reference, in dB; infinite where they are equal. Higher is better."""
    return difference.psnr(fused, [reference], memo=memo)


def ssim_ref(fused: Image, reference: Image, *, memo: Memo | None = None) -> Scores:
    """SSIM to the reference (11x11 Gaussian, sigma 1.5, valid, range 255), -1..1. Higher is better."""
    return structure.ssim(fused, [reference], memo=memo)


def inner(image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
    """The image without the outer 8 pixels of every side."""
    return image[..., FRAME:-FRAME, FRAME:-FRAME]


def psnr_inner(fused: Image, reference: Image, *, memo: Memo | None = None) -> Scores:
    """PSNR to the reference with the outer 8 pixels of every side cut off, in dB. Higher is better.

    For data whose sources have a faulty frame (MFI-WHU): there the whole-picture PSNR mostly measures the frame.
    """
    return difference.psnr(inner(fused), [inner(reference)], memo=memo)
