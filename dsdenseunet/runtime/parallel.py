"""Devices: the mesh, how state and batches lie on it, and what runs on it.

The only module that knows how many devices there are. Training is data parallel: every device holds
the whole state and an equal share of the batch; XLA adds the gradient all-reduce and makes batch
statistics global, so the code is the same for one device and for many.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dsdenseunet.core.errors import InputError

_BATCH_AXIS = "batch"
# After this long without a sign of life a process counts as dead, and the others end.
_HEARTBEAT_TIMEOUT_S = 30
# What Gloo, NCCL and JAX's coordination service say of a process that is gone.
_LOST = (
    "closed by peer",
    "reset by peer",
    "remote process exited",
    "Socket closed",
    "heartbeat",
    "oordination service",
    "arrier timed out",
)


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """One axis over `devices` (default: all devices of all processes)."""
    chosen = list(jax.devices() if devices is None else devices)
    # Explicit axes, the default, are refused by Linen's BatchNorm.
    return jax.make_mesh((len(chosen),), (_BATCH_AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_batch(mesh: Mesh) -> NamedSharding:
    """The first axis is cut into one equal part a device."""
    return NamedSharding(mesh, PartitionSpec(_BATCH_AXIS))


def place_state(mesh: Mesh, state: Any) -> Any:
    """Copies every array of `state`, the same on all processes, to every device of the mesh."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), state
    )


def place_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts this process's part of the batch onto its devices as one global array an entry."""
    sharding = split_by_batch(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(array))
        for name, array in batch.items()
    }


@functools.cache
def compile_step(step: Callable[[Any, Any], tuple[Any, Any]], mesh: Mesh) -> Callable[..., tuple[Any, Any]]:
    """Jits `step(state, batch) -> (state, metrics)` over the mesh; the state's memory is reused."""
    whole = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, split_by_batch(mesh)),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )


@functools.cache
def compile_input(function: Callable[[Any], Any], mesh: Mesh) -> Callable[[Any], Any]:
    """Jits a function of a batch to a batch, each patch on its own, so that no device waits for another."""
    return jax.jit(function, in_shardings=split_by_batch(mesh), out_shardings=split_by_batch(mesh))


def check_batch_size(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Checks that every device gets the same number of patches in every micro-batch.

    Raises:
        InputError: it does not; the message names the nearest batch sizes that fit.
    """
    devices = mesh.devices.size
    unit = devices * accumulate
    if batch_size % unit == 0 and batch_size > 0:
        return
    below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
    fitting = f"{below} or {above}" if below else str(above)
    raise InputError(
        "config.data.batch_size",
        found=f"{batch_size}, which {devices} device(s) x {accumulate} micro-batch(es) do not divide",
        expected=f"a multiple of {unit}",
        fix=f"--config.data.batch_size={fitting}, or fewer devices or config.training.accumulate",
    )


def join_processes(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Starts JAX's distributed runtime; must come before anything else of JAX.

    Args:
      coordinator: HOST:PORT of process 0, or "auto" where Slurm, MPI or the cloud's scheduler says who
        is who; None for a single process.
      processes: how many there are (not for "auto").
      process: which one this is (not for "auto").

    Raises:
        InputError: numbers without a coordinator, or such as do not fit together.
    """
    if coordinator is None:
        if processes is not None or process is not None:
            raise InputError(
                "--processes, --process",
                found="no --coordinator: this process would train alone",
                expected="all three for a run of several processes, none of them for a single one",
                fix="add --coordinator=HOST:PORT of process 0",
            )
        return
    address = None if coordinator == "auto" else coordinator
    try:
        jax.distributed.initialize(
            address, processes, process, heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S
        )
    except ValueError as error:
        raise InputError(
            f"--coordinator={coordinator}",
            found=str(error),
            expected="HOST:PORT of process 0, --processes=N and --process=0 to N-1; or auto under Slurm",
            fix="give all three, the same coordinator and number of processes to every process",
        ) from error


def is_lost_process(error: BaseException) -> bool:
    """Whether an error of JAX comes from the end of another process of this run."""
    return jax.process_count() > 1 and any(word in str(error) for word in _LOST)


def wait_for_all(name: str) -> None:
    """Returns once every process has arrived here; a single process continues at once."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def process_index() -> int:
    """This process's number, 0 for the one that writes logs."""
    return jax.process_index()


def process_count() -> int:
    """Number of processes that train together."""
    return jax.process_count()


def describe_devices() -> dict[str, Any]:
    """What the run computes on, for its record."""
    devices = jax.devices()
    return {
        "backend": jax.default_backend(),
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
    }


def first_device_memory() -> tuple[str, int | None]:
    """The kind of this process's first device, and the bytes that its allocator may use, where it says so."""
    device = jax.local_devices()[0]
    return device.device_kind, (device.memory_stats() or {}).get("bytes_limit")


def memory_use() -> dict[str, int]:
    """`peak_bytes` and `limit_bytes` of the fullest of this process's devices; empty where none counts."""
    counted = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    known = [stats for stats in counted if "peak_bytes_in_use" in stats]
    if not known:
        return {}
    fullest = max(known, key=lambda stats: stats["peak_bytes_in_use"])
    limit = {"limit_bytes": fullest["bytes_limit"]} if "bytes_limit" in fullest else {}
    return {"peak_bytes": fullest["peak_bytes_in_use"], **limit}


def device_count() -> int:
    """Number of devices of all processes together."""
    return jax.device_count()


def own_devices() -> list[tuple[int, jax.Device]]:
    """This process's devices, each with its place among all processes' devices."""
    own = jax.process_index()
    return [(place, device) for place, device in enumerate(jax.devices()) if device.process_index == own]


def local_copy(tree: Any) -> Any:
    """Replicated arrays as ordinary arrays on this process's first device."""
    return jax.tree.map(lambda array: array.addressable_data(0), tree)


def sum_over_processes(values: np.ndarray) -> np.ndarray:
    """Sum of every process's `values` (at least one axis); all processes must call it."""
    if jax.process_count() == 1:
        return values
    # As bytes: JAX would round 64-bit numbers to 32.
    gathered = multihost_utils.process_allgather(np.ascontiguousarray(values).view(np.uint8))
    return np.sum(np.ascontiguousarray(gathered).view(values.dtype), axis=0)


def merge_over_processes(values: Mapping[int, Any]) -> dict[int, Any]:
    """Every process's plain values, by numbers that differ among them; all processes must call it."""
    if jax.process_count() == 1:
        return dict(values)
    mine = np.frombuffer(json.dumps(values).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(mine)]))[:, 0]
    padded = np.pad(mine, (0, int(sizes.max()) - len(mine)))
    texts = zip(multihost_utils.process_allgather(padded), sizes, strict=True)
    parts = [json.loads(text[:size].tobytes()) for text, size in texts]
    return {int(number): value for part in parts for number, value in part.items()}


def any_process(flag: bool) -> bool:
    """Whether any process says True; all processes must call it."""
    return bool(sum_over_processes(np.asarray([flag], np.int32))[0])


def start_any_process(flag: bool) -> jax.Array:
    """`any_process` as work queued on the devices: returns a bool array to be read later.

    All processes must call it at the same point of their sequence of steps.
    """
    mesh = data_mesh()
    flags = np.full(jax.local_device_count(), flag)
    return _any(mesh)(jax.make_array_from_process_local_data(split_by_batch(mesh), flags))


@functools.cache
def _any(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(jax.numpy.any, out_shardings=replicated(mesh))
