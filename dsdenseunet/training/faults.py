"""Faults of the machine in the middle of a run, told in the words of what to do about them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from dsdenseunet import out_of_memory, parallel
from dsdenseunet.errors import InputError

_DISK_FULL = ("No space left on device", "Disk quota exceeded", "ENOSPC", "EDQUOT")


@contextlib.contextmanager
def explained(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Turns a full disk and exhausted device memory into errors that say the way out.

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
                fix="free some space; the last whole checkpoint is untouched and the same command goes on "
                "from there",
            ) from error
        if isinstance(error, MemoryError) or out_of_memory.is_cause(error):
            device = parallel.first_device_memory()
            raise InputError(
                "memory",
                found=out_of_memory.first_line(error),
                expected=f"room for a batch of {config.data.batch_size} patches of "
                f"{tuple(config.data.patch_size)} with remat={config.model.remat}, {config.model.dtype}",
                fix="; ".join(
                    [
                        *out_of_memory.planned(config.to_dict(), device),
                        "try, in this order: " + "; ".join(_smaller_plans(config)),
                        out_of_memory.command(config.name, device),
                    ]
                ),
            ) from error
        raise


def _smaller_plans(config: ConfigDict) -> list[str]:
    """Flags that need less memory, those that leave results alone first."""
    plans = []
    if config.model.remat != "block":
        plans.append("--config.model.remat=block")
    if config.data.batch_size > config.training.accumulate:
        plans.append(f"--config.training.accumulate={config.data.batch_size} (one patch at a time)")
    if config.model.dtype == "float32":
        plans.append("--config.model.dtype=bfloat16 (halves activations)")
    if config.data.batch_size > 1 and config.data.batch_size == config.training.accumulate:
        plans.append("--config.data.batch_size=1 --config.training.accumulate=1")
    plans.append("a smaller config.data.patch_size")
    return plans


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether the error or what it came from is a full disk; libraries wrap the system's error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(word in str(error) for word in _DISK_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
