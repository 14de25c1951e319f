"""What the commands of the benchmarks on CPUs have in common; imports nothing that is measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError


def check(parts: Sequence[str], known: Sequence[str]) -> None:
    """Refuses what cannot be measured, before anything is.

    Args:
        parts: that are asked for with --parts.
        known: that there are.

    Raises:
        InputError: PyTorch is not installed, or a part is not known.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "PyTorch", found="not installed", expected="the extra bench", fix="pip install '.[bench]'"
        )
    if unknown := sorted(set(parts) - set(known)):
        found, expected = ",".join(unknown), f"some of {','.join(known)}"
        raise InputError("--parts", found=found, expected=expected, fix="name known parts")


def keeper(path: str | None) -> Callable[[dict[str, Any]], None]:
    """Writes each record that it is given to a file, in place of the one before; nowhere without a path."""

    def save(record: dict[str, Any]) -> None:
        if path:
            files.write_json(path, record)

    return save
