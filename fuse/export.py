"""`fuse-export`: a rule or a trained network as one ONNX file for programs without PyTorch; without Hydra."""

import argparse
import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import fuse
from fuse import checkpoint, infer, methods
from fuse.config import near
from fuse.errors import InputError

KEYS = ("ckpt", "method", "sources", "out", "trust")
TOLERANCE = 2e-5  # on [0, 1]: a 200th of an 8 bit level
EXCEPTIONS = 1e-4  # share of values that may differ more: who wins between equals hangs on the last bit
SMALLEST = (96, 512)  # pixels a side, the first that does: below, pyramids and U-nets are less deep, another graph
FORMAT = 20  # ONNX opset: the first that resizes with an anti-aliasing filter as PyTorch does, and centred
HELP = """\
A rule or a trained network as one ONNX file, for programs without Python or PyTorch.

  fuse-export ckpt=outputs/train/mffgan-lytro/RUN      a run or checkpoint folder
  fuse-export method=gff                               a rule (fuse-list methods)
  fuse-export method=gff sources=5 out=gff-5.onnx      for five pictures instead of two
"""
NOTES = """\
Keys: ckpt=PATH or method=NAME; sources=N (2); out=FILE.onnx (a name in this folder); trust=PACKAGE of own networks.
Height, width and batch are free. The file is written only if onnxruntime agrees with PyTorch on several sizes.
docs/export.md shows how the file is used. Exit code 0: done; 2: this cannot be exported, and why.
"""


class Exported(NamedTuple):
    """An `onnx.ModelProto`, for how many sources and for sides from how many pixels on."""

    model: Any
    sources: int
    smallest: int


class Checked(NamedTuple):
    """Agreement at one size `(b, h, w)`: largest difference, and the share of values beyond the tolerance."""

    size: tuple[int, int, int]
    largest: float
    beyond: float


class Framed(nn.Module):
    """A fuser whose sources are first grown, to the right and down by their border pixels, to its multiple."""

    def __init__(self, fuser: nn.Module) -> None:
        super().__init__()
        self.fuser, self.facts = fuser, infer.traits(fuser)

    def forward(self, *sources: Tensor) -> Tensor:
        """What `infer.padded` makes."""
        height, width = sources[0].shape[-2:]
        if self.facts.multiple == 1 or self.facts.resizes:
            made: Tensor = self.fuser(*sources)
            return made
        grown = [grow(grow(x, self.facts.multiple, -2), self.facts.multiple, -1) for x in sources]
        return self.fuser(*grown)[..., :height, :width]


def grow(x: Tensor, multiple: int, axis: int) -> Tensor:
    """The last pixels of an axis repeated up to a multiple; written so that the exporter can follow the size."""
    size = x.shape[axis]
    places = torch.arange(multiple * ((size + multiple - 1) // multiple), device=x.device)
    return x.index_select(axis, places.clamp(max=size - 1))


def main(words: list[str] | None = None) -> None:
    """The command; see HELP."""
    parser = argparse.ArgumentParser(
        "fuse-export", description=HELP, epilog=NOTES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE")
    try:
        asked = keys(parser.parse_args(words).words)
        given = asked.get("ckpt") or asked.get("method", "")
        out = Path(asked.get("out", default_name(given, asked))).expanduser()
        if out.suffix.lower() != ".onnx" or out.is_dir():
            raise InputError(f"out={out}: must name a file that ends with .onnx")
        trust = tuple(word for word in asked.get("trust", "").strip("[]").split(",") if word)
        fuser, facts = methods.fuser(given, torch.device("cpu"), trust)
        exported = convert(fuser, int(asked.get("sources", 2)))
        checked = compare(fuser, exported)
        for line in checked:
            batch, height, width = line.size
            print(f"{batch} x {width}x{height}: largest difference {line.largest:.1e} of at most {TOLERANCE:.0e}")
        largest = max(line.largest for line in checked)
        describe(exported.model, facts_of(fuser, facts, given, exported) | {"difference": f"{largest:.1e}"})
        write(out, exported.model.SerializeToString())
    except InputError as problem:
        print(f"fuse-export: {problem}", file=sys.stderr)
        sys.exit(2)
    print(out)


def keys(words: Sequence[str]) -> dict[str, str]:
    """`key=value` words by key.

    Raises:
        InputError: an unknown key, a word without a value, both or none of `ckpt` and `method`, sources that are no
            number from 2 on.
    """
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in KEYS or not value:
            raise InputError(f"'{word}' is not understood; write {'=..., '.join(KEYS)}=...; {near(key, KEYS)}")
        found[key] = value
    if ("ckpt" in found) == ("method" in found):
        raise InputError("give either ckpt=PATH, a run or checkpoint folder, or method=NAME, a rule")
    sources = found.get("sources", "2")
    if not sources.isdecimal() or not 2 <= int(sources) <= 100:
        raise InputError(f"sources={sources}: must be a whole number from 2 to 100")
    return found


def default_name(given: str, asked: Mapping[str, str]) -> str:
    """Rule or last two parts of the folder, and the number of sources where it is not 2."""
    name = given if given in methods.RULES else methods.label(Path(given).expanduser())
    return f"{name}-{asked['sources']}.onnx" if asked.get("sources", "2") != "2" else f"{name}.onnx"


def convert(fuser: nn.Module, count: int = 2) -> Exported:
    """The graph of a fuser in use, for `count` sources `source1`, `source2` ... `(batch, c, height, width)` float32 in
    [0, 1]; its output is `fused`, or `weights` where the fuser selects.

    PyTorch's newer exporter: the older one runs the Python code once and keeps what it saw as constants, so that a
    network that looks at the size of its picture would be silently wrong at every other size.

    Raises:
        InputError: onnx is not installed, or the fuser cannot be a graph, and why.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as problem:
            raise InputError(f"{name} is not installed; pip install 'fuse-imaging[export]'") from problem
    if not infer.takes(fuser, count):
        raise InputError(f"{type(fuser).__name__} cannot fuse {count} pictures at once; set sources=")
    for least in SMALLEST:
        try:
            return Exported(graph(fuser.eval(), count, least), count, least)
        except Exception as found:  # torch gives no common type; what our own code says is at the root
            refusal = found
        if not by_size(refusal):
            break
    raise InputError(f"{type(fuser).__name__} cannot be exported: {reason(refusal)}") from refusal


def graph(fuser: nn.Module, count: int, least: int) -> Any:
    """The `onnx.ModelProto` for sides from `least` on; whatever PyTorch raises where it cannot be."""
    facts = infer.traits(fuser)
    batch = torch.export.Dim("batch", min=1, max=2**10)
    height, width = (torch.export.Dim(name, min=least, max=2**16) for name in ("height", "width"))
    sample = pictures(count, facts.channels, (2, *sizes(least)[0][1:]))
    with quiet():
        program = torch.export.export(
            Framed(fuser),
            tuple(sample),
            dynamic_shapes=(tuple({0: batch, 2: height, 3: width} for _ in range(count)),),
            prefer_deferred_runtime_asserts_over_guards=True,  # `compare` finds the sizes that break them
        )
        made = torch.onnx.export(
            program,
            input_names=[f"source{i}" for i in range(1, count + 1)],
            output_names=["weights" if facts.selects else "fused"],
            opset_version=FORMAT,
            custom_translation_table=translations(),
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    name_axes(model, facts.resizes)
    return model


def name_axes(model: Any, resizes: bool) -> None:
    """Free axes as `batch`, `height` and `width`, for which PyTorch writes `s17` and the like; of results, too."""
    axes = ((0, "batch"), (2, "height"), (3, "width"))
    given = model.graph.input[0].type.tensor_type.shape.dim
    names = {given[axis].dim_param: name for axis, name in axes}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param)
    if not resizes:
        for axis, name in axes:
            model.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What PyTorch's exporter lacks: the remainder of an integer tensor by a number that follows the picture's size."""
    from onnxscript import opset20 as op

    def remainder(self: Any, other: Any) -> Any:
        return op.Mod(self, op.CastLike(other, self))

    return {torch.ops.aten.remainder.Scalar: remainder}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter says of itself, and without the fused transformer layers that ONNX does not have."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def by_size(problem: BaseException) -> bool:
    """Whether PyTorch refused because the code takes another way at another size."""
    return any("onstraints violated" in told or "pecializ" in told for told in map(str, causes(problem)))


def causes(problem: BaseException) -> list[BaseException]:
    """An exception and what it was raised from, the first cause last."""
    return [problem, *(causes(problem.__cause__) if problem.__cause__ else [])]


def reason(problem: BaseException) -> str:
    """Our own message behind an exception, else why in short."""
    chain = causes(problem)
    if ours := [found for found in chain if isinstance(found, InputError)]:
        return str(ours[0])
    if by_size(problem):
        return "what it computes is built anew for every size of picture, which one graph cannot hold"
    return f"{type(chain[-1]).__name__}: {checkpoint.first_line(chain[-1])}"


def sizes(least: int) -> list[tuple[int, int, int]]:
    """Batch, height and width at which a file is checked: even, odd, the smallest, and larger."""
    larger = (1, least + 194, least + 237)
    return [(1, least + 24, least + 40), (2, least + 13, least + 37), (1, least, 2 * least + 3), larger]


def pictures(count: int, channels: int, size: tuple[int, int, int]) -> list[Tensor]:
    """Noise `(b, c, h, w)` in [0, 1], flat at the left, where rules meet ties and divisions by nothing."""
    batch, height, width = size
    noise = torch.rand(count, batch, channels, height, width, generator=torch.Generator().manual_seed(0))
    noise[..., : width // 4] = 0.5
    return list(noise)


def compare(fuser: nn.Module, exported: Exported) -> list[Checked]:
    """How far onnxruntime is from PyTorch, on made pictures of several sizes.

    Raises:
        InputError: too far, or onnxruntime cannot run the file.
    """
    import onnxruntime

    name, channels, checked = type(fuser).__name__, infer.traits(fuser).channels, []
    session = onnxruntime.InferenceSession(exported.model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in sizes(exported.smallest):
        sources = pictures(exported.sources, channels, size)
        with torch.inference_mode():
            wanted = infer.padded(fuser.eval(), sources)
        try:
            (found,) = session.run(None, {f"source{i}": x.numpy() for i, x in enumerate(sources, 1)})
        except Exception as problem:  # onnxruntime's exceptions have no public type
            raise InputError(
                f"{name} cannot be exported: its graph does not run on pictures of {size[2]}x{size[1]} pixels "
                f"({checkpoint.first_line(problem)})"
            ) from problem
        if found.shape != wanted.shape:
            raise InputError(f"{name} cannot be exported: its graph makes {found.shape} of {tuple(wanted.shape)}")
        apart = (torch.from_numpy(found) - wanted).abs().nan_to_num(torch.inf)
        checked.append(Checked(size, float(apart.max()), float((apart > TOLERANCE).float().mean())))
        if checked[-1].beyond > EXCEPTIONS:
            raise InputError(
                f"{name} cannot be exported: at {size[2]}x{size[1]} pixels onnxruntime differs from PyTorch by up to "
                f"{checked[-1].largest:.1e}, and by more than {TOLERANCE:.0e} at {checked[-1].beyond:.1%} of the values"
            )
    return checked


def facts_of(fuser: nn.Module, known: Mapping[str, Any], given: str, exported: Exported) -> dict[str, Any]:
    """What the file says of itself; `known` as of `methods.fuser`."""
    facts, kind = infer.traits(fuser), type(fuser)
    ours = {"rule": "MIT, the code", "shipped": "MIT, code and weights"}
    paper = inspect.getdoc(inspect.getmodule(kind)) or kind.__name__
    told = {
        "name": given if known["kind"] in ours else kind.__name__,
        "package": f"fuse {fuse.__version__}",
        "licence": ours.get(known["kind"], "MIT, the code; weights: whoever trained them"),
        "citation": " ".join(paper.split()),
        "sources": exported.sources,
        "channels": facts.channels,
        "luma": facts.luma if facts.channels == 1 else "none",
        "range": "0..1, not clipped",
        "selects": facts.selects,
        "margin": "whole picture" if facts.margin is None or facts.surveys else facts.margin,
        "multiple": facts.multiple,
        "smallest": exported.smallest,
        "tolerance": TOLERANCE,
    }
    if known["kind"] == "checkpoint":
        card = checkpoint.load(Path(given).expanduser())[1]
        told |= {
            "weights": known["weights"],
            "trained": str(card.get("weights") or card.get("data", {}).get("_target_")),
        }
    return told


def describe(model: Any, facts: Mapping[str, Any]) -> None:
    """Write facts into the metadata of a model."""
    model.doc_string = f"{facts['name']}: {facts['citation']}"
    model.producer_name, model.producer_version = "fuse", fuse.__version__
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=str(value).lower() if isinstance(value, bool) else str(value))


def write(out: Path, data: bytes) -> None:
    """Write a file under its final name in one move.

    Raises:
        InputError: it cannot be written there.
    """
    making = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        making.write_bytes(data)
        making.replace(out)
    except OSError as problem:
        with suppress(OSError):
            making.unlink()
        raise InputError(f"out={out} cannot be written: {problem.strerror}") from problem


if __name__ == "__main__":
    main()
