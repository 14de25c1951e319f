"""The file that every result is added to the moment it is known, and the record made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.gpu.goals import TARGETS
from experiments.benchmarks.measuring import roofline
from experiments.benchmarks.measuring.targets import judge

# Cases that say how a part went, not what it measured.
DONE, FAILED, STOPPED, LEFT_OUT, TOOK = "done", "failed", "stopped", "left out", "took"
_ABOUT_A_PART = (DONE, FAILED, STOPPED, LEFT_OUT, TOOK)


def append(path: Path, result: Mapping[str, Any]) -> None:
    """Appends a line and syncs it to disk before returning; several processes may do so at once."""
    line = (json.dumps(result, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # The end of a process cut the last line off.
            line = b"\n" + line
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All results in order; a line that was cut off by the end of its process is left out."""
    if not path.exists():
        return []
    results = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def is_done(results: list[dict[str, Any]], part: str, number: int) -> bool:
    """Whether a part has ended by itself in a round."""
    return any(
        found["part"] == part and found["case"] == DONE and found["round"] == number for found in results
    )


def assemble(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The record that is published.

    Returns:
        `results`, each pass with its floor by the rates that were measured; `targets`; `parts`, how each
        went; `compiled`, what was compiled beside and in how many seconds; `provenance`.
    """
    measured = [
        found
        for found in results
        if found["part"] not in ("provenance", "compile") and found["case"] not in _ABOUT_A_PART
    ]
    rates = roofline.measured_rates(measured)
    with_floor = [roofline.beside(found, rates) for found in measured]
    starts = [found["provenance"] for found in results if found["part"] == "provenance"]
    return {
        "targets": judge(with_floor, TARGETS),
        "results": with_floor,
        "parts": [found for found in results if found["case"] in _ABOUT_A_PART],
        "compiled": [found for found in results if found["part"] == "compile"],
        "provenance": starts[-1] if starts else {},
    }
