"""The command `fuse-export`: ONNX files that do what PyTorch does, or a refusal that says why."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from commands import ROOT
from torch import Tensor, nn
from torch.nn import functional as F

import fuse
from fuse import checkpoint, export, infer
from fuse.catalog import group, resolved
from fuse.config import build
from fuse.errors import InputError
from fuse.methods import RULES
from fuse.models.average import Average
from fuse.models.conditional import Conditional
from fuse.models.masks import small_regions_removed
from fuse.models.merger import Merger
from fuse.models.mffgan import Generator

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")

MODELS = {name: node["model"] for name, _, node in group("model")}
# What a graph cannot hold, and a word of the reason.
REFUSED = dict.fromkeys(("cnn2017", "dsift", "lightmff", "mfifgan", "sesf"), "small regions")
REFUSED |= dict.fromkeys(("mergersr", "mertens", "stackmff"), "differs") | {"structure": "every size"}
PAGE = (ROOT / "docs" / "export.md").read_text()


class Blocky(nn.Module):
    """Mean of any number of sources over blocks of 8x8, which needs sides of whole blocks."""

    channels, luma, margin, multiple = 1, "full", 7, 8

    def forward(self, *sources: Tensor) -> Tensor:
        mean = F.avg_pool2d(torch.cat(sources, 1).mean(1, keepdim=True), 8)
        return F.interpolate(mean, scale_factor=8, mode="nearest")


class Cleaned(nn.Module):
    """The brighter source, without small regions."""

    channels, luma, selects = 1, "full", True

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        mask = small_regions_removed(a > b, 0.01).to(a.dtype)
        return torch.cat([mask, 1 - mask], 1)


class Wavering(nn.Module):
    """Differs from its own graph in pictures that are wider than the one that was traced."""

    channels, luma, margin = 1, "full", 0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a if torch.compiler.is_exporting() else torch.where(torch.arange(a.shape[-1]) < 136, a, b)


@pytest.fixture(autouse=True, scope="module")
def _unchecked() -> Iterator[None]:
    """To compare shapes with annotations would tie an exported graph to the size at hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoint folders of networks with weights of chance: luma on MATLAB's scale, full luma, RGB."""
    folders = {}
    for name, kind in {"mffgan": Generator, "conditional": Conditional, "merger": Merger}.items():
        torch.manual_seed(0)
        fuser = kind(init_std=None) if kind is Generator else kind()
        for parameter in fuser.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, 0, 0.1)
        card = {"fuser": {"_target_": f"{kind.__module__}.{kind.__name__}"}}
        folders[name] = tmp_path_factory.mktemp("runs") / f"{name}-made" / "best"
        data = {"data": {"_target_": "fuse.data.synthetic.Synthetic"}}
        checkpoint.save(folders[name], {"fuser": fuser}, card | data, {}, {})
    return folders


@pytest.fixture(scope="module")
def files(trained: dict[str, Path]) -> dict[str, Path]:
    """Their files, and that of a rule that selects."""
    made = {name: folder.parent / "file.onnx" for name, folder in trained.items()}
    for name, folder in trained.items():
        export.main([f"ckpt={folder}", f"out={made[name]}"])
    made["average"] = made["mffgan"].with_name("average.onnx")
    export.main(["method=average", f"out={made['average']}"])
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, output and error of the command."""

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            export.main(list(words))
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return code, *capsys.readouterr()

    return command


def facts(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_last_line_is_the_file_and_the_others_say_how_well_it_agrees(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, wrong = run("method=maximum", "sources=3")
    assert (code, wrong) == (0, "")
    *sizes, last = said.splitlines()
    assert last == "maximum-3.onnx"
    assert [path.name for path in tmp_path.iterdir()] == [last]
    assert len(sizes) == 4
    assert all(re.fullmatch(r"\d x \d+x\d+: largest difference \S+ of at most 2e-05", line) for line in sizes)
    assert any(int(re.findall(r"x(\d+):", line)[0]) % 2 for line in sizes)


def test_the_file_says_what_it_is(files: dict[str, Path], trained: dict[str, Path]) -> None:
    told = facts(files["mffgan"])
    assert (told["name"], told["package"]) == ("Generator", f"fuse {fuse.__version__}")
    assert "Zhang, Le, Shao, Xu, Ma" in told["citation"]
    assert told["licence"].startswith("MIT")
    assert told["weights"] == checkpoint.digest(trained["mffgan"])
    assert "Synthetic" in told["trained"]
    assert [told[key] for key in ("channels", "luma", "selects")] == ["1", "limited", "false"]
    assert [told[key] for key in ("sources", "margin", "multiple", "smallest")] == ["2", "5", "1", "96"]
    assert float(told["difference"]) <= float(told["tolerance"])
    assert facts(files["average"])["selects"] == "true"
    assert "weights" not in facts(files["average"])


def test_names_and_free_axes(files: dict[str, Path]) -> None:
    for name, output in {"mffgan": "fused", "merger": "fused", "average": "weights"}.items():
        graph = onnx.load(files[name]).graph
        assert [x.name for x in graph.input] == ["source1", "source2"]
        assert [x.name for x in graph.output] == [output]
        for x in (*graph.input, *graph.output):
            axes = x.type.tensor_type.shape.dim
            assert [axes[i].dim_param for i in (0, 2, 3)] == ["batch", "height", "width"]


@pytest.mark.parametrize("size", [(1, 96, 96), (3, 97, 111), (1, 130, 99)])
def test_the_file_does_what_the_network_does(
    files: dict[str, Path], trained: dict[str, Path], size: tuple[int, int, int]
) -> None:
    fuser = checkpoint.load(trained["mffgan"])[0]
    batch, height, width = size
    sources = list(torch.rand(2, batch, 1, height, width, generator=torch.Generator().manual_seed(7)))
    (found,) = onnxruntime.InferenceSession(files["mffgan"]).run(
        None, {f"source{i}": x.numpy() for i, x in enumerate(sources, 1)}
    )
    with torch.inference_mode():
        np.testing.assert_allclose(found, fuser(*sources).numpy(), rtol=0, atol=1e-6)


def test_more_sources_and_padding_inside() -> None:
    fuser = Blocky()
    made = export.convert(fuser, 3)
    assert [x.name for x in made.model.graph.input] == ["source1", "source2", "source3"]
    checked = export.compare(fuser, made)
    assert any(line.size[1] % 8 and line.size[2] % 8 for line in checked)
    assert max(line.largest for line in checked) < 1e-6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ckpt=a", "method=gff"], "give either ckpt=PATH"),
        (["sources=3"], "give either ckpt=PATH"),
        (["method=gff", "size=3"], "'size=3' is not understood"),
        (["method"], "'method' is not understood"),
        (["method=gff", "sources=1"], "sources=1: must be a whole number from 2"),
        (["method=gff", "sources=two"], "sources=two: must be a whole number"),
        (["method=gff", "out=gff.pt"], "must name a file that ends with .onnx"),
        (["method=gfff"], "did you mean gff"),
        (["ckpt=nowhere"], "nowhere"),
        (["ckpt={trained}", "sources=3"], "Generator cannot fuse 3 pictures at once"),
        (["method=average", "out={trained}/config.json/x.onnx"], "cannot be written"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: list[str],
    told: str,
    run: Callable[..., tuple[int, str, str]],
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, wrong = run(*(word.replace("{trained}", str(trained["mffgan"])) for word in words))
    assert code == 2
    assert wrong.startswith("fuse-export: ")
    assert told in wrong
    assert "Traceback" not in wrong
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_computes_something_else_is_refused() -> None:
    fuser = Wavering()
    with pytest.raises(InputError, match=r"Wavering cannot be exported: at 195x96 pixels .* differs .* by up to"):
        export.compare(fuser, export.convert(fuser))


def test_what_onnx_has_no_operator_for_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"Cleaned cannot be exported: small regions are removed from its map, for"):
        export.convert(Cleaned())


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"onnx is not installed; pip install 'fuse-imaging\[export\]'"):
        export.convert(Average())


@pytest.mark.parametrize("name", ["mffgan", "conditional", "merger", "average"])
def test_the_python_of_the_page_fuses_as_this_package_does(
    name: str, files: dict[str, Path], trained: dict[str, Path]
) -> None:
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.S)[0], names)
    near, far = np.random.default_rng(0).integers(0, 256, (2, 100, 113, 3), dtype=np.uint8)
    found = names["fuse_with"](files[name], near, far)
    wanted = fuse.load(trained.get(name, name))(near, far)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


def test_the_page_names_what_is_refused() -> None:
    table = PAGE[PAGE.index("## What cannot") :]
    assert {name for name in (*MODELS, *RULES) if re.search(rf"\b{name}\b", table)} == set(REFUSED)


def test_the_page_names_the_facts_of_a_file(files: dict[str, Path]) -> None:
    rows = PAGE[PAGE.index("| metadata") : PAGE.index("## Python")]
    assert set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\|[^|]*\|", rows, re.M)))) == set(facts(files["mffgan"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *RULES])
def test_every_method_exports_or_says_why(name: str) -> None:
    torch.manual_seed(0)
    fuser = RULES[name]() if name in RULES else build(resolved(MODELS[name]["fuser"], MODELS[name]))
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            export.compare(fuser, export.convert(fuser))
        return
    assert max(line.beyond for line in export.compare(fuser, export.convert(fuser))) <= export.EXCEPTIONS
    assert infer.traits(fuser).channels in (1, 3)
