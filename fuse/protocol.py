"""Protocols: every convention that a score rests on, under one name. `conf/protocol/*.yaml` holds them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from fuse.config import CONF, near
from fuse.data.color import grey_levels
from fuse.errors import InputError
from fuse.metrics import METRICS, Metric
from fuse.metrics.levels import stretched
from fuse.metrics.variants import VARIANTS, Variant

Picture = Integer[Tensor, "1 _ _ _"]  # as stored, grey or RGB
Levels = Float[Tensor, "_ 1 _ _"]  # 0..255; the batch holds the channels where these are measured one by one


class Protocol(NamedTuple):
    """Conventions of a table.

    `grey`: how colour becomes grey, a key of `GREYS` or `per-channel`: every channel is measured, values are averaged.
    `stretch`: the fused picture is first stretched to 0..255 by its own extremes. `crop`: pixels cut off every border.
    `metrics`: column -> named form (`fuse.metrics.variants`). `missing`: columns of the published table that are not
    computed, and why. `unstated`: what the sources of this protocol leave open. `cite`: where it comes from.
    """

    name: str
    grey: str
    stretch: bool
    crop: int
    metrics: Mapping[str, str]
    missing: Mapping[str, str]
    unstated: Sequence[str]
    cite: str


def _opencv(rgb: Tensor) -> Tensor:
    return torch.round((rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True))


def _pillow(rgb: Tensor) -> Tensor:
    whole = rgb.long() * torch.tensor([19595, 38470, 7471], device=rgb.device).view(1, 3, 1, 1)
    return ((whole.sum(1, keepdim=True) + 32768) >> 16).double()


# RGB levels (1, 3, h, w) -> grey levels (1, 1, h, w), integers in float64
GREYS: dict[str, Callable[[Tensor], Tensor]] = {
    "matlab-rounded": lambda rgb: grey_levels(rgb.to(torch.uint8)),  # as rgb2gray on uint8
    "opencv-rounded": _opencv,  # 0.299 R + 0.587 G + 0.114 B, rounded half to even
    "pil": _pillow,  # convert("L"): weights in 65536ths, rounded half up
}
PER_CHANNEL = "per-channel"
# of forms that are not in the unit of the metric they belong to
UNITS = {
    "MI/nats": "nat",
    "MI/minmax-nats": "nat",
    "SF/unit": "",
    "MSE/unit": "",
    "RMSE/vifb": "level/sqrt(h w)",
    "SD/legacy-uint8": "",
}


def read(node: Mapping[str, Any]) -> Protocol:
    """The protocol that a configuration says.

    Raises:
        InputError: a key too many or too few, an unknown conversion, column or form, a wrong type.
    """
    where = f"protocol {node.get('name', '')}".strip()
    if odd := sorted(set(node) ^ set(Protocol._fields)):
        raise InputError(f"{where}: has {', '.join(node)}; must have {', '.join(Protocol._fields)}: see {odd[0]}")
    if node["grey"] not in (*GREYS, PER_CHANNEL):
        raise InputError(f"{where}: grey={node['grey']}; {near(str(node['grey']), [*GREYS, PER_CHANNEL])}")
    if not isinstance(node["stretch"], bool):
        raise InputError(f"{where}: stretch={node['stretch']}; must be true or false")
    if type(node["crop"]) is not int or node["crop"] < 0:
        raise InputError(f"{where}: crop={node['crop']}; must be a number of pixels, 0 or more")
    for column, form in node["metrics"].items():
        if column not in METRICS:
            raise InputError(f"{where}: there is no metric '{column}'; {near(column, METRICS)}")
        if form not in VARIANTS:
            raise InputError(f"{where}: {column}: there is no form '{form}'; {near(str(form), VARIANTS)}")
    return Protocol(**{**node, "unstated": list(node["unstated"])})


def known() -> list[str]:
    """Names of the protocols there are."""
    return sorted(path.stem for path in Path(CONF, "protocol").glob("*.yaml"))


def load(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: there is none.
    """
    from omegaconf import OmegaConf

    if name not in known():
        raise InputError(f"there is no protocol '{name}'; {near(name, known())}")
    node = OmegaConf.to_container(OmegaConf.load(Path(CONF, "protocol", f"{name}.yaml")))
    return read(cast(dict[str, Any], node))


def asked(node: Mapping[str, Any]) -> Protocol:
    """The protocol of a command line; what that changed in a known one becomes part of its name.

    Raises:
        InputError: it cannot be used.
    """
    protocol = read(node)
    if protocol.name not in known():
        return protocol
    usual = load(protocol.name)
    changed = [
        f"{key}={value}" if key in ("grey", "stretch", "crop") else key
        for key, value, was in zip(Protocol._fields, protocol, usual, strict=True)
        if value != was
    ]
    return protocol._replace(name=f"{protocol.name} with {', '.join(changed)}") if changed else protocol


def columns(protocol: Protocol, names: Iterable[str] | None) -> list[str]:
    """The columns meant by `names`, all of the protocol by default.

    Raises:
        InputError: the protocol has no such column.
    """
    wanted = list(protocol.metrics) if names is None or list(names) == ["all"] else list(names)
    for name in wanted:
        if name in protocol.metrics:
            continue
        if name in protocol.missing:
            raise InputError(f"protocol {protocol.name} cannot give '{name}': {protocol.missing[name]}")
        raise InputError(f"protocol {protocol.name} has no column '{name}'; {near(name, protocol.metrics)}")
    return wanted


def card(protocol: Protocol, column: str) -> Metric:
    """What is known of a column: the metric it is a form of, with the form's name and unit."""
    metric, form = METRICS[column], protocol.metrics[column]
    if form.endswith("/default"):
        return metric
    return metric._replace(unit=UNITS.get(form, metric.unit), range="", summary=f"{form}: {metric.summary}")


def described(protocol: Protocol, wanted: Iterable[str]) -> dict[str, Any]:
    """Every convention, for the record; `wanted`: the columns that were measured."""
    grey = "every channel by itself, mean of their values; a grey picture beside coloured ones counts as equal channels"
    return {
        **protocol._asdict(),
        "metrics": {name: protocol.metrics[name] for name in wanted},
        "picture": "8 bit; 16 bit are rounded; no resizing",
        "colour": grey if protocol.grey == PER_CHANNEL else "integer levels 0..255",
        "mean": "over the pairs of the split",
    }


def lacking(protocol: Protocol) -> list[str]:
    """A sentence for each column of the published table that is not computed."""
    return [f"{protocol.name} without {name}: {why}" for name, why in protocol.missing.items()]


def levels(fused: Picture, sources: Sequence[Picture], protocol: Protocol) -> tuple[Levels, list[Levels]]:
    """The levels to be measured, 0..255 in float64, of pictures as stored: grey, then stretched, then cropped.

    Raises:
        InputError: the pictures are not of equal size.
    """
    pictures = [_eight_bit(picture) for picture in (fused, *sources)]
    if len({picture.shape[-2:] for picture in pictures}) > 1:
        sizes = ", ".join(f"{picture.shape[-1]}x{picture.shape[-2]}" for picture in pictures)
        raise InputError(f"pictures of {sizes} cannot be compared; fused and sources must be of equal size")
    if protocol.grey == PER_CHANNEL:
        count = max(picture.shape[1] for picture in pictures)
        found = [picture.expand(-1, count, -1, -1).transpose(0, 1) for picture in pictures]
    else:
        found = [picture if picture.shape[1] == 1 else GREYS[protocol.grey](picture) for picture in pictures]
    if protocol.stretch:  # by the extremes of all channels together, which keeps their ratios
        found[0] = stretched(found[0].transpose(0, 1)).transpose(0, 1)
    height, width = found[0].shape[-2:]
    inner = slice(protocol.crop, height - protocol.crop), slice(protocol.crop, width - protocol.crop)
    result, *others = (picture[..., inner[0], inner[1]] for picture in found)
    return result, others


def value(column: str, form: Variant, fused: Levels, sources: Sequence[Levels]) -> float:
    """Value of one form of a metric, mean over the channels; NaN below the smallest size that it is defined for."""
    if min(fused.shape[-2:]) < METRICS[column].min_side:
        return float("nan")
    return form(fused, sources).mean().item()


def scores(
    fused: Picture, sources: Sequence[Picture], protocol: Protocol, names: Iterable[str] | None = None
) -> dict[str, float]:
    """The columns of a protocol, or those named, for one fused picture as stored and its sources as stored.

    Raises:
        InputError: pictures of unequal size, or the protocol has no such column.
    """
    result, others = levels(fused, sources, protocol)
    return {name: value(name, VARIANTS[protocol.metrics[name]], result, others) for name in columns(protocol, names)}


def _eight_bit(picture: Picture) -> Float[Tensor, "1 _ h w"]:
    found = picture.double()
    return torch.floor(found / 257 + 0.5) if picture.dtype == torch.uint16 else found
