"""Tables of a comparison's record, see `experiments.compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
Record = Mapping[str, Any]


def standings(record: Record) -> Table:
    """Every contender's Dice with every budget, and the first one's lead; headings and rows."""
    ahead = {(row["second"], row["budget"]): row for row in record["compared"]}
    regions = record["scored"][0]["dice"]
    rows = []
    for row in record["scored"]:
        lead = ahead.get((row["contender"], row["budget"]))
        rows.append(
            (
                row["budget"],
                row["contender"],
                _numbers(row["folds"]),
                _numbers(row["seeds"]),
                str(row["cases"]),
                *(value(dice) for dice in row["dice"].values()),
                value({**lead, "value": lead["difference"]}, "+") if lead else "",
                p_value(lead["p_adjusted"]) if lead else "",
            )
        )
    head = ("budget", "contender", "folds", "seeds", "cases", *regions, "the first one's lead", "p")
    return head, rows


def pooled(record: Record) -> Table:
    """Scores over what all cases have together, where every heat has counted it."""
    rows = [row for row in record["scored"] if "pooled" in row]
    names = list(rows[0]["pooled"]) if rows else []
    return (
        ("budget", "contender", *(name.replace("_", " ") for name in names)),
        [(row["budget"], row["contender"], *(value(row["pooled"][name]) for name in names)) for row in rows],
    )


def costs(record: Record) -> Table:
    """What every contender took; a column of which nothing is known is left out."""
    rows = []
    for row in record["scored"]:
        network = record["networks"].get(row["contender"], {})
        rows.append(
            (
                row["budget"],
                row["contender"],
                _known(network.get("parameters") or row["parameters"], "{:,.0f}"),
                _known(network.get("voxel_macs"), "{:,.0f}"),
                _known(row["steps"], "{:,.0f}"),
                _known(row["images"], "{:,.0f}"),
                _known(row["step_s"], "{:.3f}"),
                _known(row["host_bytes"], "{:.2f}", 2**30),
                _known(row["device_bytes"], "{:.2f}", 2**30),
                f"{row['seconds']:.0f}",
            )
        )
    head = (
        *("budget", "contender", "parameters", "multiply-adds a voxel", "steps", "images"),
        *("s a step", "GiB of the host", "GiB of the device", "seconds"),
    )
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    return [head[place] for place in kept], [[row[place] for place in kept] for row in rows]


def seeds(record: Record) -> Table:
    """Mean Dice of each seed, where there are several."""
    rows = [
        (row["budget"], row["contender"], ", ".join(f"{dice:.4f}" for dice in row["by_seed"].values()))
        for row in record["scored"]
        if len(row["by_seed"]) > 1
    ]
    return ("budget", "contender", "mean Dice of each seed"), rows


def about(record: Record) -> str:
    """Data, machine, versions and commits, and what the numbers mean."""
    made_with = record["provenance"]
    versions = {**record["peer_versions"], "jax": made_with["versions"]["jax"]}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    # A heat that was done before keeps the commit of its time.
    made_by = (made_with, *record["results"])
    commits = dict.fromkeys(str(found["commit"])[:12] for found in made_by)
    core = "one core of an" if made_with.get("one_core", True) else "an"
    several = any(len(row["seeds"]) > 1 for row in record["scored"])
    drawn = "cases and seeds." if several else "cases; seeds are averaged."
    return (
        f"{record['data']}; {core} {made_with['hardware']['processor']}, {shown}, commit "
        f"{', '.join(commits)}. In brackets: 95 % bootstrap intervals over {drawn} "
        "p: two-sided, of exchanging the two case by case, after Holm's correction over the contenders of "
        "the budget."
    )


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def value(score: Mapping[str, Any], sign: str = "") -> str:
    """A score with its interval where there is one; `sign` is `+` for differences."""
    if score["value"] is None:
        return ""
    ends = "" if score["low"] is None else f" ({score['low']:{sign}.3f} to {score['high']:{sign}.3f})"
    return f"{score['value']:{sign}.3f}{ends}"


def p_value(p: float | None) -> str:
    """A p-value to three places."""
    if p is None:
        return ""
    return "< 0.001" if p < 1e-3 else f"{p:.3f}"


def _known(value: float | None, form: str, unit: float = 1) -> str:
    return "" if value is None else form.format(value / unit)
