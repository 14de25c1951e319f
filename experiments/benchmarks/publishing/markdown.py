"""Tables and figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmarks.measuring.pairs import Spread


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines]) if lines else ""


def time(seconds: float) -> str:
    """In seconds or milliseconds."""
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def spread(values: Mapping[str, Any]) -> str:
    """Median and extremes."""
    return str(Spread(values["median"], values["low"], values["high"]))


def met(target: Mapping[str, Any]) -> str:
    """Whether a target is met, and where its limit is noted, by how much."""
    word = "met" if target["met"] else "**missed**"
    return f"{word} by {abs(target['measured'] - target['limit']):.3g}" if "limit" in target else word
