"""What the GPU benchmark's figures are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.benchmarks.measuring.targets import Target


def _of(part: str, *path: str) -> Callable[[dict[str, Any]], float | None]:
    def figure(result: dict[str, Any]) -> float | None:
        value: Any = result if result["part"] == part else None
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None else float(value)

    return figure


def _ds_step(result: dict[str, Any]) -> float | None:
    """Times PyTorch's speed."""
    share = _of("step", "ratio", "median")(result)
    return 1 / share if share and result["case"].startswith("DS") else None


TARGETS = (
    Target("equal to the CPU's and to the plain form, share of the tolerance", 1.0, _of("equality", "share")),
    Target("DS training step, times PyTorch's speed", 1.0, _ds_step, at_least=True),
    Target("a scan of 512 x 512 x 400 segmented, seconds", 3.0, _of("volume", "scan_s", "median")),
    Target("the paper's schedule, all of it, seconds", 300, _of("schedule", "whole_s")),
    Target("peak of memory, predicted against measured, largest error", 0.1, _of("memory", "error")),
)
