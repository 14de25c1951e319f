"""One prepared cache and one folder of compiled programs for all tests of training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
