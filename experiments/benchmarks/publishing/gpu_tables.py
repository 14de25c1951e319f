"""What the GPU benchmark wrote, as the Markdown tables of docs/explanation/speed.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmarks.gpu.goals import TARGETS
from experiments.benchmarks.publishing.markdown import met, spread, table, time

Record = Mapping[str, Any]
# Those that are named in the record's first line, as far as they are in it.
_VERSIONS = ("jax", "jaxlib", "flax", "torch", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "cuDNN of PyTorch")


def targets(record: Record | None) -> list[tuple[str, str, str, str]]:
    """Target, what was measured of it, where, and whether it is met; all targets, measured or not."""
    found = {one["target"]: one for one in (record or {"targets": []})["targets"]}
    rows = []
    for target in TARGETS:
        one = found.get(target.text)
        if one is None:
            rows.append((target.text, "", "", "not measured"))
        else:
            rows.append(
                (target.text, f"{one['measured']:.3g}", one["case"] + _floor_of(record, one), met(one))
            )
    return rows


def _floor_of(record: Record | None, target: Record) -> str:
    """Beside a case: how many times its floor it took."""
    for found in (record or {"results": []})["results"]:
        if found["case"] == target["case"] and "roofline" in found:
            return f"; {found['roofline']['times_the_floor']:.3g} times its floor"
    return ""


def markdown(record: Record | None) -> str:
    """What it was measured with and all tables; blank lines between. None: nothing has been measured."""
    heads = ("target", "measured", "worst case", "")
    if record is None:
        return "No GPU has been measured yet.\n\n" + table(heads, targets(None))
    by_part: dict[str, list[Record]] = {}
    for found in record["results"]:
        by_part.setdefault(found["part"], []).append(found)
    tables = [
        made_with(record["provenance"]),
        table(heads, targets(record)),
        _passes([*by_part.get("step", []), *by_part.get("inference", [])]),
        _forms(by_part.get("depthwise", [])),
        _whole(by_part),
        _memory(by_part.get("memory", [])),
        _flags([*by_part.get("determinism", []), *by_part.get("flags", [])]),
    ]
    return "\n\n".join(one for one in tables if one)


def made_with(provenance: Record) -> str:
    """The card, the driver, versions and the commit, as one sentence."""
    hardware, versions = provenance["hardware"], provenance["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if versions.get(name))
    commit = (provenance["commit"] or "none: not a clone")[:10]
    driver = hardware.get("driver") or "unknown"
    return f"Measured on one {hardware['device_kind']}, driver {driver}, {named}, commit {commit}."


def _median(found: Record, side: str) -> str:
    seconds = found["seconds"].get(side)
    return time(seconds["wall_s"]["median"]) if seconds else ""


def _passes(results: Sequence[Record]) -> str:
    """One row a pass and case; a comparison with torch.compile is a row of its own."""
    heads = ("pass", "ours", "PyTorch, eager", "compiled", "ours / PyTorch", "times the floor", "agree")
    rows = []
    for found in results:
        variant = found["case"].split(", ")[0]
        sides = [_median(found, f"{variant}, {side}") for side in ("ours", "eager", "compiled")]
        ratio = spread(found["ratio"]) if "ratio" in found else ""
        floor = f"{found['roofline']['times_the_floor']:.3g}" if "roofline" in found else ""
        agree = "" if not found.get("differences") else "yes" if found["losses_agree"] else "**no**"
        rows.append((f"{found['part']}, {found['case']}", *sides, ratio, floor, agree))
    return table(heads, rows)


def _forms(results: Sequence[Record]) -> str:
    forms = ("shifted", "grouped", "pallas", "PyTorch")
    heads = ("depthwise convolution", *forms, "fastest of ours / PyTorch")
    rows = []
    for found in results:
        ratio = spread(found["ratio"]) if "ratio" in found else ""
        rows.append((found["case"], *(_median(found, form) for form in forms), ratio))
    return table(heads, rows)


def _whole(by_part: Mapping[str, Sequence[Record]]) -> str:
    rows: list[tuple[str, ...]] = []
    for found in by_part.get("volume", []):
        case = f"a scan of {found['case']}, {found['patches']:,} patches, {found['best']}"
        rows.append((case, spread(found["scan_s"]) + " s", "", _times_floor(found)))
    for found in by_part.get("schedule", []):
        waited = f"{100 * found['host_share_for_data']:.1f} %" if "host_share_for_data" in found else ""
        rows.append((f"the schedule, {found['case']}", f"{found['whole_s']} s", waited, _times_floor(found)))
    return table(("as a whole", "seconds", "of it waiting for the host", "times the floor"), rows)


def _times_floor(found: Record) -> str:
    return f"{found['roofline']['times_the_floor']:.3g}" if "roofline" in found else ""


def _memory(results: Sequence[Record]) -> str:
    heads = ("training step", "predicted, GiB", "peak, GiB", "error")
    rows = []
    for found in results:
        peak = found.get("peak")
        shown = f"{peak / 2**30:.2f}" if peak else "out of memory" if "out_of_memory" in found else ""
        predicted = f"{found['predicted'] / 2**30:.2f}" if "predicted" in found else ""
        error = f"{100 * found['error']:.1f} %" if "error" in found else ""
        rows.append((found["case"], predicted, shown, error))
    return table(heads, rows)


def _flags(results: Iterable[Record]) -> str:
    heads = ("XLA's flags", "case", "share of the default's time", "the same bits again")
    rows = []
    for found in results:
        equal = "yes" if found.get("equal_bits", {}).get("deterministic") else ""
        ratio = spread(found["ratio"]) if "ratio" in found else "failed"
        flags = found.get("flag") or found.get("flags") or ""
        rows.append((f"`{flags}`", found["case"], ratio, equal))
    return table(heads, rows)
