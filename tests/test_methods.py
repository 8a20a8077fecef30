"""What a word on the command line can mean, folders of others' pictures, and the trivial rows."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fuse import checkpoint, methods
from fuse.data import io
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.models.conditional import Conditional
from fuse.models.mffgan import Generator
from fuse.models.pyramid import Laplacian

CPU = torch.device("cpu")


def picture(seed: int, channels: int = 3, depth: torch.dtype = torch.uint8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(torch.iinfo(depth).max + 1, (1, channels, 12, 10), generator=generator).to(depth)


def sample(name: str = "p1", channels: int = 3) -> Sample:
    return Sample((picture(1, channels), picture(2, channels)), None, (name,), ("ir", "vi"))


def saved(folder: Path, step: int = 5) -> Generator:
    fuser = Generator(None)
    card = {"fuser": {"_target_": "fuse.models.mffgan.Generator", "init_std": None}, "step": step}
    checkpoint.save(folder, {"fuser": fuser}, card, {}, {})
    return fuser


def test_a_rule_by_name() -> None:
    method = methods.resolve("laplacian", CPU)
    assert method.name == "laplacian"
    assert method.facts == {"kind": "rule", "class": "Laplacian", "parameters": 0}
    from fuse import infer

    assert torch.equal(method.fuse(sample()), infer.fuse(Laplacian(), sample().sources))


def test_a_checkpoint_by_path(tmp_path: Path) -> None:
    saved(tmp_path / "runs" / "mine" / "best", 7)
    method = methods.resolve(str(tmp_path / "runs" / "mine"), CPU)
    assert method.name == "runs-mine"
    weights = checkpoint.digest(tmp_path / "runs" / "mine" / "best")
    assert {key: method.facts[key] for key in ("kind", "weights", "step", "parameters", "class")} == {
        "kind": "checkpoint",
        "weights": weights,
        "step": 7,
        "parameters": 40_033,
        "class": "Generator",
    }
    assert method.fuse(sample()).shape == (1, 3, 12, 10)
    assert methods.resolve(str(tmp_path / "runs" / "mine" / "best"), CPU).name == "mine-best"


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path / "c")
    assert methods.resolve("~/c", CPU).facts["kind"] == "checkpoint"


def test_a_damaged_checkpoint_is_no_folder_of_pictures(tmp_path: Path) -> None:
    saved(tmp_path / "c")
    (tmp_path / "c" / "fuser.safetensors").unlink()
    io.write(tmp_path / "c" / "p1.png", picture(1)[0])
    with pytest.raises(InputError, match="holds no checkpoint"):
        methods.resolve(str(tmp_path / "c"), CPU)


@pytest.mark.parametrize("name", ["p1.png", "p1_fused.png", "p1-fused.tif", "p1_a-b.bmp"])
def test_a_folder_of_pictures_by_stem(tmp_path: Path, name: str) -> None:
    io.write(tmp_path / "theirs" / name, picture(5)[0])
    io.write(tmp_path / "theirs" / "p11.png", picture(6)[0])
    method = methods.resolve(str(tmp_path / "theirs"), CPU)
    assert method.facts["kind"] == "folder"
    assert method.facts["pictures"] == 2
    assert torch.equal(method.fuse(sample()), picture(5))


def test_the_exact_stem_wins(tmp_path: Path) -> None:
    io.write(tmp_path / "t" / "p1.png", picture(5)[0])
    io.write(tmp_path / "t" / "p1_old.png", picture(6)[0])
    assert torch.equal(methods.resolve(str(tmp_path / "t"), CPU).fuse(sample()), picture(5))


def test_what_is_ambiguous_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    for name in ("p1_a.png", "p1_b.png", "p2.png"):
        io.write(tmp_path / "t" / name, picture(5)[0, :, :, :9])
    method = methods.resolve(str(tmp_path / "t"), CPU)
    with pytest.raises(InputError, match="has 2 pictures for 'p1'; exactly one"):
        method.fuse(sample())
    with pytest.raises(InputError, match="has 0 pictures for 'p3'"):
        method.fuse(sample("p3"))
    with pytest.raises(InputError, match=r"p2\.png is 9x12 but its sources are 10x12; a resized result cannot"):
        method.fuse(sample("p2"))


def test_what_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a shipped network nor a folder; did you mean laplacian"):
        methods.resolve("laplacain", CPU)
    with pytest.raises(InputError, match="holds neither a checkpoint nor pictures"):
        methods.resolve(str(tmp_path), CPU)


def test_trivial_rows() -> None:
    rows = {row.name: row for row in methods.trivial(("ir", "vi"))}
    assert list(rows) == ["copy-ir", "copy-vi", "average", "maximum", "stretched-average", "noisy-average"]
    assert {row.facts["kind"] for row in rows.values()} == {"trivial"}
    one = sample()
    assert torch.equal(rows["copy-ir"].fuse(one), one.sources[0])
    assert torch.equal(rows["copy-vi"].fuse(one), one.sources[1])
    mean = (one.sources[0].double() + one.sources[1].double()) / 2
    average = rows["average"].fuse(one)
    assert (average.double() - mean).abs().max() <= 0.5
    stretched = rows["stretched-average"].fuse(one)
    assert (stretched.min(), stretched.max()) == (0, 255)
    noisy = rows["noisy-average"].fuse(one)
    assert torch.equal(noisy, rows["noisy-average"].fuse(one))
    assert not torch.equal(noisy, rows["noisy-average"].fuse(one._replace(names=("p2",))))


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_noise_has_its_deviation_and_stretching_its_range(depth: torch.dtype) -> None:
    full = torch.iinfo(depth).max
    flat = torch.full((1, 3, 80, 80), full // 2, dtype=torch.int64).to(depth)
    noise = (methods.noisy(flat, "x").double() - full // 2) / full * 255
    assert noise.std().item() == pytest.approx(10, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=0.5)
    assert torch.equal(noise[0, 0], noise[0, 1])  # grey
    ramp = torch.tensor([[10, 20, 30]]).to(depth)[None, None]
    assert methods.stretched(ramp).flatten().tolist() == [0, round(full / 2), full]
    assert methods.stretched(flat).unique().tolist() == [0]


def test_a_balance_by_name(tmp_path: Path) -> None:
    node = {"_target_": "fuse.models.conditional.Conditional"}
    checkpoint.save(tmp_path / "net", {"fuser": Conditional()}, {"fuser": node}, {}, {})
    found, facts = methods.fuser(f"{tmp_path}/net@0.25", torch.device("cpu"))
    assert (vars(found)["balance"], facts["balance"], facts["kind"]) == (0.25, 0.25, "checkpoint")
    assert methods.resolve(f"{tmp_path}/net@1", torch.device("cpu")).name.endswith("net@1")
    for given, words in (("average@0.5", "average has no balance to set"), (f"{tmp_path}/net@1.5", "must be from 0")):
        with pytest.raises(InputError, match=words):
            methods.fuser(given, torch.device("cpu"))
