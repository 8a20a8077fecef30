"""Every file under conf/: it composes, binds to what it names, and says what its keys mean."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from fuse.config import CONF, Run, build, check, typed
from fuse.data import manifest
from fuse.metrics import METRICS

FILES = sorted(Path(CONF).rglob("*.yaml"))
GROUPS = {group: sorted(path.stem for path in Path(CONF, group).glob("*.yaml")) for group in ("model", "data", "loss")}
Composed = Callable[..., dict[str, Any]]
# Keys that their own name explains, the line above them, or the constructor that they are handed to.
PLAIN = {"run", "model", "optim", "data", "hydra", "step", "fuser", "critic", "patches", "term", "role", "range"}
PLAIN |= {"name", "task", "roles", "get", "lr", "batch", "augment", "order", "schedule", "optimiser", "patch", "steps"}
PLAIN |= {
    "weight",
    "train",
    "val",
    "test",
    "cite",
    "terms",
    "_partial_",
    "scene",
    "inside",
    "shares",
    "distance",
    "about",
}
PLAIN |= {
    "about",
    "size",
    "padding",
    "kernel",
    "stride",
    "shrink",
    "critics",
    "objective",
    "factor",
    "ir",
    "vi",
    "near",
    "mid",
    "far",
}
MADE, OWN = "synthetic", ("folder", "photographs")  # data that are no set with files of its own
JOINED = ("infrared", "medical")  # several sets as one
SETS = [name for name in GROUPS["data"] if name not in (*OWN, *JOINED) and not name.startswith(MADE)]


def of_the_project(path: Path) -> str:
    return str(path.relative_to(CONF))


ONE_OF_A_TASK = {"focus": "lytro", "infrared": "tno", "medical": "ct_mri", "exposure": "mefb", "made": MADE}
COMBINED = [(model, data) for model in GROUPS["model"] for data in ONE_OF_A_TASK.values()]
COMBINED += [("mffgan", data) for data in GROUPS["data"] if data not in ONE_OF_A_TASK.values()]


@pytest.mark.parametrize(("model", "data"), COMBINED)
def test_every_model_composes_with_every_task_and_every_set_with_a_model(
    model: str, data: str, composed: Composed
) -> None:
    cfg = composed("train", f"model={model}", f"data={data}")
    assert check(cfg) == []
    assert typed(cfg["run"]).objective in METRICS
    assert cfg["data"]["_target_"].startswith("fuse.data.")


OF_TRAINING = ("model", "data", "loss", "optim", "experiment", "debug")


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in OF_TRAINING], ids=of_the_project)
def test_every_choice_composes(path: Path, composed: Composed) -> None:
    assert check(composed("train", f"{path.parent.name}={path.stem}")) == []


@pytest.mark.parametrize("data", GROUPS["data"])
def test_evaluation_composes_with_all_data(data: str, composed: Composed) -> None:
    cfg = composed("eval", f"data={data}", "method=average")
    assert check(cfg) == []
    assert set(cfg) >= {"ckpt", "method", "split", "out", "metrics", "trivial", "tile", "device", "trust"}


def test_one_set_stands_for_every_task(composed: Composed) -> None:
    tasks = {name: composed("train", f"data={name}")["data"]["task"] for name in SETS}
    assert set(tasks.values()) == set(ONE_OF_A_TASK) - {"made"}
    assert all(tasks[name] == task for task, name in ONE_OF_A_TASK.items() if task != "made")


@pytest.mark.parametrize("data", SETS)
def test_every_set_can_be_trained_validated_and_judged_or_says_that_it_is_only_for_evaluation(
    data: str, composed: Composed
) -> None:
    made = build(composed("train", f"data={data}")["data"] | {"root": "nowhere"})
    assert made.name == data
    assert made.get.endswith(".")
    assert made.terms.endswith(".")
    assert made.cite
    assert made.colour in ("all", "none") or set(made.colour.split(", ")) <= set(made.roles)
    only = "only for evaluation" in Path(CONF, "data", f"{data}.yaml").read_text().splitlines()[0]
    assert only == ("train" not in made.splits)
    assert {"test"} <= set(made.splits)
    if not only:
        assert {"train", "val", "test"} <= set(made.splits)
        assert len([str(stem) for split in made.splits.values() if split != "rest" for stem in split]) > 1


@pytest.mark.parametrize("name", [name for name in GROUPS["data"] if name.startswith(MADE)])
def test_made_data_can_be_trained_validated_and_judged(name: str, composed: Composed) -> None:
    made = build(composed("train", f"data={name}", "data.size=32", "data.test=1")["data"])
    assert set(made.counts) == {"train", "val", "test"}
    assert made.name == name
    sample = next(made.samples("test"))
    assert sample.roles == made.roles
    assert sample.reference is not None


@pytest.mark.parametrize("data", JOINED)
def test_joined_sets_are_what_their_parts_are_by_themselves(data: str, composed: Composed) -> None:
    node = composed("train", f"data={data}")["data"]
    made = build(node)
    assert (made.name, made.task) == (data, data)
    for name, part in node["parts"].items():
        assert part == composed("train", f"data={name}")["data"]
        assert {"train", "val", "test"} <= set(made.splits(name))
        assert part["task"] == data


@pytest.mark.parametrize("data", SETS)
def test_the_parts_of_every_set_share_no_picture(data: str, composed: Composed) -> None:
    """On the complete set, as its manifest lists it."""
    made = build(composed("train", f"data={data}")["data"] | {"root": "nowhere"})
    if not manifest.exists(data):
        assert data in ("m3fd", "llvip")
        return
    stems = manifest.stems(manifest.load(data))
    parts = [made.members(split, stems) for split in ("train", "val", "test") if split in made.splits]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts))
    others = [made.members(split, stems) for split in made.splits if split not in ("train", "val", "test")]
    assert all(others)
    assert set().union(*parts, *others) == set(stems)


def test_the_parts_of_the_sets_at_hand(composed: Composed, shared: Path) -> None:
    for data in ("lytro", "mfi_whu", "tno", "roadscene", "ct_mri", "pet_mri", "spect_mri", "mfifb", "mefb"):
        made = build(composed("train", f"data={data}")["data"] | {"root": str(shared / "datasets")})
        parts = [set(made.stems(split)) for split in ("train", "val", "test")]
        assert all(parts), data
        assert set.union(*parts) == set(made.stems("all"))
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_run_settings_are_those_of_the_class(composed: Composed) -> None:
    written = OmegaConf.to_container(OmegaConf.load(Path(CONF, "run", "default.yaml")), resolve=False)
    assert isinstance(written, dict)
    fields = inspect.signature(Run).parameters
    assert list(written) == list(fields)  # the same names in the same order
    for name, parameter in fields.items():
        if parameter.default is not inspect.Parameter.empty:
            assert written[name] == parameter.default, name


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for key, value in node.items():
            if key != "hydra":
                yield from nodes(value)


@pytest.mark.parametrize("path", FILES, ids=of_the_project)
def test_keys_mirror_the_order_of_the_constructor(path: Path) -> None:
    for node in nodes(OmegaConf.to_container(OmegaConf.load(path), resolve=False)):
        known = list(inspect.signature(get_object(node["_target_"])).parameters)
        places = [known.index(key) for key in node if not key.startswith("_") and key != "defaults"]
        assert places == sorted(places), node["_target_"]


@pytest.mark.parametrize("path", FILES, ids=of_the_project)
def test_a_file_says_what_it_is(path: Path) -> None:
    said = [line for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line]
    assert said
    assert len(said[0]) > 20


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in ("conf", "run", "model", "loss", "optim", "data")], ids=of_the_project
)
def test_every_key_says_what_it_means(path: Path) -> None:
    inside, above, known = "", "", PLAIN | {""}
    for line in path.read_text().splitlines():
        indent, key = re.match(r"( *)([a-z_0-9]*):?", line).groups()
        if not indent and key:
            inside = key
        explained = "#" in line or above.strip().startswith("#") or f"`{key}`" in above
        explained |= key in known or "_target_" in line
        elsewhere = inside in ("defaults", "hydra", "splits") or (inside == "run" and path.parent.name != "run")
        term = path.parent.name == "loss" and not indent  # its weight and its function bear the comments
        assert explained or elsewhere or term, line
        above, known = line, known | {key}


def test_names_have_no_slash_and_only_one_ending() -> None:
    for path in (path for path in Path(CONF).rglob("*") if path.is_file()):
        assert path.suffix == (".csv" if path.parent.name == "manifest" else ".yaml")


def test_the_recipes_of_the_papers_are_pinned(composed: Composed) -> None:
    """What the sheets say, read through the composed configuration."""
    gan = composed("train", "experiment=mffgan_lytro")
    step, patches = gan["model"]["step"], gan["model"]["patches"]
    assert (step["critic_steps"], step["content_weight"]) == (2, 10)
    labels = step["objective"]
    assert (labels["real"], labels["fake"], labels["fuser"]) == ([0.7, 1.2], [0.0, 0.3], [0.7, 1.2])
    assert (patches["size"], patches["stride"], patches["batch"], patches["augment"]) == (60, 10, 32, False)
    assert {name: gan["loss"][name]["weight"] for name in ("intensity", "gradient")} == {"intensity": 1, "gradient": 5}
    assert gan["loss"]["range"] == [-1, 1]
    adam = gan["optim"]["optimiser"]
    assert (gan["optim"]["lr"], adam["betas"], adam["eps"]) == (1e-4, [0.9, 0.999], 1e-8)
    assert gan["model"]["fuser"]["init_std"] == gan["model"]["critic"]["init_std"] == 0.001
    assert gan["model"]["critic"]["patch"] == 60
    assert gan["data"]["name"] == "lytro"

    dense = composed("train", "experiment=densefuse_tno")
    assert (dense["loss"]["range"], dense["optim"]["lr"]) == ([0, 255], 1e-4)
    assert {name: dense["loss"][name]["weight"] for name in ("pixel", "ssim")} == {"pixel": 1, "ssim": 100}
    assert composed("train", "model=fusionnet", "data=mfi_whu")["optim"]["lr"] == 1e-3


def test_the_critic_follows_the_size_of_the_patches(composed: Composed) -> None:
    assert composed("train", "model.patches.size=40")["model"]["critic"]["patch"] == 40


def test_loss_and_optimiser_belong_to_the_model_unless_named(composed: Composed) -> None:
    assert "pixel" in composed("train", "model=densefuse")["loss"]
    assert "mse" in composed("train", "model=densefuse", "loss=fusionnet")["loss"]
    assert composed("train", "model=fusionnet", "data=tno", "optim=adam")["optim"]["lr"] == 1e-4
