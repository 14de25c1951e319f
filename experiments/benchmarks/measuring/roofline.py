"""The least time that a network's pass can take: its operations and bytes, counted, over a device's rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.benchmarks.measuring.shapes import DepthwiseCase

_PARAMETER_BYTES = 4


def counts(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`operations` and `bytes` of a training step (`step`) or a forward pass (`inference`), and `dtype`.

    Operations are two a multiply-add, padding included; a step has the forward products and twice as many
    for gradients by inputs and kernels. Bytes: in the forward pass every map that a layer sees is written and
    read once; a step reads it once more and writes and reads its gradient; parameters are read, and in
    a step read again, their gradients written and read, values and momenta read and written. Passes
    that normalisation makes over the maps for itself are not counted: it is a floor for whatever computes
    convolutions by their definition; Winograd's form, which CPUs use here, has fewer multiplications.
    """
    # Here, so that a record can be made of results without JAX.
    from dsdenseunet.memory.description import describe

    description = describe(config["model"], config["data"]["patch_size"])
    totals, batch = description.totals(), config["data"]["batch_size"]
    operations = 2 * batch * totals["macs"]
    maps, parameters = batch * totals["activation_bytes"], _PARAMETER_BYTES * totals["trainable"]
    dtype = config["model"]["dtype"]
    if kind == "inference":
        return {"dtype": dtype, "operations": operations, "bytes": 2 * maps + parameters}
    return {"dtype": dtype, "operations": 3 * operations, "bytes": 5 * maps + 8 * parameters}


def depthwise_counts(case: DepthwiseCase, backward: bool) -> dict[str, Any]:
    """As `counts`, of one depthwise convolution of one map: values, or values and both gradients.

    Every voxel of the smaller map meets each tap once. Values read the input and write the output; gradients
    read the output's and the input once and write the input's; the kernel is read, read, and its gradient
    written.
    """
    read, written = math.prod(case.shape), math.prod(case.out_shape)
    operations, kernel = 2 * case.size**3 * min(read, written), case.size**3 * case.shape[-1]
    if not backward:
        return {"dtype": "float32", "operations": operations, "bytes": 4 * (read + written + kernel)}
    return {
        **{"dtype": "float32", "operations": 3 * operations},
        "bytes": 4 * (3 * read + 2 * written + 3 * kernel),
    }


def floor(counted: Mapping[str, Any], operations_per_s: float, bytes_per_s: float) -> dict[str, Any]:
    """Seconds for the operations and for the bytes; `floor_s` is the larger: neither waits for the other."""
    seconds = {
        "operations_s": counted["operations"] / operations_per_s,
        "bytes_s": counted["bytes"] / bytes_per_s,
    }
    rounded = {name: float(f"{value:.6g}") for name, value in seconds.items()}
    return {**counted, **rounded, "floor_s": max(rounded.values())}


def measured_rates(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Of the part `rates`: operations a second by the type of their operands, and `bytes`."""
    return {
        found["rate_of"]: float(found["per_s"]["median"]) for found in results if found["part"] == "rates"
    }


def beside(found: dict[str, Any], rates: Mapping[str, float]) -> dict[str, Any]:
    """A result that has `counted` and `took_s`, with its floor and how many times the floor it took.

    `times` passes of what was counted are taken; a result whose rates were not measured stays as it is.
    """
    counted = found.get("counted")
    if not counted or counted["dtype"] not in rates or "bytes" not in rates:
        return found
    least = floor(counted, rates[counted["dtype"]], rates["bytes"])
    floor_s = found.get("times", 1) * least["floor_s"]
    took = float(f"{found['took_s'] / floor_s:.4g}")
    return {**found, "roofline": {**least, "floor_s": floor_s, "times_the_floor": took}}
