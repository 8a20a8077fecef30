"""The page `docs/methods.md`, from the cards of `conf/` and what the networks themselves show."""

from pathlib import Path

from fuse import catalog
from fuse.config import CONF

INTRODUCTION = """\
# Methods

Made from `conf/` by `python -m fuse.methods_page > docs/methods.md`.

`GFLOP`: 1e9 operations (a multiplication and an addition are two) for two pictures of 640x480. `field`: side in pixels
of what a result pixel depends on. `any`: as many sources as there are. `symmetric`: exchanging the sources changes
nothing but ties. `licence`: of the authors' code; ours is written anew from the papers and is MIT throughout."""


def document() -> str:
    """Rules, networks, and the card of every experiment: the paper on one page."""
    parts = [INTRODUCTION, "## Ready to use: networks with weights, and rules"]
    parts.append("\n".join(f"* `{card['name']}`: {card['about']}" for card in catalog.methods()))
    parts.append("## Networks")
    head = "| model | family | task | parameters | GFLOP | field | sources | symmetric | training | licence |"
    lines = [head, "|---|---|---|---:|---:|---|---|---|---|---|"]
    for card in catalog.models():
        symmetric = "yes" if card["symmetric"] else "no"
        cells = [f"`{card['name']}`", card["family"], card["task"], f"{card['parameters']:,}", f"{card['gflop']:,}"]
        cells += [card["field"], card["sources"], symmetric, card["training"], card["licence"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    parts.append("\n".join(lines))
    for path in sorted(Path(CONF, "experiment").glob("*.yaml")):
        parts += [f"### `experiment={path.stem}`", said(path)]
    return "\n\n".join(parts) + "\n"


def said(path: Path) -> str:
    """The comment a card begins with."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines).strip()


if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
