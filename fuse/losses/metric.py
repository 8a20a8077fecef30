"""Any differentiable metric as a loss term, by its name."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.config import near
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.metrics import METRICS, Metric

# Made of histograms, ranks or rounded levels: their derivative is 0 wherever there is one.
STEPPED = {"en", "mi", "nmi", "ce", "q_ncie", "q_te", "q_p", "q_cv", "q_cb", "invented"}
STEPPED |= {"fmi_edge", "fmi_raw", "fmi_gradient", "fmi_dct", "fmi_w", "en_body", "mi_body"}


def metric(
    fused: Float[Tensor, "b c h w"],
    sample: Sample,
    name: str,
    span: Sequence[float] = (0.0, 1.0),
    role: str = "reference",
) -> Tensor:
    """The metric `name` of `docs/metrics.md`, turned so that less is better: -m, m, or |m| where 0 is best.

    `span` is the recipe's range, brought to levels 0..255 (not rounded). Every channel is a picture of its own. Where
    the metric is undefined or endless (flat patches, mostly) a picture is left out. Metrics with a reference compare
    with `role`. The unit is the metric's: terms in levels or decibels want small weights.

    Metrics that count, rank or round levels have no gradient and are refused: en, mi, nmi, ce, q_ncie, q_te, q_p, q_cv,
    q_cb, invented, and all of fmi_edge, fmi_raw, fmi_gradient, fmi_dct, fmi_w; so are en_body and mi_body. `mean` has
    no direction.

    Raises:
        InputError: no such metric, one that has no direction or no gradient, or patches too small for it.
    """
    found = usable(name)
    side = min(fused.shape[-2:])
    if side < found.min_side:
        raise InputError(f"metric '{name}' needs patches of {found.min_side} pixels, not {side}: model.patches.size")
    result = levels(fused, span)
    others = {"fused": [], "sources": [levels(x, span) for x in sample.sources], "reference": []}[found.uses]
    if found.uses == "reference":
        others = [levels(sample.role(role), span)]
    values = of(found, result, others)
    defined = values.isfinite()
    if not bool(defined.all()):  # on a GPU this waits; the gradient of what is undefined would be no number either
        values = of(found, result[defined], [x[defined] for x in others]) if bool(defined.any()) else 0 * result.sum()
    loss = values.abs() if found.better == 0 else -(found.better or 0) * values
    return loss.mean().to(fused.dtype)


def usable(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InputError: there is none, or it cannot be a loss.
    """
    if name not in METRICS:
        raise InputError(f"there is no metric '{name}'; {near(name, METRICS)}")
    if METRICS[name].better is None:
        raise InputError(f"metric '{name}' is neither better high nor low, so it cannot be a loss; name another")
    if name.removesuffix("_min").removesuffix("_max") in STEPPED:
        raise InputError(
            f"metric '{name}' has no gradient (it counts or rounds levels), so nothing could be learned from it; "
            "it can decide which checkpoint is best: run.objective; for a loss take q_g, ssim, vif or another"
        )
    return METRICS[name]


def of(found: Metric, fused: Tensor, others: list[Tensor]) -> Float[Tensor, "b"]:
    """One value per picture."""
    if found.uses == "fused":
        return found.function(fused)
    return found.function(fused, others if found.uses == "sources" else others[0])


def levels(picture: Float[Tensor, "b c h w"], span: Sequence[float]) -> Float[Tensor, "k 1 h w"]:
    """Levels 0..255, float64, every channel a picture."""
    low, high = span
    return ((picture.to(torch.float64) - low) * (255 / (high - low))).flatten(0, 1).unsqueeze(1)
