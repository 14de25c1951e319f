"""Whether a volume fits into this machine's memory, checked before any of it is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import by

# Where Linux keeps the memory that a container or a job may take, by version of control groups.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_bytes() -> int:
    """The machine's memory in bytes, or what this container may take of it."""
    found = [psutil.virtual_memory().total]
    for limit in _LIMITS:
        try:
            found.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such version, or "max"
            continue
    return min(found)


def check_room(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    bytes_per_voxel: int,
    *,
    resampled_mm: Sequence[float] = (),
) -> None:
    """Refuses a volume that needs more than the machine's whole memory.

    Args:
        path: its file.
        shape: its sides, in any order.
        bytes_per_voxel: that are held at once.
        resampled_mm: (D, H, W) of `task.spacing_mm`, where the volume has this shape only then.

    Raises:
        InputError: says how much memory is needed, what for, and how much there is.
    """
    needed, there = math.prod(shape) * bytes_per_voxel, machine_bytes()
    if needed <= there:
        return
    sides, fix = "", "use a machine with more memory, or crop or resample the volume"
    if resampled_mm:
        sides = f"resampled to {by(resampled_mm)} mm: "
        fix = "correct the spacing in the file's header if it is wrong, choose a larger "
        fix += "config.task.spacing_mm, or use a machine with more memory"
    raise InputError(
        path,
        found=f"{sides}{by(shape)} voxels, which take {needed / 1e9:.1f} GB of memory "
        f"({bytes_per_voxel} bytes a voxel)",
        expected=f"at most the {there / 1e9:.1f} GB that this machine has",
        fix=fix,
    )
