"""`fuse-list`: what there is, one line each, or as JSON."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from fuse.config import CONF

Card = dict[str, Any]


def models() -> list[Card]:
    """Networks of `conf/model/`: what they are for, what they cost in use, and what one should know of them.

    `parameters`: of what is used to fuse. `gflop`: 1e9 operations of convolutions and matrix products (a multiplication
    and an addition are two) for two pictures of 640x480. `field`: side in pixels of what a result pixel depends on.
    `sources`: how many it takes. `symmetric`: whether exchanging the sources changes nothing. `licence`: of the
    authors' code, none where they state none; ours is written anew.
    """
    from fuse.config import build

    cards = []
    for name, text, node in group("model"):
        model = node["model"] | {"fuser": resolved(node["model"]["fuser"], node["model"])}
        fuser = build(model["fuser"]).eval()
        margin, (flop, many) = getattr(fuser, "margin", None), tried(fuser)
        cards.append(
            {
                "name": name,
                "family": model["about"]["family"],
                "task": model["about"]["task"],
                "parameters": sum(p.numel() for p in fuser.parameters()),
                "gflop": flop,
                "field": "whole picture" if margin is None or getattr(fuser, "surveys", False) else 2 * margin + 1,
                "sources": "any" if many else 2,
                "symmetric": model["about"]["symmetric"],
                "training": model["step"]["_target_"].rpartition(".")[2].lower(),
                "licence": model["about"]["licence"],
                "about": text,
            }
        )
    return cards


def resolved(node: Card, model: Card) -> Card:
    """A node with its references into `model` (`${model.patches.size}`) replaced by what they refer to."""
    from omegaconf import OmegaConf

    return cast(Card, OmegaConf.to_container(OmegaConf.create({"model": model, "node": node}).node, resolve=True))


def tried(fuser: Any) -> tuple[float, bool]:
    """1e9 operations for two pictures of 640x480, and whether it takes three: tried on small ones, scaled by area."""
    import torch
    from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
    from torch.utils.flop_counter import FlopCounterMode

    from fuse import infer
    from fuse.errors import InputError

    for layer in fuser.modules():  # spectral norm, which the counter cannot see through, is no cost in use
        if is_parametrized(layer):
            remove_parametrizations(layer, "weight")
    facts = infer.traits(fuser)
    side = -(-64 // facts.multiple) * facts.multiple
    pictures = list(torch.rand(3, 1, facts.channels, side, side, generator=torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            infer.whole(fuser, pictures[:2])
        try:
            infer.whole(fuser, pictures)
            many = True
        except InputError:
            many = False
    return round(counter.get_total_flops() / side**2 * 640 * 480 / 1e9, 1), many


def data() -> list[Card]:
    """Data sets of `conf/data/`."""
    cards = []
    for name, text, node in group("data"):
        node = node.get("data", node)
        cards.append({"name": name, "task": node.get("task", "focus"), "roles": node.get("roles", []), "about": text})
    return cards


def losses() -> list[Card]:
    """Recipes of `conf/loss/` with their weights."""
    return [
        {"name": name, "weights": {key: term["weight"] for key, term in node.items() if key != "range"}, "about": text}
        for name, text, node in group("loss")
    ]


def metrics() -> list[Card]:
    """Every metric with its direction and unit."""
    from fuse.metrics import METRICS

    words = {1: "higher", -1: "lower", 0: "closer to zero", None: "none"}
    return [
        {
            "name": name,
            "better": words[m.better],
            "unit": m.unit,
            "range": m.range,
            "about": m.summary,
            "source": m.source,
        }
        for name, m in METRICS.items()
    ]


def methods() -> list[Card]:
    """What fuses without training anything: rules, and networks whose weights come with the package."""
    import torch

    from fuse import methods as known
    from fuse import shipped

    networks = {name: known.fuser(name, torch.device("cpu"))[0] for name in shipped.names()}
    return [
        {"name": name, "parameters": sum(p.numel() for p in network.parameters()), "about": shipped.about(name)}
        for name, network in networks.items()
    ] + [
        {"name": name, "parameters": 0, "about": (rule.__doc__ or "").strip().splitlines()[0]}
        for name, rule in known.RULES.items()
    ]


def protocols() -> list[Card]:
    """Protocols of `conf/protocol/` with their columns and what they lack."""
    return [
        {
            "name": name,
            "columns": list(node["metrics"]),
            "missing": list(node["missing"]),
            "cite": node["cite"],
            "about": text,
        }
        for name, text, node in group("protocol")
    ]


KINDS: dict[str, Callable[[], list[Card]]] = {
    "models": models,
    "data": data,
    "losses": losses,
    "metrics": metrics,
    "protocols": protocols,
    "methods": methods,
}


def group(name: str) -> list[tuple[str, str, Card]]:
    """Name, first comment line and content of every file of a configuration group."""
    from omegaconf import OmegaConf

    found: list[tuple[str, str, Card]] = []
    for path in sorted(Path(CONF, name).glob("*.yaml")):
        said = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line]
        node = cast(Card, OmegaConf.to_container(OmegaConf.load(path), resolve=False))
        found.append((path.stem, said[0] if said else "", node))
    return found


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser("fuse-list", description="What there is: one line each.")
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="all kinds if left out")
    parser.add_argument("--json", action="store_true", help="as JSON")
    asked = parser.parse_args(words)
    found = {kind: KINDS[kind]() for kind in ([asked.kind] if asked.kind else KINDS)}
    text = json.dumps(found[asked.kind] if asked.kind else found, indent=1) if asked.json else lines(found)
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as in fuse-list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def lines(found: dict[str, list[Card]]) -> str:
    """Every card on a line, by kind."""
    told = []
    for kind, cards in found.items():
        told.append(f"{kind}:")
        width = max(len(card["name"]) for card in cards)
        for card in cards:
            facts = [
                f"{key} {', '.join(value) if isinstance(value, list) else value}"
                for key, value in card.items()
                if key not in ("name", "about") and value not in ("", [])
            ]
            told.append(f"  {card['name']:{width}}  {card['about']}" + (f"  [{'; '.join(facts)}]" if facts else ""))
    return "\n".join(told)


if __name__ == "__main__":
    main()
