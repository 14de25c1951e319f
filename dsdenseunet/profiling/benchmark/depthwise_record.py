"""From a benchmark's result to the measurements that `depthwise_conv` chooses its form by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.errors import InputError

_FORMS = ("grouped", "shifted", "pallas")
_CASE = re.compile(r"(\d+) x (\d+) x (\d+), (\d+)( by 2)?, fwd\+bwd")


def measurements(result: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """One record a type of number: milliseconds of a forward and backward pass by case and form.

    Args:
        result: what `experiments.benchmark` or `experiments.benchmark_gpu` wrote.
        source: where it lies, for the record.

    Raises:
        InputError: there is no depthwise convolution in it.
    """
    by_type: dict[str, dict[str, dict[str, Any]]] = {}
    for found in result["results"]:
        match = _CASE.fullmatch(found.get("case", ""))
        if found["part"] != "depthwise" or not match:
            continue
        cases = by_type.setdefault(found.get("dtype", "float32"), {})
        *shape, strided = match.groups()
        case = {
            "shape": [1, *map(int, shape)],
            "stride": [1, 2, 2] if strided else [1, 1, 1],
            "milliseconds": {},
        }
        times = cases.setdefault(found["case"], case)["milliseconds"]
        for side, seconds in found["seconds"].items():
            # `experiments.benchmark` times `auto`, which is `shifted` on CPUs.
            form = "shifted" if side == "ours" else side
            if form in _FORMS:
                times[form] = float(f"{1e3 * seconds['wall_s']['median']:.4g}")
    if not by_type:
        raise InputError(
            source,
            found="no depthwise convolution, forward and backward",
            expected="the part `depthwise`",
            fix="run the benchmark with --parts=depthwise",
        )
    provenance = result["provenance"]
    hardware = provenance["hardware"]
    record = {
        "platform": hardware["backend"],
        "capability": hardware.get("compute_capability"),
        "hardware": f"{hardware['device_kind']}, {hardware['processor']}, {hardware['cpu_cores']} CPU cores",
        "commit": provenance["commit"],
        "versions": {name: provenance["versions"][name] for name in ("jax", "jaxlib")},
        "source": source,
    }
    return [{**record, "dtype": dtype, "cases": list(cases.values())} for dtype, cases in by_type.items()]


def merge(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The file's content: a new record takes the place of one for the same platform, capability and type."""

    def key(record: Mapping[str, Any]) -> tuple[Any, ...]:
        return record["platform"], str(record["capability"]), record["dtype"]

    records = {key(record): record for record in [*old, *new]}
    return {"measurements": [records[name] for name in sorted(records)]}
