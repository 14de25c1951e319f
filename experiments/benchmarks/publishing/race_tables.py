"""Tables of races against other programs, see `experiments.benchmarks.race`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.benchmarks.publishing.markdown import table


def mean(result: Mapping[str, Any]) -> float:
    """Mean Dice over classes, then over cases."""
    return float(np.mean([np.mean(list(dice.values())) for dice in result["dice"].values()]))


def markdown(record: Mapping[str, Any] | None) -> str:
    """Every contender's Dice at every time, what the first one is ahead by, and what was raced with."""
    if record is None:
        return "Not run yet."
    made_with = record["provenance"]
    versions = {**record["peer_versions"], "jax": made_with["versions"]["jax"]}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    # A heat that was done before keeps the commit of its time.
    raced = (made_with, *record["results"])
    commits = dict.fromkeys(str(found["commit"])[:12] for found in raced)
    about = (
        f"{record['data']}; one core of an {made_with['hardware']['processor']}, {shown}, "
        f"commit {', '.join(commits)}. In brackets: 95 % bootstrap intervals over cases."
    )
    return f"{standings(record)}\n\n{about}"


def standings(record: Mapping[str, Any]) -> str:
    """The table alone."""
    ahead = {(row["second"], row["minutes"]): row for row in record["compared"]}
    rows = []
    for row in sorted(record["scored"], key=lambda row: row["minutes"]):
        lead = ahead.get((row["contender"], row["minutes"]))
        rows.append(
            (
                f"{row['minutes']:g}",
                row["contender"],
                _numbers(row["folds"]),
                _numbers(row["seeds"]),
                str(row["cases"]),
                f"{row['seconds']:.0f}",
                *(_value(dice, "") for dice in row["dice"].values()),
                _value(lead, "+") if lead else "",
            )
        )
    regions = record["scored"][0]["dice"]
    head = ("minutes", "program", "folds", "seeds", "cases", "seconds", *regions, "the first one's lead")
    return table(head, rows)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _value(found: Mapping[str, float | None], sign: str) -> str:
    ends = "" if found["low"] is None else f" ({found['low']:{sign}.3f} to {found['high']:{sign}.3f})"
    return f"{found['value']:{sign}.3f}{ends}"
