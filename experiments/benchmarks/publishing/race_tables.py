"""Tables of races against other programs, see `experiments.benchmarks.race`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benchmarks.publishing.markdown import table


def mean(result: Mapping[str, Any]) -> float:
    """Mean Dice over classes, then over cases."""
    return float(np.mean([np.mean(list(dice.values())) for dice in result["dice"].values()]))


def markdown(record: Mapping[str, Any] | None) -> str:
    """Every heat with the mean Dice of each class, what the first contender is ahead by, and what it was."""
    if record is None:
        return "Not run yet."
    made_with, first = record["provenance"], record["results"][0]
    hardware = made_with["hardware"]
    versions = {**record["peer_versions"], "jax": made_with["versions"]["jax"]}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    about = (
        f"{record['data']} (fold {first['fold']}); one core of an {hardware['processor']}, {shown}, commit "
        f"{str(made_with['commit'])[:12]}. Leads are mean differences, with 95 % bootstrap intervals."
    )
    return f"{heats(record)}\n\n{about}"


def heats(record: Mapping[str, Any]) -> str:
    """The table alone."""
    ahead = {(row["second"], row["minutes"]): row for row in record["compared"]}
    classes = list(next(iter(record["results"][0]["dice"].values())))
    rows = []
    for result in record["results"]:
        by_class = [np.mean([dice[name] for dice in result["dice"].values()]) for name in classes]
        row = ahead.get((result["contender"], result["minutes"]))
        lead = f"{row['difference']:+.3f}" if row else ""
        if row and row["low"] is not None:  # One case has no interval.
            lead += f" ({row['low']:+.3f} to {row['high']:+.3f})"
        rows.append(
            (
                f"{result['minutes']:g}",
                result["contender"],
                str(result["seed"]),
                f"{result['seconds']:.0f}",
                *(f"{value:.3f}" for value in by_class),
                f"{mean(result):.3f}",
                lead,
            )
        )
    head = ("minutes", "program", "seed", "seconds taken", *classes, "mean", "the first one is ahead by")
    return table(head, rows)
