"""What is alive at the peak of a training step, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.core import words
from dsdenseunet.memory.alive.profile import by_kind

MIB = 2**20


def table(found: Mapping[str, Any]) -> str:
    """MiB at the peak, a line for each stage and a column for each kind, and what XLA itself says beside."""
    sums = by_kind(found)
    kinds = [kind for kind, size in sums.items() if size]
    lines = [["stage", *kinds, "in all"]]
    for stage in [stage for stage in found["stages"] if stage in found["kinds"]]:
        row = found["kinds"][stage]
        lines.append([stage, *(_mib(row.get(kind, 0)) for kind in kinds), _mib(sum(row.values()))])
    lines.append(["alive at the peak", *(_mib(sums[kind]) for kind in kinds), _mib(found["peak"]["bytes"])])
    lines.append(["empty at that moment", *("" for _ in kinds), _mib(found["peak"]["unused"])])
    reserved = {kind: size for kind, size in found["reserved"].items() if size}
    parts = ", ".join(f"{kind} {_mib(size)}" for kind, size in reserved.items())
    lines.append(["reserved for the step", *("" for _ in kinds), _mib(sum(reserved.values()))])
    return f"{_aligned(lines)}\n\nReserved, MiB, by XLA's own account: {parts}."


def largest(found: Mapping[str, Any], top: int) -> str:
    """The largest arrays at the peak."""
    lines = [["MiB", "shape", "kind", "stage", "made by"]]
    for one in found["arrays"][:top]:
        made = "/".join(one["scope"].split(";")[0].split("/")[-2:]) or one["name"]
        lines.append([_mib(one["bytes"]), one["shape"], one["kind"], one["stage"], made[:48]])
    return _aligned(lines, left=(1, 2, 3, 4))


def summary(found: Mapping[str, Any]) -> str:
    """What there is most of at the peak, and what would lower it."""
    peak, setting = found["peak"], found["setting"]
    (kind, size), *_ = by_kind(found).items()
    stages = sorted(found["kinds"], key=lambda stage: -found["kinds"][stage].get(kind, 0))
    of_kind = [f"{stage} {_mib(found['kinds'][stage].get(kind, 0))}" for stage in stages[:3]]
    direction = "backward" if peak["backward"] else "forward"
    reserved = sum(found["reserved"].values())
    return "\n".join(
        [
            f"{found['config']} on {found['device_kind']}: {setting['batch']} x "
            f"({words.by(setting['patch'])}), {setting['dtype']}, remat {setting['remat']}, "
            f"{words.counted(setting['accumulate'], 'micro-batch', 'micro-batches')}",
            f"The step reserves {_mib(reserved)} MiB. Its peak, {_mib(peak['bytes'])} MiB, is in the "
            f"{direction} pass of {peak['stage']}, after {peak['share']:.0%} of what it reads and writes.",
            f"The largest part of it is {kind}, {_mib(size)} MiB or {size / peak['bytes']:.0%}, above all of "
            f"{', '.join(of_kind)}.",
            *(f"To lower it: {option}." for option in found["lowers"]),
            "What each of them costs in time: experiments.plan_memory.",
        ]
    )


def _mib(size: int) -> str:
    return f"{size / MIB:,.2f}" if size else "-"


def _aligned(lines: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )
