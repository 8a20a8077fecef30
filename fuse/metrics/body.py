"""Metrics inside the body alone: medical pictures are mostly an empty background, which else decides the value."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from fuse.metrics.difference import scd
from fuse.metrics.fidelity import vif
from fuse.metrics.gradient import q_g
from fuse.metrics.information import mi
from fuse.metrics.levels import Image, Images, Scores, grey
from fuse.metrics.memo import Memo
from fuse.metrics.regions import regions
from fuse.metrics.statistics import en, sd
from fuse.metrics.structure import ssim

# Both from the 553 Harvard pairs of CT, PET and SPECT with MRI. Much noise of MRI around the head is below level 8, and
# the scatter of SPECT is joined to the head at lower levels; from 12 on dark soft tissue of MRI breaks off it.
LEVEL = 8
# Of the largest region. Apart from it lie scatter of up to 0.041, head rests of CT of up to 0.02, a nose of 0.052.
SPECK = 0.05


def body_mask(*sources: Image) -> Bool[Tensor, "b 1 h w"]:
    """Where the body is: any source above level 8, holes filled, regions below a twentieth of the largest left out.

    A hole is what cannot be left for the border of the picture without crossing the body; corners join neither pixels
    of a hole nor pixels of a region. Depends on no fused picture. All false where no source is above the level.
    Regions are found on the CPU, one picture after the other. Ours.
    """
    bright = torch.stack([grey(source) > LEVEL for source in sources]).any(0)
    found = torch.empty(bright.shape, dtype=torch.bool)
    for picture, into in zip(bright[:, 0].cpu(), found[:, 0], strict=True):
        into.copy_(_without_specks(_filled(picture)))
    return found.to(bright.device)


def _filled(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    empty, sizes = regions(~mask, corners=False)
    outside = torch.zeros(sizes.shape, dtype=torch.bool)
    outside[torch.cat([empty[0], empty[-1], empty[:, 0], empty[:, -1]])] = True
    return mask | ~outside[empty]


def _without_specks(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    labels, sizes = regions(mask, corners=False)
    sizes[0] = 0  # what is not in the mask
    return mask & (sizes >= SPECK * sizes.max())[labels]


def _row(image: Image, mask: Bool[Tensor, "b 1 h w"], index: int) -> Tensor:
    """The pixels of one picture that are in the mask, as a picture of one row."""
    return image[index : index + 1][mask[index : index + 1]].view(1, 1, 1, -1)


def _of_pixels(
    metric: Callable[[Image, Images, Memo], Scores], fused: Image, sources: Images, memo: Memo | None
) -> Scores:
    """A metric that does not know where pixels lie, of those of the body; NaN where there is none."""
    memo = memo or Memo()
    mask = memo(body_mask, *sources)
    values = []
    for index in range(fused.shape[0]):
        row, *rows = (memo(_row, image, mask, index) for image in (fused, *sources))
        undefined = torch.full((1,), torch.nan, dtype=torch.float64, device=fused.device)
        values.append(metric(row, rows, memo) if row.numel() else undefined)
    return torch.cat(values)


def en_body(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """EN inside the body: entropy -sum p log2 p of the histogram of the fused picture's pixels there, bits, 0..8.

    The body is where any source is above level 8, holes filled, regions below a twentieth of the largest left out
    (`fuse.metrics.body_mask`); it does not depend on the fused picture. Higher is better, but noise raises it too. NaN
    where there is no body. Not differentiable. Ours, after Shannon 1948.
    """
    return _of_pixels(lambda f, _, shared: en(f, memo=shared), fused, sources, memo)


def sd_body(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """SD inside the body: standard deviation of the fused picture's grey levels there (divisor their number), 0..127.5.

    The body is that of the sources: `fuse.metrics.body_mask`. The step from the background to the body, of which
    SD over all pixels mostly consists, is left out. Higher is better; blind to detail. NaN where there is no body.
    Differentiable. Ours.
    """
    return _of_pixels(lambda f, _, shared: sd(f, memo=shared), fused, sources, memo)


def mi_body(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """MI inside the body: H(S) + H(F) - H(S, F) of the pixels there, summed over the sources, bits, 0..8 per source.

    The body is that of the sources: `fuse.metrics.body_mask`. Higher is better; a copy of one source has the
    highest. NaN where there is no body. Not differentiable. Ours, after Qu et al. 2002.
    """
    return _of_pixels(lambda f, rows, shared: mi(f, rows, memo=shared), fused, sources, memo)


def scd_body(fused: Image, sources: Images, *, memo: Memo | None = None) -> Scores:
    """SCD inside the body: corr(F - B, A) + corr(F - A, B) over the pixels there, -2..2.

    The body is that of the sources: `fuse.metrics.body_mask`. Correlations over all pixels mostly tell the body
    from the background. With more sources as `scd`. Higher is better; the plain sum of the sources is the best there
    is. NaN where there is no body, or F equals a source there up to a constant. Differentiable. Ours, after Aslantas &
    Bendes 2015.

    Raises:
        InputError: fewer than two sources.
    """
    return _of_pixels(lambda f, rows, shared: scd(f, rows, memo=shared), fused, sources, memo)


def ssim_body(fused: Image, sources: Images, *, combine: str = "mean", memo: Memo | None = None) -> Scores:
    """SSIM inside the body: mean of the SSIM map of `ssim` over the windows whose middle is there, -1..1.

    The body is that of the sources: `fuse.metrics.body_mask`; windows at its edge see five pixels of what is
    outside. Averaged over the sources; `combine`: `min` for the worse one. Higher is better. Whether the background is
    0 or a faint grey, which decides SSIM over all pixels, counts at that edge only. NaN where there is no body.
    Differentiable. Ours, after Wang et al. 2004.
    """
    memo = memo or Memo()
    return ssim(fused, sources, combine=combine, mask=memo(body_mask, *sources), memo=memo)


def q_g_body(fused: Image, sources: Images, *, combine: str = "weighted", memo: Memo | None = None) -> Scores:
    """Q_G inside the body: sum(Q_k g_k) / sum(g_k) of `q_g` over the pixels there and the sources, 0..1.

    The body is that of the sources: `fuse.metrics.body_mask`; edges at its rim see one pixel of what is outside.
    `combine`: `min` for the worse source. Higher is better. NaN where no source has an edge in the body. Close to `q_g`
    where the background is 0 in the sources: there they have no edges. Differentiable. Ours, after Xydeas &
    Petrovic 2000.
    """
    memo = memo or Memo()
    return q_g(fused, sources, combine=combine, mask=memo(body_mask, *sources), memo=memo)


def vif_body(fused: Image, sources: Images, *, combine: str = "sum", memo: Memo | None = None) -> Scores:
    """VIF inside the body: information of `vif` summed over the windows, at four scales, whose middle is there, 0..2.

    The body is that of the sources: `fuse.metrics.body_mask`. The middle of a window at a coarse scale is the
    pixel that the pyramid keeps there, so the mask is sampled and not smoothed. Summed over the sources; `combine`:
    `min` for the worse one. Higher is better, above 1 per source where contrast was added. NaN where there is no body,
    or a source is constant there. Close to `vif` where the background is 0 in the sources: there is no information.
    Differentiable. Ours, after Sheikh & Bovik 2006.

    Raises:
        InputError: a side is below 41 pixels.
    """
    memo = memo or Memo()
    return vif(fused, sources, combine=combine, mask=memo(body_mask, *sources), memo=memo)
