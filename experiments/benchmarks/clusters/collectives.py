"""What a compiled program sends between devices: its all-reduces, counted in the compiler's own output."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dsdenseunet.runtime import parallel
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import abstract_state
from dsdenseunet.training.step import train_step

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\) -> .* \{$")
_ALL_REDUCE = re.compile(r" = (.*?) all-reduce(?:-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_WHILE = re.compile(r" while\(.*body=%?([\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALLED = re.compile(
    r" (?:call|conditional)\(.*?(?:to_apply|branch_computations|true_computation)=\{?([^}\s]*)"
)


@dataclasses.dataclass(frozen=True)
class AllReduce:
    """An all-reduce that runs `times` a step and sends `bytes` each time."""

    bytes: int
    times: int


def all_reduces(program: str) -> list[AllReduce]:
    """All-reduces that a run of a compiled program executes; those in a loop count once per iteration.

    Args:
        program: XLA's optimised HLO, as `jax.stages.Compiled.as_text` gives it.

    Raises:
        ValueError: an all-reduce in a loop of unknown length.
    """
    bodies, entry = _computations(program)
    found: list[AllReduce] = []
    _collect(bodies, entry, 1, found)
    return found


def _computations(program: str) -> tuple[dict[str, list[str]], str]:
    bodies: dict[str, list[str]] = {}
    lines: list[str] = []
    entry = ""
    for line in program.splitlines():
        if match := _COMPUTATION.match(line):
            lines = bodies.setdefault(match[1], [])
            entry = match[1] if line.startswith("ENTRY") else entry
        else:
            lines.append(line)
    return bodies, entry


def _collect(bodies: Mapping[str, list[str]], name: str, times: int, found: list[AllReduce]) -> None:
    for line in bodies[name]:
        if match := _ALL_REDUCE.search(line):
            if not times:
                raise ValueError(f"an all-reduce in a loop of unknown length: {line.strip()[:200]}")
            found.append(AllReduce(_bytes(match[1]), times))
        elif match := _WHILE.search(line):
            trips = _TRIPS.search(line)
            _collect(bodies, match[1], times * int(trips[1]) if trips else 0, found)
        elif match := _CALLED.search(line):
            for called in match[1].split(","):
                _collect(bodies, called.lstrip("%"), times, found)


def _bytes(shape: str) -> int:
    return sum(
        _BYTES[kind] * math.prod(int(side) for side in sides.split(",") if side)
        for kind, sides in _ARRAY.findall(shape)
    )


def mesh_of_absent_gpus(target: str, gpus: int) -> Mesh:
    """GPUs that XLA can compile for, though this machine has none; needs JAX's CUDA plugin.

    Args:
        target: what XLA knows of the GPU, a `GpuTargetConfigProto` as text.
        gpus: how many, in one node.
    """
    topology = topologies.get_topology_desc("gpus", "cuda", target_config=target, topology=f"1x1x{gpus}")
    return parallel.data_mesh(topology.devices)


def count(config: ConfigDict, mesh: Mesh) -> dict[str, Any]:
    """Compiles the training step for a mesh, a patch a device, and sums up what it sends; nothing is run.

    Returns:
        `device` and `devices`; of `all` all-reduces of a step, and of the `small` ones, how many run and
        their bytes together.
    """
    devices = mesh.devices.size
    shape = (devices, *config.data.patch_size)
    batch = {
        "image": jax.ShapeDtypeStruct((*shape, config.model.in_channels), jnp.float32),
        "labels": jax.ShapeDtypeStruct(shape, jnp.int32),
    }
    step: Any = parallel.compile_step(train_step, mesh)
    found = all_reduces(step.lower(abstract_state(build_recipe(config)), batch).compile().as_text())
    small = [one for one in found if one.bytes <= SMALL_BYTES]
    device = mesh.devices.flat[0].device_kind
    return {"device": device, "devices": devices, "all": _sums(found), "small": _sums(small)}


# The gradient's bytes are nearly all in larger ones; the statistics of batch normalisation, forward and
# backward, all in smaller ones.
SMALL_BYTES = 64 * 1024


def _sums(found: list[AllReduce]) -> dict[str, int]:
    return {
        "count": sum(one.times for one in found),
        "bytes": sum(one.times * one.bytes for one in found),
    }
