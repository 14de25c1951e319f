"""What the class probabilities of held-out cases take on disk, said before anything is trained."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core.words import counted
from dsdenseunet.cross_validation.runs import Run, held_out
from dsdenseunet.data.cache import Cache
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import stages

# As `data.scans.probabilities` stores them.
_BYTES = 2
_GB = 1e9


def for_probabilities(runs: Sequence[Run]) -> int:
    """Bytes of the probabilities of all held-out cases before compression, on the scans' own grids.

    Compressed they take less: how much less depends on how sure the networks are. Cascades have none.
    """
    config = runs[0].config
    if stages.has_stages(config):
        return 0
    cache, task = Cache.open(config.data.cache), Task.of(config.task)
    voxels = 0
    for name in (name for names in held_out(runs).values() for name in names):
        record = cache.record(name)
        scan, shape = Path(record.images[0].path), record.shape
        # A case that was resampled is predicted on its scan's grid all the same; one that is gone is not.
        if task.spacing_mm and scan.exists():
            # Most trainings do without what reads files.
            from dsdenseunet.data.scans import nifti

            shape = nifti.read_grid(scan).shape_DHW
        voxels += math.prod(shape)
    return _BYTES * len(task.classes) * voxels


def in_words(runs: Sequence[Run], workdir: str | Path) -> str:
    """What is needed, what is free, and how to do without; empty where none are kept."""
    needed, cases = for_probabilities(runs), sum(map(len, held_out(runs).values()))
    if not needed:
        return ""
    folder = Path(workdir).absolute()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    return (
        f"class probabilities of {counted(cases, 'case')} will take at most {needed / _GB:.1f} GB "
        f"({_BYTES} bytes a class and voxel, before compression), and {free / _GB:.0f} GB are free; with "
        "--nosave_probabilities none are kept, and neither calibration nor temperature is found"
    )
