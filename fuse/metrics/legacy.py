"""Forms of the metrics that published tables or other libraries use and that should not be used for new ones.

Each takes and returns what the canonical metric does. They exist to reproduce numbers, digit by digit, arithmetic of
8 or 32 bits, sums in a certain order and mistakes included.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor

from fuse.metrics.difference import decibel, squared_error
from fuse.metrics.fidelity import WINDOWS, kept_and_there, model, pyramid
from fuse.metrics.gradient import sobel
from fuse.metrics.information import entropy, histogram, image_entropy, joint_histogram, mi
from fuse.metrics.levels import Image, Images, Scores, combined, grey, levels, stretched, total
from fuse.metrics.levels import mean as average
from fuse.metrics.memo import Memo
from fuse.metrics.statistics import sf
from fuse.metrics.structure import SCALE_WEIGHTS, ssim_map
from fuse.metrics.windows import box, separable, smooth

EPSILON = 2.0**-52  # of MATLAB
NAVA_ORDER = 0.43137


def ag_forward(fused: Image, *, whole: bool = False) -> Scores:
    """AG of forward differences on the (h-1) x (w-1) top left block, over their number; `whole`: over h w."""
    image = grey(fused)
    across = image[..., :-1, 1:] - image[..., :-1, :-1]
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    strength = torch.sqrt((across**2 + down**2) / 2)
    return total(strength) / (fused.shape[-2] * fused.shape[-1]) if whole else average(strength)


def sd_uint8(fused: Image) -> Scores:
    """SD in MATLAB's saturating 8-bit arithmetic: F - mean is cut to 0..255 and rounded, its square cut to 255."""
    image = grey(fused)
    above = torch.floor((image - image.mean((1, 2, 3), keepdim=True)).clamp(0, 255) + 0.5)
    return torch.sqrt(average((above**2).clamp(max=255)))


def mi_two_entropies(fused: Image, sources: Images) -> Scores:
    """What hli prints as MI: twice the entropy of F, whatever the sources."""
    return 2 * entropy(histogram(fused)) * torch.ones(len(sources[0]), device=fused.device)


def mi_saturated(fused: Image, sources: Images) -> Scores:
    """MI of Tang's code: level 255 counts as 254 in the joint histogram, but not in the marginals."""
    memo, result = Memo(), levels(fused)
    values = []
    for source in (levels(source) for source in sources):
        alone = memo(image_entropy, source, memo) + memo(image_entropy, result, memo)
        values.append(alone - entropy(joint_histogram(source.clamp(max=254), result.clamp(max=254))))
    return combined(values, "sum")


def mi_nats(fused: Image, sources: Images, *, stretch: bool = False) -> Scores:
    """MI with natural logarithms; `stretch`: every picture first stretched to 0..255 by its own extremes."""
    if stretch:
        fused, sources = stretched(fused), [stretched(source) for source in sources]
    return mi(fused, sources) * math.log(2)


def _swapped_tsallis(first: Image, second: Image, order: float) -> Scores:
    """Tsallis information whose p(i, j) stands over the marginals of j and i, not of i and j."""
    joint = joint_histogram(first, second)
    apart = joint.sum(1)[:, :, None] * joint.sum(2)[:, None, :]
    there = (joint > 0) & (apart > 0)
    terms = torch.where(there, joint**order * torch.where(there, apart, 1.0) ** (1 - order), 0.0)
    return (1 - terms.flatten(1).sum(1)) / (1 - order)


def q_te_swapped(fused: Image, sources: Images) -> Scores:
    """Q_TE as Liu and MEFB compute it: marginals swapped, so no divergence at all."""
    result = stretched(fused)
    return combined([_swapped_tsallis(stretched(source), result, 1.85) for source in sources], "sum")


def q_te_nava(fused: Image, sources: Images) -> Scores:
    """Q_TE of order 0.43137 (Liu's third), marginals swapped, over H(A)^q + H(B)^q + T(A, B)."""
    memo, result, images = Memo(), stretched(fused), [stretched(source) for source in sources]
    told = combined([_swapped_tsallis(image, result, NAVA_ORDER) for image in images], "sum")
    alone = combined([image_entropy(image, memo) ** NAVA_ORDER for image in images], "sum")
    return told / (alone + _swapped_tsallis(images[0], images[1], NAVA_ORDER))


def psnr_peak_fused(fused: Image, sources: Images) -> Scores:
    """PSNR with the largest level of F as the peak (CDDFuse, Ma et al. 2019)."""
    memo = Memo()
    error = combined([squared_error(fused, source, memo) for source in sources], "mean")
    return decibel(error, grey(fused).amax((1, 2, 3)))


def _vifb_rmse(fused: Image, sources: Images) -> list[Scores]:
    memo, pixels = Memo(), fused.shape[-2] * fused.shape[-1]
    return [torch.sqrt(squared_error(fused, source, memo) / pixels) for source in sources]


def rmse_vifb(fused: Image, sources: Images) -> Scores:
    """RMSE of VIFB: root of the sum of squares over h w, which depends on the image size."""
    return combined(_vifb_rmse(fused, sources), "mean")


def psnr_vifb(fused: Image, sources: Images) -> Scores:
    """PSNR of VIFB, whose MSE is the mean of `rmse_vifb`."""
    return decibel(combined(_vifb_rmse(fused, sources), "mean"))


def sf_across_channels(fused: Image) -> Scores:
    """SF of VIFB on colour: the channels (the batch) side by side as one image, so differences cross their borders."""
    wide = torch.cat(list(grey(fused)), -1)[None]
    return sf(wide, whole=True).expand(fused.shape[0])


def _filled_edges(fused: Image, sources: Images) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Relative strength, turn |da| and strength of each source, zeros of X and g become 1e-5 (Liu et al. 2012).

    Those of F only after the first source was compared, as there.
    """

    def edges(image: Tensor) -> tuple[Tensor, Tensor]:
        across, down = sobel(grey(image))
        return torch.sqrt(across**2 + down**2), torch.atan(down / torch.where(across == 0, 1e-5, across))

    strength_fused, angle_fused = edges(fused)
    filled = torch.where(strength_fused == 0, 1e-5, strength_fused)
    for strength, angle in (edges(source) for source in sources):
        weight = torch.where(strength == 0, 1e-5, strength)
        relative = torch.where(strength > strength_fused, strength_fused / weight, weight / filled)
        strength_fused = filled
        yield relative, torch.abs(angle - angle_fused), weight


def q_g_local(fused: Image, sources: Images) -> Scores:
    """Q_G of Liu et al. 2012, 0..1: the weighted ratio averaged over the pixels.

    Other constants too (sigmoids 1, -10, 0.5 and 1, -20, 0.75), and orientation | |da| - pi/2 | 2 / pi.
    """
    kept, weights = torch.zeros(()), torch.zeros(())
    for relative, turn, weight in _filled_edges(fused, sources):
        alignment = torch.abs(turn - math.pi / 2) * 2 / math.pi
        like = torch.sigmoid(10 * (relative - 0.5)) * torch.sigmoid(20 * (alignment - 0.75))
        kept, weights = kept + like * weight, weights + weight
    return average(kept / weights)


def q_g_survey(fused: Image, sources: Images) -> Scores:
    """Q_G of the multi-focus survey (Liu et al. 2020), 0..1: as `q_g` but for zeros, which become 1e-5."""
    kept, weights = torch.zeros(()), torch.zeros(())
    for relative, turn, weight in _filled_edges(fused, sources):
        like = 0.9994 * torch.sigmoid(15 * (relative - 0.5))
        like = like * 0.9879 * torch.sigmoid(22 * (1 - turn * 2 / math.pi - 0.8))
        kept, weights = kept + like * weight, weights + weight
    return total(kept) / total(weights)


def _sobel_of_unit(image: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel responses (down, across), summed column by column from the right, each from its lower end."""
    height, width = image.shape[-2:]
    down, across = torch.zeros_like(image), torch.zeros_like(image)
    for column in (2, 1, 0):
        for row in (2, 1, 0):
            part = padded[..., row : row + height, column : column + width]
            down = down + (row - 1) * (1, 2, 1)[column] * part
            across = across + (column - 1) * (1, 2, 1)[row] * part
    return down, across


def q_g_symmetric(fused: Image, sources: Images) -> Scores:
    """Q_G with atan2, borders repeated and no special cases, on levels / 255 (Jilei), 0..1.

    What is 0 or equal on integers is rounding there, so the sums go in Octave's order.
    """

    def edges(image: Tensor) -> tuple[Tensor, Tensor]:
        down, across = _sobel_of_unit(image, functional.pad(image, (1, 1, 1, 1), mode="replicate"))
        return torch.sqrt(down**2 + across**2), torch.atan2(across, down)

    strength_fused, angle_fused = edges(grey(fused) / 255)
    kept, weights = torch.zeros_like(strength_fused), torch.zeros_like(strength_fused)
    for strength, angle in (edges(grey(source) / 255) for source in sources):
        low, high = torch.minimum(strength, strength_fused), torch.maximum(strength, strength_fused)
        alignment = 1 - torch.abs(angle - angle_fused) / (math.pi / 2)
        like = 0.9994 * torch.sigmoid(15 * (low / (high + EPSILON) - 0.5))
        like = like * 0.9879 * torch.sigmoid(22 * (alignment - 0.8))
        kept, weights = kept + like * strength, weights + strength
    return total(kept) / total(weights)


def ssim_box(fused: Image, sources: Images) -> Scores:
    """scikit-image's default SSIM with data range 255: 7x7 box, sample covariance, mean of the sources."""
    # dividing the moments by (n - 1) / n is multiplying C2 by it
    k2 = 0.03 * math.sqrt(48 / 49)
    values = [average(ssim_map(grey(source), grey(fused), window=box(7), k2=k2)[0]) for source in sources]
    return combined(values, "mean")


def ssim_cddfuse(fused: Image, sources: Images) -> Scores:
    """SSIM of CDDFuse: scikit-image 0.19 on float32 levels, range 2 by accident, 7x7 box, sum of the sources."""

    def boxed(image: Tensor) -> Tensor:
        rows = separable(image.double(), box(7), (1.0,)).float()
        return separable(rows.double(), (1.0,), box(7)).float()

    y = fused.float()
    mean_y, square_y = boxed(y), boxed(y * y)
    values = []
    for x in (source.float() for source in sources):
        mean_x = boxed(x)
        variances = 49 / 48 * (boxed(x * x) - mean_x**2) + 49 / 48 * (square_y - mean_y**2)
        covariance = 49 / 48 * (boxed(x * y) - mean_x * mean_y)
        upper = (2 * mean_x * mean_y + 0.02**2) * (2 * covariance + 0.06**2)
        values.append(average((upper / ((mean_x**2 + mean_y**2 + 0.02**2) * (variances + 0.06**2))).double()))
    return combined(values, "sum")


def _float32_maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM map and contrast-structure of float32 images with L = 255, filtered down first, then across."""
    offsets = torch.arange(11, dtype=torch.float32, device=x.device) - 5
    taps = torch.exp(-(offsets**2) / (2 * 1.5**2))
    taps = taps / taps.sum()

    def local(image: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(image, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))

    mean_x, mean_y = local(x), local(y)
    variances = (local(x * x) - mean_x**2) + (local(y * y) - mean_y**2)
    contrast_structure = (2 * (local(x * y) - mean_x * mean_y) + 7.65**2) / (variances + 7.65**2)
    return (2 * mean_x * mean_y + 2.55**2) / (mean_x**2 + mean_y**2 + 2.55**2) * contrast_structure, contrast_structure


def ssim_x255(fused: Image, sources: Images) -> Scores:
    """SSIM of TangPy and IVIF_ZOO: levels times 255 in float32, yet L = 255; sum of the sources."""
    y = fused.float() * 255
    return combined([average(_float32_maps(source.float() * 255, y)[0].double()) for source in sources], "sum")


def ms_ssim_x255(fused: Image, sources: Images) -> Scores:
    """MS-SSIM of TangPy: levels times 255 in float32, L = 255, zeros added on both sides of odd sizes; sum."""

    def half(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[-2:]])

    values = [_ms_ssim(source.float() * 255, fused.float() * 255, half, _float32_maps) for source in sources]
    return combined([value.double() for value in values], "sum")


Maps = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _ms_ssim(x: Tensor, y: Tensor, half: Callable[[Tensor], Tensor], maps: Maps = ssim_map) -> Scores:
    """MS-SSIM whose step from scale to scale is `half`."""
    product = torch.ones(x.shape[0], dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        full, contrast_structure = maps(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        product = product * average(full if last else contrast_structure).clamp(min=0) ** weight
        x, y = (x, y) if last else (half(x), half(y))
    return product


def ms_ssim_piq(fused: Image, sources: Images) -> Scores:
    """MS-SSIM of piq: where a side is odd both get a repeated line at the top and left; mean of the sources."""

    def half(image: Tensor) -> Tensor:
        odd = max(side % 2 for side in image.shape[-2:])
        return functional.avg_pool2d(functional.pad(image, (odd, 0, odd, 0), mode="replicate"), 2)

    return combined([_ms_ssim(grey(source), grey(fused), half) for source in sources], "mean")


def ms_ssim_sewar(fused: Image, sources: Images) -> Scores:
    """MS-SSIM of sewar: each sample is the mean with its upper and left neighbours; mean of the sources."""

    def half(image: Tensor) -> Tensor:
        padded = functional.pad(image, (1, 0, 1, 0), mode="replicate")
        return functional.avg_pool2d(padded, 2, stride=1)[..., ::2, ::2]

    return combined([_ms_ssim(grey(source), grey(fused), half) for source in sources], "mean")


def ms_ssim_torchmetrics(fused: Image, sources: Images) -> Scores:
    """MS-SSIM of torchmetrics: odd lines dropped, the last map over the mirrored border too; mean of the sources."""

    def maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        padded = (functional.pad(image, (5,) * 4, mode="reflect") for image in (x, y))
        return ssim_map(*padded)[0], ssim_map(x, y)[1]

    half = torch.nn.AvgPool2d(2)
    return combined([_ms_ssim(grey(source), grey(fused), half, maps) for source in sources], "mean")


def vif_uint8(fused: Image, sources: Images) -> Scores:
    """VIF of Tang's first code: at the finest scale products of levels saturate at 255; sum of the sources."""
    memo, y, window = Memo(), grey(fused), WINDOWS[0]

    def moment(first: Tensor, second: Tensor) -> Tensor:
        return smooth((first * second).clamp(max=255), window) - smooth(first, window) * smooth(second, window)

    values = []
    for x in (grey(source) for source in sources):
        parts = [kept_and_there(*model(moment(x, x), moment(y, y), moment(x, y)))]
        coarse = list(zip(pyramid(x, memo), pyramid(y, memo), strict=True))[1:]
        for (first, taps), (second, _) in coarse:
            first_mean, second_mean = smooth(first, taps), smooth(second, taps)
            variance = smooth(first**2, taps) - first_mean**2
            variance_fused = smooth(second**2, taps) - second_mean**2
            covariance = smooth(first * second, taps) - first_mean * second_mean
            parts.append(kept_and_there(*model(variance, variance_fused, covariance)))
        kept, there = zip(*parts, strict=True)
        values.append(torch.stack(kept).sum(0) / torch.stack(there).sum(0))
    return combined(values, "sum")
