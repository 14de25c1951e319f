"""A comparison as Markdown, see `experiments.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdenseunet.reporting import comparison_tables as tables
from experiments.benchmarks.publishing.markdown import table


def markdown(record: Mapping[str, Any] | None) -> str:
    """Every contender's Dice with every budget, what it took, and what all of it was made with."""
    if record is None:
        return "Not run yet."
    parts = [table(*made(record)) for made in (tables.standings, tables.costs, tables.seeds)]
    return "\n\n".join([*filter(None, parts), tables.about(record)])
