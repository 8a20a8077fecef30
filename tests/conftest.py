"""What every test shares: checked types, one thread, no settings of the person who runs them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import settings
from omegaconf import OmegaConf

jaxtyping.install_import_hook("fuse", "runtime_types.checked")
settings.register_profile("suite", deadline=None, derandomize=True, database=None)  # the same examples everywhere
settings.load_profile("suite")

CONF = str(Path(__file__).parents[1] / "conf")
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


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
        with initialize_config_dir(CONF, version_base="1.3"):
            plain = OmegaConf.to_container(compose(command, list(overrides)), resolve=True)
        assert isinstance(plain, dict)
        return plain

    return compose_plain
