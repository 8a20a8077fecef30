"""Released weights of MFF-GAN and PMGI in our networks: the same functions, by their pictures or scores."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT
from test_tensorflow import written

from fuse import checkpoint, convert, infer, judge
from fuse.config import build
from fuse.data import io
from fuse.errors import InputError
from fuse.models.mffgan import Generator
from fuse.models.pmgi import PMGI, Variant

# PSNR against the truth, pair by pair, as published beside the released pictures (MFI-WHU weights).
KNOWN_PSNR = {"1": 33.97, "101": 33.30, "103": 32.59}


def released(shared: Path, name: str) -> Generator:
    return convert.mffgan(shared / "weights" / "mffgan" / name / "CGAN.model-19")[0]


def made(tmp_path: Path, **changed: np.ndarray | None) -> Path:
    """A checkpoint with the names and shapes of the authors', of random numbers; `changed` by the end of a name."""
    numbers = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = {"1": (5, 1), "2": (3, 16), "2_3": (1, 32), "3": (3, 48), "3_4": (1, 32), "4": (3, 64)}
    for number, (kernel, channels) in inputs.items():
        for path in ("", "_far"):
            layer = f"{number}{path}"
            shapes[f"fusion_model/layer{layer}/w{layer}"] = (kernel, kernel, channels, 16)
            shapes[f"fusion_model/layer{layer}/b{layer}"] = (16,)
    shapes |= {"fusion_model/layer5/w5": (1, 1, 128, 1), "fusion_model/layer5/b5": (1,)}
    widths = (1, 32, 64, 128, 256)
    for i in range(1, 5):
        shapes |= {f"discriminator/layer_{i}/w_{i}": (3, 3, widths[i - 1], widths[i])}
        shapes |= {f"discriminator/layer_{i}/b_{i}": (widths[i],)}
        if i > 1:
            norm = f"discriminator/layer_{i}/BatchNorm"
            shapes |= {f"{norm}/{name}": (widths[i],) for name in ("beta", "gamma", "moving_mean", "moving_variance")}
    shapes |= {"discriminator/line_5/w_5": (1024, 1), "discriminator/line_5/b_5": (1,)}
    tensors = {name: numbers.random(shape, np.float32) for name, shape in shapes.items()}
    for end, tensor in changed.items():
        name = next(name for name in tensors if name.endswith(f"/{end}"))
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    written(tmp_path / "CGAN.model-19", tensors, per_block=5)
    return tmp_path / "CGAN.model-19"


def made_pmgi(tmp_path: Path, **changed: np.ndarray) -> Path:
    """A checkpoint with the names and shapes of PMGI's authors, of random numbers; `changed` by the end of a name."""
    numbers, norm = np.random.default_rng(0), ("beta", "gamma", "moving_mean", "moving_variance")
    inputs = {"1": (5, 3), "2": (3, 16), "2_3": (1, 32), "3": (3, 48), "3_4": (1, 32), "4": (3, 64)}
    shapes: dict[str, tuple[int, ...]] = {"fusion_model/layer5/w5": (1, 1, 128, 1), "fusion_model/layer5/b5": (1,)}
    for number, (kernel, channels) in inputs.items():
        for layer in (number, f"{number}_vi"):
            shapes[f"fusion_model/layer{layer}/w{layer}"] = (kernel, kernel, channels, 16)
            shapes[f"fusion_model/layer{layer}/b{layer}"] = (16,)
            shapes |= {f"fusion_model/layer{layer}/BatchNorm/{name}": (16,) for name in norm}
    tensors = {name: numbers.random(shape, np.float32) for name, shape in shapes.items()}
    for end, tensor in changed.items():
        tensors[next(name for name in tensors if name.endswith(f"/{end}"))] = tensor
    written(tmp_path / "CGAN.model-1", tensors, per_block=5)
    return tmp_path / "CGAN.model-1"


def test_every_number_of_pmgi_finds_its_place(tmp_path: Path) -> None:
    kernel = np.arange(3 * 3 * 48 * 16, dtype=np.float32).reshape(3, 3, 48, 16)
    network = convert.pmgi(made_pmgi(tmp_path, w3_vi=kernel))
    assert network.b.layer3.conv.weight[5, 7, 1, 2] == kernel[1, 2, 7, 5]
    assert network.a.layer3.conv.weight.max() < 1
    assert not network.training
    stored = convert.tensorflow.read(tmp_path / "CGAN.model-1")
    scope = "fusion_model/layer3_4_vi/BatchNorm"
    norm = network.b.exchange2.norm
    for ours, theirs in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")):
        assert torch.equal(getattr(norm, ours), torch.from_numpy(stored[f"{scope}/{theirs}"].copy()))
    tensors = [x.flatten() for x in network.state_dict().values() if x.is_floating_point()]
    assert len(torch.cat(tensors)) == 42_401
    everything = np.concatenate([x.flatten() for x in stored.values()])
    assert torch.cat(tensors).double().sum().item() == pytest.approx(everything.astype(float).sum())


def test_kernels_are_turned_and_every_number_finds_its_place(tmp_path: Path) -> None:
    kernel = np.arange(3 * 3 * 48 * 16, dtype=np.float32).reshape(3, 3, 48, 16)
    line = np.arange(1024, dtype=np.float32).reshape(1024, 1)
    generator, critic = convert.mffgan(made(tmp_path, w3_far=kernel, w_5=line))
    weight = generator.far.conv3.weight
    assert weight[5, 7, 1, 2] == kernel[1, 2, 7, 5]
    assert not generator.training
    # row (height * 2 + width) * 256 + channel there, channel * 4 + height * 2 + width here
    assert critic.linear.weight[0, 100 * 4 + 1 * 2 + 0] == (1 * 2 + 0) * 256 + 100
    everything = torch.cat([p.flatten() for p in (*generator.parameters(), *critic.parameters())])
    assert len(everything) == 40_033 + 389_761
    assert not torch.equal(generator.near.conv3.weight, generator.far.conv3.weight)
    assert critic.norms[1].running_var.max() < 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"w4": None}, "is not a checkpoint of MFF-GAN: 'fusion_model/layer4/w4'"),
        ({"b5": np.zeros(3, np.float32)}, r"is not a checkpoint of MFF-GAN: \(3,\) where \(1,\) is expected"),
        ({"w_5": np.zeros((256, 1), np.float32)}, "is not a checkpoint of MFF-GAN"),
        ({"w1": np.zeros((5, 5), np.float32)}, "is not a checkpoint of MFF-GAN"),
    ],
)
def test_checkpoints_of_others_are_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        convert.mffgan(made(tmp_path, **changed))


def test_the_checkpoints_of_another_method_are_refused(shared: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint of MFF-GAN"):
        convert.mffgan(shared / "weights" / "pmgi" / "ir_vi" / "CGAN.model-1")


def test_pmgi_refuses_the_checkpoints_of_others(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"is not a checkpoint of PMGI: 'fusion_model/layer1/w1'|where \(16, 3, 5, 5\)"
    ):
        convert.pmgi(made(tmp_path))
    with pytest.raises(InputError, match=r"is not a checkpoint of PMGI: \(3,\) where \(1,\) is expected"):
        convert.pmgi(made_pmgi(tmp_path, b5=np.zeros(3, np.float32)))


def test_the_script_makes_a_checkpoint_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["convert", *words])
        runpy.run_path(str(ROOT / "scripts" / "convert"), run_name="__main__")

    prefix = made(tmp_path)
    script("mffgan", str(prefix), str(tmp_path / "out"))
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    fuser, card = checkpoint.load(tmp_path / "out")
    generator, _ = convert.mffgan(prefix)
    assert all(torch.equal(a, b) for a, b in zip(fuser.parameters(), generator.parameters(), strict=True))
    assert "MIT" in card["weights"]
    with pytest.raises(SystemExit) as stop:
        script("mffgan", "nowhere", "x")
    assert stop.value.code == "convert: nowhere.index cannot be opened: No such file or directory"
    with pytest.raises(SystemExit, match="released weights of 'pgmi' cannot be read; did you mean pmgi"):
        script("pgmi", str(prefix), "x")
    with pytest.raises(SystemExit, match="usage: scripts/convert METHOD"):
        script()
    script("pmgi", str(made_pmgi(tmp_path)), str(tmp_path / "pmgi"))
    fuser, card = checkpoint.load(tmp_path / "pmgi")
    assert isinstance(fuser, PMGI)
    assert "PMGI_AAAI2020, MIT" in card["weights"]


def agreement(shared: Path, generator: Generator, data: str, stem: str) -> None:
    folder = shared / "datasets" / data
    sources = [io.read(io.pictures(folder / role)[stem])[None] for role in ("near", "far")]
    theirs = io.read(shared / "released" / data / "mffgan-mfi-whu" / f"{stem}.png")[None]
    apart = (infer.fuse(generator, sources).int() - theirs.int()).abs()
    assert apart.max() <= 1
    assert (apart == 0).double().mean() > 0.9999


def stems(shared: Path, data: str) -> list[str]:
    return list(io.pictures(shared / "released" / data / "mffgan-mfi-whu"))


@pytest.mark.parametrize(("data", "stem"), [("lytro", "lytro-01"), ("lytro", "lytro-08"), ("mfi_whu", "113")])
def test_pictures_are_those_of_the_released_network(shared: Path, data: str, stem: str) -> None:
    agreement(shared, released(shared, "MFI-WHU"), data, stem)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["lytro", "mfi_whu"])
def test_all_pictures_are_those_of_the_released_network(shared: Path, data: str) -> None:
    generator = released(shared, "MFI-WHU")
    assert len(stems(shared, data)) > 9
    for stem in stems(shared, data):
        agreement(shared, generator, data, stem)


def psnr(shared: Path, generator: torch.nn.Module, node: dict[str, Any], split: str) -> dict[str, float]:
    data = build(node | {"root": str(shared / "datasets")})
    return {
        sample.names[0]: judge.scores(infer.fuse(generator, sample.sources), sample, ["psnr_ref"])["psnr_ref"]
        for sample in data.samples(split)
    }


def test_scores_are_those_published_pair_by_pair(shared: Path, composed: Callable[..., dict[str, Any]]) -> None:
    node = composed("eval", "data=mfi_whu")["data"] | {"splits": {"some": list(KNOWN_PSNR)}}
    assert psnr(shared, released(shared, "MFI-WHU"), node, "some") == pytest.approx(KNOWN_PSNR, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "known"), [("Lytro", 31.25), ("MFI-WHU", 32.84)])
def test_mean_scores_are_those_of_the_sheet(
    shared: Path, composed: Callable[..., dict[str, Any]], name: str, known: float
) -> None:
    scores = psnr(shared, released(shared, name), composed("eval", "data=mfi_whu")["data"], "ten")
    assert len(scores) == 10
    assert sum(scores.values()) / 10 == pytest.approx(known, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "known"), [("paper", 26.41), ("released", 19.01)])
def test_mean_scores_of_pmgi_are_those_of_the_sheet(
    shared: Path, composed: Callable[..., dict[str, Any]], variant: Variant, known: float
) -> None:
    network = PMGI(variant).eval()
    network.load_state_dict(convert.pmgi(shared / "weights" / "pmgi" / "multi-focus" / "CGAN.model-1").state_dict())
    scores = psnr(shared, network, composed("eval", "data=mfi_whu")["data"], "ten")
    assert sum(scores.values()) / 10 == pytest.approx(known, abs=0.01)


def test_a_score_of_pmgi_is_what_it_was_when_the_means_were_those_of_the_sheet(
    shared: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    network = convert.pmgi(shared / "weights" / "pmgi" / "multi-focus" / "CGAN.model-1")
    node = composed("eval", "data=mfi_whu")["data"] | {"splits": {"some": ["3"]}}
    assert psnr(shared, network, node, "some") == pytest.approx({"3": 29.69}, abs=0.01)


@pytest.mark.parametrize("task", ["ir_vi/CGAN.model-1", "medical/CGAN.model-29", "multi-exposure/CGAN.model-9"])
def test_the_other_tasks_of_pmgi_are_read(shared: Path, task: str) -> None:
    network = convert.pmgi(shared / "weights" / "pmgi" / task)
    assert all(torch.isfinite(x).all() for x in network.state_dict().values())
    assert network.a.layer1.norm.running_var.min() > 0
    assert not torch.equal(network.a.layer1.conv.weight, network.b.layer1.conv.weight)
