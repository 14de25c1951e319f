"""What a published number must carry beside its data: code, libraries, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def describe(libraries: Sequence[str]) -> dict[str, Any]:
    """The state of the code, versions and hardware, as plain values.

    Args:
        libraries: names of the distributions that the number depends on.

    Returns:
        `commit` and `uncommitted_changes_sha256` (None outside a clone, or without changes), `versions` of
        Python, this package and the libraries, and `hardware`.
    """
    difference = _git("diff", "HEAD")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes_sha256": hashlib.sha256(difference.encode()).hexdigest() if difference else None,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("dsdenseunet", *libraries)},
        },
        "hardware": {
            "host": platform.node(),
            "machine": platform.machine(),
            "system": platform.platform(),
            "processor": _processor(),
            "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
    }


def _git(*arguments: str) -> str | None:
    """Output of git in the source tree this package runs from; None where that is no clone."""
    source = Path(__file__).resolve().parents[1]
    if not (source / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
