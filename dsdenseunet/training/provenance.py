"""Where a run's numbers come from: code, libraries, hardware, config, data."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import environment, parallel

PROVENANCE_FILE = "provenance.json"
# What a run's numbers or its checkpoints depend on.
_LIBRARIES = (
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
    described = environment.describe(_LIBRARIES)
    return {
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        **described,
        "hardware": {**described["hardware"], **parallel.describe_devices()},
        "config": config,
        "data_sha256": data_fingerprint,
    }


def read_starts(workdir: Path) -> list[dict[str, Any]]:
    """What earlier starts in this workdir recorded, oldest first.

    Raises:
        InputError: the file is damaged.
    """
    path = workdir / PROVENANCE_FILE
    if not path.exists():
        return []
    starts = read.get("starts") if isinstance(read := files.read_json(path), dict) else None
    wanted = {"config": dict, "data_sha256": str, "versions": dict, "hardware": dict}
    if not isinstance(starts, list) or not all(
        isinstance(start, dict) and all(isinstance(start.get(name), kind) for name, kind in wanted.items())
        for start in starts
    ):
        raise InputError(
            path,
            found="not the record of a run's starts",
            expected=f"a list of starts, each with {', '.join(wanted)}",
            fix="restore the file from a backup, or remove it to go on without knowing what changed since",
        )
    return starts


def add_start(workdir: Path, start: dict[str, Any]) -> None:
    """Adds this start's record to `provenance.json`."""
    files.write_json(workdir / PROVENANCE_FILE, {"starts": [*read_starts(workdir), start]})
