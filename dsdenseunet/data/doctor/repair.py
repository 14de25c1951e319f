"""Repaired copies of a case: what the data doctor can mend without asking."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.doctor import body_checks, grid_checks, voxel_checks
from dsdenseunet.data.scans import header_grid, nifti
from dsdenseunet.data.scans.lits import Case
from dsdenseunet.data.scans.nifti_file import Header, read_header

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


def repair_case(case: Case, plan: Plan, root: Path, out: Path) -> dict[str, Any]:
    """Writes copies of a case's image and labels: finite HU in range, uint8 labels, one grid for both.

    Args:
        case: its files stay as they are.
        plan: what to mend beyond the values.
        root: the data set.
        out: another folder; the copies lie in it as the originals do in `root`.

    Returns:
        for the manifest: `name`, the written `image` and `labels` (None without).

    Raises:
        InputError: a file that can't be read.
        OSError: a copy that can't be written. There is no copy of the case then, not even half of it.
    """
    targets = [out / path.relative_to(root) for path in (case.image, case.labels) if path is not None]
    try:
        return _copy(case, plan, targets)
    except BaseException:
        for target in targets:
            target.unlink(missing_ok=True)
        raise


def _copy(case: Case, plan: Plan, targets: list[Path]) -> dict[str, Any]:
    voxels = voxel_checks.read_voxels(read_header(case.image))
    grid = nifti.read_grid(case.image)
    affine = grid_checks.turned_affine(grid, plan.flipped)
    _save(targets[0], np.clip(voxels.array_IJK, *voxel_checks.HU_RANGE), affine, grid.header)
    record: dict[str, Any] = {"name": case.name, "image": str(targets[0]), "labels": None}
    if case.labels is not None:
        like = None if plan.turned else grid
        labels_DHW = nifti.read_labels(case.labels, like=like).array_DHW
        labels_DHW = body_checks.moved_slices(labels_DHW, plan.shift)
        labels_DHW[body_checks.tumour_outside_liver(labels_DHW)] = 0
        # Voxel by voxel as before: only what the header says of their place has changed.
        _save(targets[1], grid.from_canonical(labels_DHW), affine, grid.header)
        record["labels"] = str(targets[1])
    return record


def _save(path: Path, array_IJK: NDArray[Any], affine: NDArray[np.float64], header: Header) -> None:
    header = header.copy()
    header.set_data_dtype(array_IJK.dtype)
    # The affine is in mm, whatever unit the original states; the unit of time stays.
    header["xyzt_units"] = (int(header["xyzt_units"]) & ~7) | _MM
    header.set_sform(affine, 1)
    header_grid.set_qform(header, affine, 1)
    nifti.write_stored(path, header, array_IJK)
