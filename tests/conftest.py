"""What every test shares: checked types, one thread, no settings of the person who runs them."""

from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

jaxtyping.install_import_hook("fuse", "runtime_types.checked")
settings.register_profile("suite", deadline=None, derandomize=True, database=None)  # the same examples everywhere
settings.load_profile("suite")

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
