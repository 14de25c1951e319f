"""One prepared cache and one folder of compiled programs for all tests of training."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dsdenseunet.models import registry
from tests.training import tiny


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Subprocesses compile once; the user's own folder is left alone."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("xla"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_cache(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="session")
def reference(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("reference") / "run"
    tiny.run(tiny.command(cache, workdir))
    return workdir


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TinyNet` in the place of the configured network, in this process."""
    monkeypatch.setattr(registry, "build", tiny.build_tiny)


@pytest.fixture
def config(cache: Path) -> ConfigDict:
    config = tiny.get_config()
    config.data.cache = str(cache)
    return config


@pytest.fixture
def finished(reference: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(reference, tmp_path / "finished"))
