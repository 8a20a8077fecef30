"""The commands that README and the pages under docs/ show are commands that exist."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
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
