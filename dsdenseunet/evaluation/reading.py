"""A pair of label files, read as each mode compares them, and scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dsdenseunet.data import nifti
from dsdenseunet.errors import InputError
from dsdenseunet.evaluation.case import CORRECTED, MODES, OFFICIAL, CaseScore
from dsdenseunet.evaluation.overlap import dice_per_class
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.evaluation.score import score_modes

# What scores depend on.
LIBRARIES = ("numpy", "scipy", "connected-components-3d", "edt", "nibabel")
TURNED = "headers: the prediction's axes run differently; turned onto the reference's"
NOT_TURNED = "headers: axes run differently, but the livers agree as the voxels lie; not turned"
MOVED = "headers: prediction and reference lie at different places; compared voxel by voxel"
SPACING = "headers: the reference's voxel size and affine disagree about spacing; the affine's is used"
# Headers hold 32-bit numbers, so a tenth of a voxel is no rounding.
_SAME_PLACE_VOXELS = 0.1


def score_files(pair: FilePair, modes: Sequence[str] = MODES) -> dict[str, CaseScore]:
    """Scores the prediction of one case.

    The official mode compares the voxels as they lie in the files, by shape only, with the voxel size of
    the reference's header. The corrected mode turns a prediction whose header says that its axes run
    differently (unless the livers agree better as they lie: LiTS has nonsense affines) and takes the
    spacing of the reference's affine. What it found in the headers is among the case's marks.

    Raises:
        InputError: a file that can't be read as labels 0, 1, 2, or shapes that differ.
    """
    reference = nifti.read_labels(pair.reference)
    grid = reference.grid
    own = nifti.read_grid(pair.prediction)
    turned = (own.axis_order, own.flips) != (grid.axis_order, grid.flips)
    same_shape = own.shape_IJK == grid.shape_IJK
    if not same_shape and (OFFICIAL in modes or own.shape_DHW != grid.shape_DHW):
        raise InputError(
            pair.prediction,
            found=f"{' x '.join(map(str, own.shape_IJK))} voxels",
            expected=f"{' x '.join(map(str, grid.shape_IJK))}, as {pair.reference}",
            fix="resample the prediction onto the reference's grid, nearest neighbour",
        )
    # Labels as the file has them: read with their own grid and put back by it.
    prediction_DHW = nifti.read_labels(pair.prediction).array_DHW
    prediction_IJK = own.from_canonical(prediction_DHW)
    reference_IJK = grid.from_canonical(reference.array_DHW)
    marks = []
    if turned:
        as_turned = grid.from_canonical(prediction_DHW)
        if same_shape and _liver(prediction_IJK, reference_IJK) >= _liver(as_turned, reference_IJK):
            marks.append(NOT_TURNED)
            as_turned = prediction_IJK
        else:
            marks.append(TURNED)
    else:
        as_turned = prediction_IJK
        if not np.allclose(
            own.affine[:3, 3], grid.affine[:3, 3], atol=_SAME_PLACE_VOXELS * min(grid.spacing_mm)
        ):
            marks.append(MOVED)
    voxel_size = tuple(float(side) for side in grid.header.get_zooms()[:3])
    affine_size = tuple(float(side) for side in np.linalg.norm(grid.affine[:3, :3], axis=0))
    if np.allclose(voxel_size, affine_size, rtol=1e-4):
        affine_size = voxel_size
    else:
        marks.append(SPACING)
    if as_turned is prediction_IJK and affine_size == voxel_size:
        scores = score_modes(prediction_IJK, reference_IJK, voxel_size, modes)
    else:
        scores = {}
        if OFFICIAL in modes:
            scores |= score_modes(prediction_IJK, reference_IJK, voxel_size, (OFFICIAL,))
        if CORRECTED in modes:
            scores |= score_modes(as_turned, reference_IJK, affine_size, (CORRECTED,))
    return {
        mode: dataclasses.replace(score, marks=(*score.marks, *marks)) if mode == CORRECTED else score
        for mode, score in scores.items()
    }


def _liver(prediction: np.ndarray, reference: np.ndarray) -> float:
    return dice_per_class(prediction, reference)["liver"]
