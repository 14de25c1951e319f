"""What a published number must carry beside its data: code, libraries, machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdenseunet import __version__


@functools.cache
def code_fingerprint(*modules: str) -> str:
    """SHA-256 over the code of packages and modules, so that results of different code can be told apart.

    It covers this package's version and every file of the modules, data files included; only what
    Python itself caches is left out. Equal files give an equal value, wherever they are installed.

    Args:
        *modules: dotted names: a module is its file, a package everything below its folder.

    Raises:
        ModuleNotFoundError: no such module.
    """
    digest = hashlib.sha256(__version__.encode())
    for module in sorted(modules):
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module, name=module)
        origin = Path(spec.origin)
        root = origin.parent
        paths = root.rglob("*") if spec.submodule_search_locations else [origin]
        for path in sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts):
            digest.update(f"{module}/{path.relative_to(root)}".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe(libraries: Sequence[str]) -> dict[str, Any]:
    """The state of the code, versions and hardware, as plain values.

    Args:
        libraries: names of the distributions that the number depends on.

    Returns:
        `commit` and `uncommitted_changes_sha256` (None outside a clone, or without changes), `versions` of
        Python, this package and the libraries (None for one that is not installed), and `hardware`.
    """
    difference, commit = _git("diff", "HEAD"), _git("rev-parse", "HEAD")
    return {
        "commit": commit.decode() if commit else None,
        "uncommitted_changes_sha256": hashlib.sha256(difference).hexdigest() if difference else None,
        "versions": {
            "python": platform.python_version(),
            "dsdenseunet": __version__,
            **{name: installed_version(name) for name in libraries},
        },
        "hardware": {
            "host": platform.node(),
            "machine": platform.machine(),
            "system": platform.platform(),
            "processor": _processor(),
            "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
    }


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or what its module says; None where neither is known."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(distribution.replace("-", "_")), "__version__", None)


def _git(*arguments: str) -> bytes | None:
    """Output of git in the source tree this package runs from; None where that is no clone."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
