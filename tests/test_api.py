"""What others rely on, and the rules that keep the code readable."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT

import fuse
from fuse import metrics
from fuse.config import CONF, Run
from fuse.methods import RULES

SOURCES = sorted((ROOT / "fuse").rglob("*.py"))
CODE = [
    path
    for folder in ("fuse", "tests", "scripts")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix != ".pyc" and path.suffix not in (".csv", ".json", ".png", ".safetensors", ".svg")
]
LONGEST = 400
READERS_PATH = ("fuse/cli.py", "fuse/train.py", "fuse/steps.py", "fuse/losses/terms.py")
SLOW = {"torchvision", "matplotlib", "optuna", "huggingface_hub", "tensorboard", "pywt", "jinja2", "scipy"}
SLOW |= {"onnx", "onnxruntime", "onnxscript"}

# Names that people and scripts outside of the repository use: one that is taken away breaks them.
COMMANDS = {"fuse", "fuse-train", "fuse-eval", "fuse-list", "fuse-data", "fuse-export"}
PACKAGE = {"load", "evaluate", "metrics", "__version__"}
METRICS = {
    *("ag", "en", "mean", "mi", "mse", "psnr", "q_g", "qabf", "rmse", "sd", "sf", "ssim"),
    *("brightness_shift", "mse_ref", "psnr_inner", "psnr_ref", "rmse_ref", "ssim_ref", "measure", "METRICS"),
}
CHOICES = {
    "model": {
        "mffgan",
        "densefuse",
        "fusionnet",
        "sesf",
        "mfifgan",
        "fusiongan",
        "pmgi",
        "ifcnn",
        "u2fusion",
        "gacn",
        "ddcgan",
        "attentionfgan",
        "ufgan",
        "tardal",
        "pix2pix",
        "merger",
        "mergersr",
        "mergergan",
        "cnn2017",
        "medcnn",
        "seafusion",
        "cddfuse",
        "swinfusion",
        "ganmcc",
        "nestfuse",
        "rfnnest",
        "mufusion",
        "lrrnet",
        "reconet",
        "lightmff",
        "stackmff",
    },
    "loss": {"mffgan", "densefuse", "fusionnet", "metric"},
    "critic": {"lsgan", "minimax", "hinge", "wgan", "wgan_gp", "wgan_div", "patch", "gap", "gmp", "spp"},
    "data": {
        "synthetic",
        "folder",
        "photographs",
        "lytro",
        "lytro_triples",
        "mfi_whu",
        "mfifb",
        "mffw",
        "mf_gray",
        "tno",
        "roadscene",
        "roadscene_hr",
        "msrs",
        "vifb",
        "vis_ir_unreg",
        "m3fd",
        "llvip",
        "ct_mri",
        "pet_mri",
        "spect_mri",
        "mefb",
        "mef_sequence",
    },
    "optim": {"adam", "mffgan", "densefuse", "fusionnet"},
    "experiment": {"mffgan_lytro", "densefuse_tno", "fusionnet_mfi_whu"},
    "debug": {"smoke"},
}
RULE_NAMES = {
    "average",
    "maximum",
    "gaussian",
    "laplacian",
    "contrast",
    "maskblend",
    "dwt",
    "swt",
    "gff",
    "dctvar",
    "dsift",
    "structure",
    "mertens",
}
RUN = ("dir", "steps", "seed", "device", "precision", "ema", "log_every", "val_every", "val_pairs", "save_every")
RUN += ("objective", "evaluate", "resume")


def of_the_project(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported top-level package of a file, and whether it is imported as soon as the file is."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name.partition(".")[0], at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                yield child.module.partition(".")[0], at_once
            yield from walk(child, at_once and not isinstance(child, ast.FunctionDef | ast.Lambda))

    return walk(ast.parse(path.read_text()), True)


def test_no_name_that_others_use_is_gone() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) >= COMMANDS
    for target in scripts.values():
        module, _, function = target.partition(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(fuse.__all__) >= PACKAGE
    assert all(getattr(fuse, name) for name in fuse.__all__)
    assert set(metrics.__all__) >= METRICS
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    for group, names in CHOICES.items():
        assert {path.stem for path in Path(CONF, group).glob("*.yaml")} >= names
    assert set(RULES) >= RULE_NAMES
    assert set(Run.__dataclass_fields__) >= set(RUN)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fuse' has no attribute 'evalute'"):
        assert fuse.evalute


def test_the_readers_path_is_short() -> None:
    assert sum(len((ROOT / path).read_text().splitlines()) for path in READERS_PATH) <= 550


@pytest.mark.parametrize("path", CODE, ids=of_the_project)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_half_of_the_files_are_very_short() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in SOURCES)
    assert lengths[len(lengths) // 2] < 130


def test_opencv_is_known_to_the_reader_of_files_to_alignment_and_to_one_function_that_labels_regions() -> None:
    knowing = {(of_the_project(path), at_once) for path in SOURCES for name, at_once in imports(path) if name == "cv2"}
    elsewhere = {(path, at_once) for path, at_once in knowing if not path.startswith("fuse/align/")}
    shelf = ("fuse/photos/shelf.py", True)  # fills in what an aligned picture does not show
    assert elsewhere - {shelf} == {("fuse/data/io.py", True), ("fuse/metrics/regions.py", False)}


@pytest.mark.parametrize("path", SOURCES, ids=of_the_project)
def test_slow_packages_are_imported_where_they_are_needed(path: Path) -> None:
    own = {"optuna"} if path.name.startswith("sweep_") else set()  # which fuse/sweep.py imports when it is time
    assert not {name for name, at_once in imports(path) if at_once} & SLOW - own


def test_only_the_commands_know_hydra_from_the_start() -> None:
    knowing = {path.name for path in SOURCES if ("hydra", True) in set(imports(path))}
    assert knowing <= {"cli.py", "mistakes.py", "multirun.py", "sweep.py"}


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=of_the_project)
def test_nothing_is_silenced_or_left_undone(path: Path) -> None:
    words = ("type: " + "ignore", "no" + "qa", "TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "pragma: " + "no")
    text = path.read_text()
    assert [word for word in words if word in text] == []


@pytest.mark.parametrize("path", SOURCES, ids=of_the_project)
def test_users_mistakes_are_no_assertions_and_no_error_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None)
        if isinstance(node, ast.Assert):
            # only to tell the type checker what is known
            assert isinstance(node.test, ast.Call | ast.Compare | ast.BoolOp)


@pytest.mark.parametrize("path", SOURCES, ids=of_the_project)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 20
