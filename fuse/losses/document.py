"""The page `docs/losses.md`, from the docstrings of the terms."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from fuse.losses import (
    chroma,
    cycle,
    detection,
    distance,
    edge_preservation,
    gradient,
    importance,
    information,
    inside,
    intensity,
    memory,
    metric,
    networks,
    perceptual,
    resolution,
    selection,
    smoothness,
    structure,
    terms,
)

INTRODUCTION = """\
# Losses

Made from `fuse/losses/` by `python -m fuse.losses.document > docs/losses.md`.

A recipe in `conf/loss/` is the range in which pictures are compared, and terms by names of your own:

    range: [0, 1]
    gradient:
      weight: 10
      term: {_target_: fuse.losses.gradient.to_maximum, operator: sobel}
    ssim:
      weight: 1
      term:
        _target_: fuse.losses.structure.to_sources
        importance: {_target_: fuse.losses.importance.gradient_share, _partial_: true}
        data_range: 1     # the width of the range

The loss is the weighted sum. F is the fused picture, I_i a source, d a distance (below); means run over pixels and
batch unless said otherwise. Numbers behind the name of a method are the weights it gives to the
term. A term that asks for a `role` compares with that source, or with `reference`.

A term of your own is a function `(fused, sample, **settings) -> scalar` in any module that can be imported: name it."""

TERMS = (
    *(
        terms,
        intensity,
        gradient,
        structure,
        edge_preservation,
        selection,
        perceptual,
        detection,
        inside,
        memory,
        cycle,
    ),
    *(information, resolution, chroma, smoothness, metric),
)


def functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions of a module in the order of its text."""
    for name, found in vars(module).items():
        if inspect.isfunction(found) and found.__module__ == module.__name__:
            yield name, found


def settings(function: Callable[..., Any], skip: int) -> str:
    """Names and defaults of what a recipe can set, as it would write them."""
    shown = []
    for name, parameter in list(inspect.signature(function).parameters.items())[skip:]:
        default = parameter.default
        if default is inspect.Parameter.empty:
            shown.append(name)
        else:
            shown.append(f"{name}={getattr(default, '__name__', default)}")
    return ", ".join(shown)


def entry(title: str, function: Callable[..., Any], text: str | None, skip: int) -> str:
    shown = settings(function, skip)
    return "\n\n".join([f"### {title}", *([f"`{shown}`"] if shown else []), inspect.cleandoc(text or "")])


def document() -> str:
    """Terms by module, then what they take: importance of the sources, networks to look through."""
    parts = [INTRODUCTION]
    for module in TERMS:
        own = [(n, f) for n, f in functions(module) if list(inspect.signature(f).parameters)[:2] == ["fused", "sample"]]
        parts += [f"## {module.__name__}", inspect.cleandoc(module.__doc__ or "")]
        parts += [entry(f"{module.__name__.rpartition('.')[2]}.{n}", f, f.__doc__, 2) for n, f in own]
    parts += ["## Distances and operators", entry("distance", distance.apart, distance.apart.__doc__, 3)]
    parts += ["### operator", "\n".join(f"* `{name}`: {f.__doc__}" for name, f in gradient.OPERATORS.items())]
    parts += [f"## {importance.__name__}", inspect.cleandoc(importance.__doc__ or "")]
    own = [(n, f) for n, f in functions(importance) if next(iter(inspect.signature(f).parameters)) == "sample"]
    parts += [entry(f"importance.{n}", f, f.__doc__, 1) for n, f in own]
    parts += [f"## {networks.__name__}", inspect.cleandoc(networks.__doc__ or "")]
    parts += [
        entry(f"networks.{made.__name__}", made, made.__doc__, 0)
        for made in (networks.ImageNet, networks.Encoder, networks.Pyramid, networks.Sensor)
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
