"""What every test shares: checked types, one thread, no settings of the person who runs them."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from commands import ROOT, TINY, Outcome
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from omegaconf import OmegaConf

jaxtyping.install_import_hook("fuse", "runtime_types.checked")
settings.register_profile("suite", deadline=None, derandomize=True, database=None)  # the same examples everywhere
settings.load_profile("suite")

SHARED = ROOT.parent / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """OmegaConf derives its classes from `typing`'s, which the type checker finds old-fashioned."""
    config.addinivalue_line("filterwarnings", "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Training switches them off for the whole process; what comes after may need them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FUSE_DATA", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shared() -> Path:
    """Real pictures and released weights, which are no part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here")
    return SHARED


@pytest.fixture
def unchecked_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what a configuration can hand over although the annotations forbid it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The configuration of a command, as plain Python, with overrides as on the command line."""

    def compose_plain(command: str, *overrides: str) -> dict[str, Any]:
        place = {"train": "run.dir", "eval": "out"}[command]
        if not any(word.startswith(f"{place}=") for word in overrides):
            overrides = (*overrides, f"{place}={tmp_path / 'run'}")
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            plain = OmegaConf.to_container(compose(command, list(overrides)), resolve=True)
        assert isinstance(plain, dict)
        return plain

    return compose_plain


@pytest.fixture
def tiny(composed: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """The configuration of a training run of seconds on made data, and its folder."""

    def make(folder: str, *overrides: str) -> tuple[dict[str, Any], Path]:
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        return composed("train", *TINY, *overrides, f"run.dir={out}"), out

    return make


@pytest.fixture
def run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Outcome]]:
    """`fuse-train` or `fuse-eval` in this process, in an empty folder."""
    from fuse import cli
    from fuse.multirun import Table

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    root = logging.getLogger()
    before = root.level, root.handlers[:]

    def run(command: str, *words: str) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(Table, "failed", [])
        monkeypatch.setattr(sys, "argv", [f"fuse-{command}", *words])
        try:
            {"train": cli.train, "eval": cli.evaluate}[command]()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            GlobalHydra.instance().clear()
        return Outcome(code, *capsys.readouterr())

    yield run
    for handler in root.handlers:
        if handler not in before[1]:
            handler.close()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
