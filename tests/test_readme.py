"""The commands that README and the pages under docs/ show are commands that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ENVIRONMENT, TINY
from hydra import compose, initialize_config_dir

import fuse
from fuse import app
from fuse.config import CONF, check

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^ *(?:PYTHONPATH=\. )?(fuse-train|fuse-eval) (.*)$", re.M)
JOINED = {page.name: re.sub(r" *\\\n *", " ", page.read_text()) for page in PAGES}  # lines that go on
FOUND = [(name, *match.groups()) for name, text in JOINED.items() for match in COMMAND.finditer(text)]
LINES = [found for found in FOUND if "--" not in found[2]]  # own networks have a test of their own
CONFIG = {"fuse-train": "train", "fuse-eval": "eval"}


def block(language: str, holding: str) -> str:
    """The fenced block of README in that language that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return next(text for text in blocks if holding in text)


@pytest.mark.parametrize(("page", "command", "words"), LINES, ids=lambda text: text[:40])
def test_commands_compose(page: str, command: str, words: str) -> None:
    given = [word for word in shlex.split(words.replace(",...]", "]"), comments=True) if word != "-m"]
    given = [re.sub(r"=([^\[,]*),.*", r"=\1", word) for word in given]  # of a sweep, the first job
    with initialize_config_dir(CONF, version_base="1.3"):
        assert compose(CONFIG[command], given)


def test_overrides_of_the_table_compose() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", page, re.M)
    assert len(rows) > 8
    for row in rows:
        given = [word for word in row.split() if word != "-m" and "=" in word]
        given = [re.sub(r"=([^\[,]*),.*", r"=\1", word) for word in given]
        model = ["model=densefuse"] if "rule" in row else []
        with initialize_config_dir(CONF, version_base="1.3"):
            compose("train", [*model, *given])


def test_the_own_network_of_readme_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynet.py").write_text(block("python", "class Net"))
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "mynet.yaml").write_text(block("yaml", "mynet.Net"))
    monkeypatch.syspath_prepend(str(tmp_path))
    with initialize_config_dir(CONF, version_base="1.3"):
        words = [f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]", "model=mynet", "loss=mffgan", "optim=adam"]
        cfg = compose("train", words)
    assert check({"model": cfg.model}) == []


MINE = """
import torch


def darkness(fused, sample):
    return fused.mean()


class Judge(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 3, stride=2)

    def forward(self, x):
        return self.conv(x).mean((1, 2, 3))
"""
RECIPE = """
range: [0, 1]
darkness: {weight: 3, term: {_target_: mine.darkness}}
"""
ADVERSARIAL = """
fuser: {_target_: mynet.Net, width: 4}
judge: {_target_: mine.Judge}
step:
  _target_: fuse.adversarial.Adversarial
  critics:
    judge:
      real: {_target_: fuse.losses.views.source, _partial_: true, role: near}
      fake: {_target_: fuse.losses.views.fused, _partial_: true}
  objective: {_target_: fuse.losses.objectives.Hinge}
patches: {_target_: fuse.data.patches.Patches, size: 32, batch: 2}
"""


def test_an_installed_plug_in_brings_network_loss_and_critic(tmp_path: Path) -> None:
    """As README shows it: no option names a folder, the package is merely there."""
    for name, text in {
        "mynet.py": block("python", "class Net"),
        "mine.py": MINE,
        "hydra_plugins/mynet.py": block("python", "SearchPathPlugin"),
        "mynet_conf/__init__.py": "",
        "mynet_conf/model/mynet.yaml": ADVERSARIAL,
        "mynet_conf/loss/mine.yaml": RECIPE,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = "from fuse.cli import train; train()"
    words = [*TINY, "model=mynet", "loss=mine", "optim=adam", "run.steps=2", "run.evaluate=false", "run.dir=out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    header = (tmp_path / "out" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"darkness", "adversarial", "judge", "judge_on_real", "judge_on_fused"} <= set(header)
    assert (tmp_path / "out" / "last" / "judge.safetensors").is_file()


def test_the_python_of_readme_runs() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.integers(0, 256, (2, 48, 50, 3), dtype=np.uint8)
    names = {"near": near, "far": far}
    exec(block("python", "fuse.load"), names)  # the lines a reader copies
    assert names["sharp"].shape == near.shape
    assert names["sharp"].dtype == near.dtype
    assert "q_g" in names["scores"]
    assert fuse.__version__


def test_readme_opens_with_the_two_scripts() -> None:
    text = (ROOT / "README.md").read_text()
    for script in ("scripts/demo", "scripts/test"):
        assert text.index(script) < text.index("fuse-train ")
        assert (ROOT / script).stat().st_mode & 0o111


def test_the_photographers_command_parses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        app.main(["near.jpg", "far.jpg", "-o", "sharp.png"])
    assert stopped.value.code == 2
    assert "near.jpg, far.jpg cannot be found" in capsys.readouterr().err
