"""A comparison as Markdown, see `experiments.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdenseunet.reporting import comparison_tables as tables
from experiments.benchmarks.publishing.markdown import table

# Contenders that are not configs of this project, by what `experiments.compare` calls them.
_OTHERS = ("MONAI UNet", "nnU-Net")


def summary(record: Mapping[str, Any] | None) -> str:
    """The first config beside each other program, on the cases that both have: for the README."""
    if record is None:
        return "Not run yet."
    scored = {(row["contender"], row["budget"]): row["dice"]["mean"]["value"] for row in record["scored"]}
    rows = []
    for row in record["compared"]:
        if row["second"] in _OTHERS:
            theirs = scored[row["second"], row["budget"]]
            lead = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
            seconds = float(row["budget"].removesuffix("s"))
            rows.append(
                (
                    f"{seconds / 60:g} minutes",
                    row["second"],
                    f"{theirs + row['difference']:.3f}",
                    f"{theirs:.3f}",
                    lead,
                )
            )
    return table(("time of one core", "beside", "ours", "theirs", "our lead"), rows)


def markdown(record: Mapping[str, Any] | None) -> str:
    """Every contender's Dice with every budget, what it took, and what all of it was made with."""
    if record is None:
        return "Not run yet."
    kinds = (tables.standings, tables.pooled, tables.costs, tables.seeds)
    parts = [table(*made(record)) for made in kinds]
    return "\n\n".join([*filter(None, parts), tables.about(record)])
