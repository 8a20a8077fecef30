"""The wheel: what is in it, and that it works outside of the repository."""

import configparser
import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from commands import ROOT, TINY

pytest.importorskip("hatchling", reason="the build backend is not installed: pip install hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_holds_code_configuration_and_templates_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        entries = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    files = (path for path in (ROOT / "fuse").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {str(path.relative_to(ROOT)) for path in files} <= names
    assert {f"fuse/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")} <= names
    others = {name for name in names if not name.startswith("fuse/") and ".dist-info/" not in name}
    assert others == set()
    assert not {name for name in names if name.endswith(".pyc") or "test" in Path(name).name}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    scripts = configparser.ConfigParser()
    scripts.read_string(entries)
    assert set(scripts["console_scripts"]) >= {"fuse", "fuse-train", "fuse-eval", "fuse-list", "fuse-data"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the commands of an environment that has the wheel, and from ours everything it depends on."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home / "venv")
    python = home / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def run(installed: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a person in an empty folder would call it, without any trace of the repository."""
    place = installed.parent.parent / "empty"
    place.mkdir(exist_ok=True)
    environment = {"PATH": str(installed), "HOME": str(place)}
    return subprocess.run(
        [str(installed / command), *words], cwd=place, env=environment, capture_output=True, text=True, timeout=600
    )


def test_help_and_configuration_outside_of_the_repository(installed: Path) -> None:
    done = run(installed, "fuse-train", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "model: attentionfgan, cddfuse" in done.stdout
    done = run(installed, "fuse-eval", "--cfg", "job", "method=average", "out=e")
    assert (done.returncode, done.stderr) == (0, "")
    assert "method: average" in done.stdout
    done = run(installed, "fuse-train", "--info", "searchpath", "run.dir=x")
    assert str(ROOT) not in done.stdout
    assert "fuse/conf" in done.stdout


def test_manifests_outside_of_the_repository(installed: Path) -> None:
    done = run(installed, "fuse-data", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {card["name"]: card for card in json.loads(done.stdout)}["lytro"]["scenes"]["all"] == [0, 20]


def test_a_run_outside_of_the_repository(installed: Path) -> None:
    done = run(installed, "fuse-train", *TINY, "run.steps=2", "run.dir=r")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "r"
    folder = installed.parent.parent / "empty" / "r"
    assert "trained" in json.loads((folder / "eval" / "summary.json").read_text())["scores"]
    assert (folder / "report.html").stat().st_size > 1000
