"""Messages for faults of the machine in the middle of a run: what happened and what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.models.network import traded
from dsdenseunet.runtime import out_of_memory, parallel
from dsdenseunet.training.checkpoint import phases_in

_DISK_FULL = ("No space left on device", "Disk quota exceeded", "ENOSPC", "EDQUOT")


@contextlib.contextmanager
def explained(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Turns a full disk and exhausted device memory into errors that say what to do.

    Raises:
        InputError: the disk is full, or the network does not fit into memory.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if _is_disk_full(error):
            raise InputError(
                workdir,
                found="the disk became full while writing",
                expected="space for two checkpoints",
                fix="free some space; the last whole checkpoint is untouched and the same command continues "
                "from there",
            ) from error
        if isinstance(error, MemoryError) or out_of_memory.is_cause(error):
            raise _out_of_memory(workdir, config, error) from error
        raise


def _out_of_memory(workdir: Path, config: ConfigDict, error: Exception) -> InputError:
    device, devices = parallel.first_device_memory(), parallel.device_count()
    remat, dtype = traded(config.model)
    began = bool(phases_in(workdir))
    ways = [
        *out_of_memory.fraction(error, device),
        *out_of_memory.planned(config.to_dict(), device, devices, registry.build(config.model).remats),
        "try, in this order: " + "; ".join(_smaller_plans(config, devices)),
        *(["a run keeps the settings that it began with: all but remat in a new --workdir"] if began else []),
        out_of_memory.command(config.name, device),
    ]
    return InputError(
        "memory",
        found=out_of_memory.first_line(error),
        expected=f"room for a batch of {config.data.batch_size} patches of {tuple(config.data.patch_size)} "
        f"with remat={remat}, {dtype}",
        fix="; ".join(ways),
    )


def _smaller_plans(config: ConfigDict, devices: int) -> list[str]:
    """Flags that need less memory, those that leave results alone first; each is one that the run takes."""
    plans = []
    network, (remat, dtype) = registry.build(config.model), traded(config.model)
    if remat == "none":
        plans += [f"--config.model.remat={other}" for other in network.remats if other != "none"][:1]
    one_at_a_time = config.data.batch_size // devices
    if one_at_a_time > config.training.accumulate:
        plans.append(f"--config.training.accumulate={one_at_a_time} (one patch at a time)")
    if dtype == "float32" and "bfloat16" in network.dtypes:
        plans.append("--config.model.dtype=bfloat16 (halves activations)")
    if one_at_a_time == config.training.accumulate > 1:
        plans.append(f"--config.data.batch_size={devices} --config.training.accumulate=1")
    patch = _smaller_patch(config)
    if patch:
        plans.append(f"--config.data.patch_size='{patch}'".replace(" ", ""))
    return plans or ["a device with more memory"]


def _smaller_patch(config: ConfigDict) -> tuple[int, ...] | None:
    """About half of the patch's plane, or of its depth where the plane has the least sides already."""
    stride = registry.build(config.model).stride
    depth, *plane = config.data.patch_size
    smaller = [max(s, round(0.7 * p / s) * s) for p, s in zip(plane, stride[1:])]
    if smaller != plane:
        return depth, *smaller
    half = max(stride[0], round(0.5 * depth / stride[0]) * stride[0])
    return (half, *plane) if half < depth else None


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether the error or what it came from is a full disk; libraries wrap the system's error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(word in str(error) for word in _DISK_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
