"""Where a run's numbers come from: code, libraries, hardware, config, data."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from dsdenseunet import files, parallel

PROVENANCE_FILE = "provenance.json"
_LIBRARIES = (
    "dsdenseunet",
    "flax",
    "grain",
    "jax",
    "jaxlib",
    "ml_collections",
    "numpy",
    "optax",
    "orbax-checkpoint",
    "scipy",
)


def gather(config: dict[str, Any], data_fingerprint: str) -> dict[str, Any]:
    """Everything that decides a run's numbers, as plain values.

    Args:
      config: the resolved config.
      data_fingerprint: hash over the cache's content.
    """
    return {
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes_sha256": _uncommitted_changes(),
        "versions": {"python": platform.python_version(), **library_versions()},
        "hardware": {
            "host": platform.node(),
            "machine": platform.machine(),
            "system": platform.platform(),
            "cpu_cores": os.cpu_count(),
            **parallel.describe_devices(),
        },
        "config": config,
        "data_sha256": data_fingerprint,
    }


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a run's numbers or its checkpoints depend on."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def read_starts(workdir: Path) -> list[dict[str, Any]]:
    """What earlier starts in this workdir recorded, oldest first."""
    path = workdir / PROVENANCE_FILE
    return files.read_json(path)["starts"] if path.exists() else []


def add_start(workdir: Path, start: dict[str, Any]) -> None:
    """Adds this start's record to `provenance.json`."""
    files.write_json(workdir / PROVENANCE_FILE, {"starts": [*read_starts(workdir), start]})


def _uncommitted_changes() -> str | None:
    """Hash of the difference between the working tree and the commit; None where there is none."""
    difference = _git("diff", "HEAD")
    return hashlib.sha256(difference.encode()).hexdigest() if difference else None


def _git(*arguments: str) -> str | None:
    """Output of git in the source tree this package runs from; None where that is no clone."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
