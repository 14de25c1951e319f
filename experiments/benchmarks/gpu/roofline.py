"""The least time that a network's pass can take: its operations and bytes, counted, over a device's rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dsdenseunet.profiling.description import describe

_PARAMETER_BYTES = 4


def counts(config: Mapping[str, Any], kind: str) -> dict[str, int]:
    """`operations` and `bytes` of a training step (`step`) or a forward pass (`inference`) on one batch.

    Operations are two a multiply-add, padding included; a step has the forward products and twice as many
    for gradients by inputs and kernels. Bytes: in the forward pass every map that a layer sees is written and
    read once; a step reads it once more and writes and reads its gradient; parameters are read, and in
    a step read again, their gradients written and read, values and momenta read and written. Passes
    that normalisation makes over the maps for itself are not counted: it is a floor for whatever computes
    convolutions by their definition; Winograd's form, which CPUs use here, has fewer multiplications.
    """
    description = describe(config["model"], config["data"]["patch_size"])
    totals, batch = description.totals(), config["data"]["batch_size"]
    operations = 2 * batch * totals["macs"]
    maps, parameters = batch * totals["activation_bytes"], _PARAMETER_BYTES * totals["trainable"]
    if kind == "inference":
        return {"operations": operations, "bytes": 2 * maps + parameters}
    return {"operations": 3 * operations, "bytes": 5 * maps + 8 * parameters}


def floor(counted: Mapping[str, int], operations_per_s: float, bytes_per_s: float) -> dict[str, Any]:
    """Seconds for the operations and for the bytes; `floor_s` is the larger: neither waits for the other."""
    seconds = {
        "operations_s": counted["operations"] / operations_per_s,
        "bytes_s": counted["bytes"] / bytes_per_s,
    }
    rounded = {name: float(f"{value:.6g}") for name, value in seconds.items()}
    return {**counted, **rounded, "floor_s": max(rounded.values())}


def measured_rates(results: Iterable[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Operations and bytes a second out of the part `device`; None if it is not there."""
    found = {
        name: float(result[name]["median"])
        for result in results
        if result["part"] == "device"
        for name in ("operations_per_s", "bytes_per_s")
        if name in result
    }
    return (found["operations_per_s"], found["bytes_per_s"]) if len(found) == 2 else None
