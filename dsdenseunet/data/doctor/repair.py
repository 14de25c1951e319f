"""Repaired copies of a case: what the data doctor can repair by itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.doctor import body_checks, voxel_checks
from dsdenseunet.data.scans import channel_files, header_grid, nifti
from dsdenseunet.data.scans.grid import turned_affine
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.data.scans.opening import is_dicom
from dsdenseunet.data.scans.stored_volume import Header
from dsdenseunet.data.scans.walk import stem_of
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import are_hounsfield
from dsdenseunet.tasks.task import Task

_MM = 2


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the examination of a case found that a copy needs.

    Attributes:
        flipped: canonical axes along which the affine must be turned.
        shift: slices along D by which the labels must be moved.
        turned: whether the labels' voxels must be turned onto the image's axes, as their header says.
    """

    flipped: tuple[int, ...]
    shift: int
    turned: bool


def repair_case(case: Case, plan: Plan, root: Path, out: Path, task: Task = lits.TASK) -> dict[str, Any]:
    """Writes copies of a case's image and labels: finite values (of a CT in range), uint8 labels, one grid.

    Args:
        case: its files stay as they are.
        plan: what to repair besides the values.
        root: the data set.
        out: another folder; the copies lie in it as the originals do in `root`, those of DICOM as NIfTI.
        task: what image and labels are.

    Returns:
        for the manifest: `name`, the written `images` and `labels` (None without).

    Raises:
        InputError: a file that can't be read.
        OSError: a copy that can't be written. There is no copy of the case then, not even half of it.
    """
    targets = [_target(path, root, out) for path in (*case.images, case.labels) if path is not None]
    try:
        return _copy(case, plan, targets, task)
    except BaseException:
        for target in targets:
            target.unlink(missing_ok=True)
        raise


def _target(path: Path, root: Path, out: Path) -> Path:
    """Where a file's copy lies; of DICOM it is NIfTI, called as the file or folder is."""
    if not is_dicom(path):
        return out / path.relative_to(root)
    return out / path.parent.relative_to(root if path != root else root.parent) / f"{stem_of(path)}.nii.gz"


def _copy(case: Case, plan: Plan, targets: list[Path], task: Task) -> dict[str, Any]:
    is_ct = are_hounsfield(task.channels)
    files, grids = channel_files.open_scan(case.images, task.channels)
    images = targets[: len(files)]
    for target, file, own in zip(images, files, grids, strict=True):
        arrays = [channel.array_IJK for channel in voxel_checks.read_voxels(file, exact=not is_ct)]
        if is_ct:
            arrays = [np.clip(array, *voxel_checks.HU_RANGE) for array in arrays]
        image = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)
        _save(target, image, turned_affine(own, plan.flipped), own.header)
    record: dict[str, Any] = {"name": case.name, "images": list(map(str, images)), "labels": None}
    grid = grids[0]
    if case.labels is not None:
        like = None if plan.turned else grid
        labels_DHW = nifti.read_labels(case.labels, task, like=like, with_ignored=True).array_DHW
        labels_DHW = body_checks.moved_slices(labels_DHW, plan.shift)
        if lits.is_lits(task):
            labels_DHW[body_checks.tumour_outside_liver(labels_DHW)] = 0
        # Voxel by voxel as before: only what the header says of their place has changed.
        header = grid.header.copy()
        header.set_data_shape(grid.shape_IJK)
        _save(targets[-1], grid.from_canonical(labels_DHW), turned_affine(grid, plan.flipped), header)
        record["labels"] = str(targets[-1])
    return record


def _save(path: Path, array_IJK: NDArray[Any], affine: NDArray[np.float64], header: Header) -> None:
    header = header.copy()
    header.set_data_dtype(array_IJK.dtype)
    # The affine is in mm, whatever unit the original states; the unit of time stays.
    header["xyzt_units"] = (int(header["xyzt_units"]) & ~7) | _MM
    header.set_sform(affine, 1)
    header_grid.set_qform(header, affine, 1)
    nifti.write_stored(path, header, array_IJK)
