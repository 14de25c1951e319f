"""A plan as text: the table and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdenseunet.memory.planner.plan import GIB


def table(plan: Mapping[str, Any], most: int = 40) -> str:
    """The rows as text, the fastest by estimate first."""
    heads = ("patch", "batch", "accum", "remat", "type", "needs GiB", "fits", "s/step", "Mvoxel/s", "")
    body = [
        (
            "x".join(map(str, row["patch"])),
            str(row["batch"]),
            str(row["accumulate"]),
            row["remat"],
            row["dtype"],
            f"{row['memory']['total'] / GIB:.2f}" if row["memory"] else "?",
            "yes" if row["fits"] else "no",
            f"{row['seconds_per_step']:.3f}" if row["memory"] else "?",
            f"{row['megavoxels_per_s']:.2f}" if row["memory"] else "?",
            ("* " if row == plan["recommended"] else "") + row["status"],
        )
        for row in plan["rows"]
    ]
    hidden = len(body) - most
    body = [cells for index, cells in enumerate(body) if index < most or cells[-1][0] in "*cf"]
    widths = [max(map(len, column)) for column in zip(heads, *body)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
        for cells in (heads, *body)
    ]
    return "\n".join([*lines, *([f"({hidden} slower rows: see plan.json)"] if hidden > 0 else [])])


def summary(plan: Mapping[str, Any]) -> str:
    """What the plan recommends and what else it found, in words."""
    lines = [
        f"{plan['device_kind']}: {plan['budget_gib']:g} GiB, of which {plan['available_gib']:.2f} for JAX "
        f"(XLA_PYTHON_CLIENT_MEM_FRACTION={plan['card']['usable_share']}); {plan['headroom']:.0%} of a need "
        "stays free",
        f"Figures: {plan['compiler']}.",
        "Times are a roofline estimate (peak rates, nothing overlaps), for comparing rows, not for waiting.",
    ]
    best = plan["recommended"]
    if best is None:
        lines.append("Nothing fits: try smaller --patches or a smaller config.model.")
    else:
        parts = ", ".join(
            f"{name} {size / GIB:.2f}" for name, size in best["memory"].items() if name != "total"
        )
        lines += [
            f"Recommended, {best['memory']['total'] / GIB:.2f} GiB ({parts}):",
            "",
            f"  {plan['flags']}",
            "",
        ]
    beside = plan["beside"]
    if beside and all("temp" in beside[kind] for kind in ("separable", "standard")):
        sizes = (f"{kind} {beside[kind]['temp'] / GIB:.2f} GiB" for kind in ("separable", "standard"))
        lines.append(
            f"Temporary memory at batch 1, {beside['setting']['remat']}, {beside['setting']['dtype']}: "
            + ", ".join(sizes)
        )
    inference = plan["inference"]
    if "total" in inference:
        lines.append(
            f"A volume of {' x '.join(map(str, inference['volume']))} needs {inference['total'] / GIB:.2f} "
            "GiB to be segmented, whatever its number of slices; validating while training "
            f"{plan['validation_gib']:.2f}"
        )
    return "\n".join(lines)
