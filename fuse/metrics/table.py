"""The table of all metrics."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from fuse.metrics import difference, gradient, information, invented, reference, statistics, structure


class Metric(NamedTuple):
    """What is known of a metric besides its formula.

    `uses`: what the function takes beside the fused picture. `better`: +1 higher, -1 lower, 0 closer to zero.
    `min_side`: the smallest height and width in pixels it is defined for.
    """

    name: str
    function: Callable[..., Tensor]
    uses: Literal["fused", "sources", "reference"]
    better: int
    unit: str
    range: str
    min_side: int
    summary: str
    source: str


_ROWS = (
    Metric("mean", statistics.mean, "fused", 0, "level", "0..255", 1, "exposure; blind to everything else", ""),
    Metric("en", statistics.en, "fused", 1, "bit", "0..8", 1, "spread of levels; noise raises it", "Shannon 1948"),
    Metric("sd", statistics.sd, "fused", 1, "level", "0..127.5", 1, "contrast; noise raises it", ""),
    Metric("sf", statistics.sf, "fused", 1, "level", "0..", 2, "activity; noise raises it", "Eskicioglu & Fisher 1995"),
    Metric("ag", statistics.ag, "fused", 1, "level", "0..", 2, "sharpness; noise raises it", "Cui et al. 2015"),
    Metric("mi", information.mi, "sources", 1, "bit", "0..16", 1, "levels in common; a copy wins", "Qu 2002"),
    Metric("mse", difference.mse, "sources", -1, "level^2", "0..65025", 1, "best for the mean of the sources", ""),
    Metric(
        "rmse", difference.rmse, "sources", -1, "level", "0..255", 1, "close to best for the mean", "Ma et al. 2019"
    ),
    Metric("psnr", difference.psnr, "sources", 1, "dB", "0..", 1, "best for the mean of the sources", ""),
    Metric("ssim", structure.ssim, "sources", 1, "", "-1..1", 11, "structure; the mean does well", "Wang et al. 2004"),
    Metric("q_g", gradient.q_g, "sources", 1, "", "0..1", 1, "edges kept", "Xydeas & Petrovic 2000"),
    Metric("brightness_shift", invented.brightness_shift, "sources", 0, "level", "-255..255", 1, "exposure", "ours"),
    Metric("mse_ref", reference.mse_ref, "reference", -1, "level^2", "0..65025", 1, "", ""),
    Metric("rmse_ref", reference.rmse_ref, "reference", -1, "level", "0..255", 1, "", ""),
    Metric("psnr_ref", reference.psnr_ref, "reference", 1, "dB", "0..", 1, "", ""),
    Metric("ssim_ref", reference.ssim_ref, "reference", 1, "", "-1..1", 11, "", "Wang et al. 2004"),
    Metric("psnr_inner", reference.psnr_inner, "reference", 1, "dB", "0..", 17, "PSNR without the frame", "ours"),
)

METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}
