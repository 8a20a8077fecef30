"""Many metrics of the same pictures at once."""

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor

from fuse.errors import InputError
from fuse.metrics.levels import Image, Images, Scores
from fuse.metrics.memo import Memo
from fuse.metrics.table import FAMILIES, LEARNED, METRICS, Metric

PIXELS = (2**19, 2**23)  # at a time: on a CPU, where only small pictures gain by company, and on a GPU


def applicable(reference: bool) -> list[str]:
    """Names of the metrics that can be computed with or without a reference, in the order of the table.

    Those that need a network somebody else trained are not among them; they are measured where they are named.
    """
    return [name for name, metric in METRICS.items() if reference or metric.uses != "reference"]


def _known(names: Iterable[str], reference: bool) -> list[Metric]:
    metrics, table = [], METRICS | LEARNED
    for name in names:
        if name not in table:
            near = difflib.get_close_matches(name, table, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"the metrics are {', '.join(table)}"
            raise InputError(f"there is no metric '{name}'; {hint}")
        if table[name].uses == "reference" and not reference:
            raise InputError(f"metric '{name}' needs a reference and these pictures have none; leave it out")
        metrics.append(table[name])
    return metrics


def _check(images: dict[str, Tensor]) -> None:
    fused = images["fused"]
    if not fused.numel():
        raise InputError(f"fused has shape {tuple(fused.shape)}: there is no pixel to measure")
    for name, image in images.items():
        if image.dim() != 4 or image.shape[1] != 1:
            raise InputError(f"{name} has shape {tuple(image.shape)}; metrics take grey pictures (b, 1, h, w)")
        if image.shape != fused.shape:
            raise InputError(
                f"{name} is {tuple(image.shape)} but fused is {tuple(fused.shape)}; they must be of equal size"
            )
        if image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise InputError(f"{name} has NaN or infinite pixels; find out where they come from before measuring")


def measure(
    fused: Image, sources: Images, reference: Image | None = None, names: Iterable[str] | None = None
) -> dict[str, Scores]:
    """The named metrics, by default all that apply, of a batch of fused pictures: name -> one float64 per picture.

    Grey levels 0..255. What metrics of a family have in common (histograms, gradients, windowed moments) is computed
    once; large batches are taken some pictures at a time, so that memory depends on the size of a picture alone. NaN
    stands where a value is undefined or the pictures are smaller than the metric's `min_side`.

    Raises:
        InputError: an unknown metric, one that needs a missing reference, unequal shapes, non-finite pixels, no source.
    """
    metrics = _known(applicable(reference is not None) if names is None else names, reference is not None)
    if not sources:
        raise InputError("no sources were given; give the pictures that were fused")
    images = {"fused": fused} | {f"source {i}": source for i, source in enumerate(sources, start=1)}
    if reference is not None:
        images["reference"] = reference
    _check(images)
    height, width = fused.shape[-2:]
    step = max(1, PIXELS[fused.device.type != "cpu"] // (height * width))
    parts = []
    for start in range(0, fused.shape[0], step):
        part = slice(start, start + step)
        some = reference[part] if reference is not None else None
        parts.append(_measure(metrics, fused[part], [source[part] for source in sources], some))
    return {metric.name: torch.cat([part[metric.name] for part in parts]) for metric in metrics}


def _measure(metrics: list[Metric], fused: Image, sources: Images, reference: Image | None) -> dict[str, Scores]:
    """The metrics of pictures that are few enough for the memory."""
    others = {"fused": (), "sources": (sources,), "reference": (reference,)}
    undefined = torch.full((fused.shape[0],), torch.nan, dtype=torch.float64, device=fused.device)
    scores = {}
    for family in (*FAMILIES.values(), tuple(LEARNED.values())):
        memo = Memo()  # what families have in common is not worth keeping
        for metric in metrics:
            if metric in family:
                large = min(fused.shape[-2:]) >= metric.min_side
                scores[metric.name] = metric.function(fused, *others[metric.uses], memo=memo) if large else undefined
    return scores
