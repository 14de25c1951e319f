"""A pair of label files, read as each mode compares them, and scored."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.header_affines import candidates
from dsdenseunet.data.scans.header_grid import zooms_mm_as_nibabel_loads
from dsdenseunet.data.scans.nifti import Spacing
from dsdenseunet.data.scans.probabilities import read_probabilities
from dsdenseunet.evaluation import calibration, geometry
from dsdenseunet.evaluation.calibration import Calibration
from dsdenseunet.evaluation.case import MODES, OFFICIAL
from dsdenseunet.evaluation.overlap import count, dice
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.evaluation.regions import REGIONS, score_task
from dsdenseunet.evaluation.score import score_modes
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

# What scores depend on.
LIBRARIES = ("numpy", "scipy", "connected-components-3d", "edt", "nibabel")
CODE = ("dsdenseunet.evaluation", "dsdenseunet.data")

AS_STORED = (
    "headers: the prediction's axes run differently; compared as the voxels lie, as the challenge does"
)
TURNED = "headers: the prediction's axes run differently; turned onto the reference's"
NOT_TURNED = "headers: axes run differently, but the labels agree better as the voxels lie; not turned"
ONE_SHAPE = "headers: axes run differently, but the shapes agree as the voxels lie only; not turned"
NOT_OFFICIAL = (
    "no official score: the files store their axes in different orders, and the challenge's scorer does not "
    "turn them"
)
SPACING = "headers: the reference's voxel size and affine disagree about spacing; the affine's is used"
SPACING_OFFICIAL = (
    "headers: the reference's voxel size and affine disagree about spacing; the voxel size is used, as the "
    "challenge does"
)
CONVERTED = "headers: the reference's lengths are not millimetres; converted, which the challenge does not do"
NO_VOXEL_SIZE = "headers: the reference's voxel size is not a number; the affine's is used"


def elsewhere(names: Sequence[str]) -> str:
    """The mark of a pair whose grids differ; see `geometry.differences` for the names."""
    found = " and ".join(names)
    return f"headers: prediction and reference differ in {found}; compared voxel by voxel"


@dataclasses.dataclass(frozen=True)
class Scored:
    """What is found of a case: its scores by mode, and where probabilities were saved what they are worth."""

    scores: dict[str, Any]
    calibration: Calibration | None


def score_files(pair: FilePair, modes: Sequence[str] = MODES, task: Task = lits.TASK) -> Scored:
    """Scores the prediction of one case, and the probabilities beside it if there are any.

    The official mode compares the voxels as they lie in the files, by shape only, with the voxel size that
    nibabel loads from the reference's header. The corrected mode turns a prediction whose header says that
    its axes run differently (unless the labels agree better as they lie: LiTS has nonsense affines) and
    takes the spacing of the reference's affine. Mode "regions", of any task, reads files as the corrected one
    does. What it found in the headers is among the case's marks.

    Returns:
        the scores; where files store one grid along other axes, the official mode cannot compare them: it is
        then left out, and the corrected score's marks say so.

    Raises:
        InputError: a file that can't be read as labels of the task or as its probabilities, or shapes that no
            mode in `modes` can compare.
    """
    reference, own = nifti.read_grids(pair.reference, pair.prediction)
    as_stored, if_turned = own.shape_IJK == reference.shape_IJK, own.shape_DHW == reference.shape_DHW
    turning = [mode for mode in modes if mode != OFFICIAL]
    if not as_stored and not (if_turned and turning):
        raise _other_shape(pair, own, reference, if_turned)
    # Labels as the file has them: read with their own grid and put back by it.
    reference_IJK = reference.from_canonical(
        nifti.read_labels(pair.reference, task, reference, with_ignored=not lits.is_lits(task)).array_DHW
    )
    prediction_DHW = nifti.read_labels(pair.prediction, task, own).array_DHW
    predictions_IJK = {
        False: own.from_canonical(prediction_DHW),
        True: reference.from_canonical(prediction_DHW),
    }
    same_axes = _same_axes(own, reference)
    turned = not same_axes and _is_turned(predictions_IJK, reference_IJK)
    marks = _header_marks(reference, own, same_axes or turned)
    views = {}
    if OFFICIAL in modes and as_stored:
        axes = "" if same_axes else AS_STORED
        unit = "" if candidates(reference.header)[0] == 1 else CONVERTED
        views[OFFICIAL] = _view(False, _official_spacing(reference), *marks, axes, unit)
    for mode in turning:
        axes = "" if same_axes else TURNED if turned else NOT_TURNED if if_turned else ONE_SHAPE
        absent = NOT_OFFICIAL if OFFICIAL in modes and not as_stored else ""
        views[mode] = _view(turned, _corrected_spacing(reference), *marks, axes, absent)
    # What is computed of two label volumes serves all modes that compare the same ones.
    together: dict[tuple[bool, Spacing], list[str]] = defaultdict(list)
    for mode, view in views.items():
        together[view.turned, view.spacing_mm].append(mode)
    scores: dict[str, Any] = {}
    for (way, spacing_mm), alike in together.items():
        if alike == [REGIONS]:
            scores[REGIONS] = score_task(predictions_IJK[way], reference_IJK, spacing_mm, task)
        else:
            scores |= score_modes(predictions_IJK[way], reference_IJK, spacing_mm, alike)
    marked = {
        mode: dataclasses.replace(scores[mode], turned=view.turned, marks=(*scores[mode].marks, *view.marks))
        for mode, view in views.items()
    }
    del prediction_DHW, predictions_IJK  # Probabilities take several times their memory.
    return Scored(marked, _calibrate(pair, task, reference, reference_IJK))


def _calibrate(
    pair: FilePair, task: Task, reference: nifti.Grid, reference_IJK: np.ndarray
) -> Calibration | None:
    """What the probabilities beside a prediction are worth, None where there are none.

    They are compared with the reference as the corrected mode compares labels.
    """
    if pair.probabilities is None:
        return None
    stored_CDHW, own = read_probabilities(pair.probabilities, len(task.classes))
    turned = False
    if not _same_axes(own, reference):
        labels_DHW = calibration.arg_max(stored_CDHW)
        ways = {False: own.from_canonical(labels_DHW), True: reference.from_canonical(labels_DHW)}
        turned = _is_turned(ways, reference_IJK)
    stored_IJKC = (reference if turned else own).from_canonical(np.moveaxis(stored_CDHW, 0, -1))
    if stored_IJKC.shape[:3] != reference_IJK.shape:
        raise _other_shape(pair, own, reference, own.shape_DHW == reference.shape_DHW)
    return calibration.calibrate(np.moveaxis(stored_IJKC, -1, 0), reference_IJK, task)


def _same_axes(own: nifti.Grid, reference: nifti.Grid) -> bool:
    return (own.axis_order, own.flips) == (reference.axis_order, reference.flips)


def _is_turned(predictions_IJK: Mapping[bool, np.ndarray], reference_IJK: np.ndarray) -> bool:
    """Whether a prediction agrees better with the reference once it is turned, by its key here."""
    agreement = {
        way: dice(count(prediction_IJK > 0, reference_IJK > 0))
        for way, prediction_IJK in predictions_IJK.items()
        if prediction_IJK.shape == reference_IJK.shape
    }
    return agreement.get(True, -1.0) > agreement.get(False, -1.0)


@dataclasses.dataclass(frozen=True)
class _View:
    """How a mode sees a pair: whether the prediction is turned, the spacing in file order, what to know."""

    turned: bool
    spacing_mm: Spacing
    marks: tuple[str, ...]


def _view(turned: bool, spacing: tuple[Spacing, str], *marks: str) -> _View:
    size_mm, mark = spacing
    return _View(turned, size_mm, tuple(filter(None, (*marks, mark))))


def _header_marks(reference: nifti.Grid, own: nifti.Grid, comparable: bool) -> list[str]:
    """What was assumed of either header, and in what the grids differ if their axes run alike."""
    sides = (("reference", reference), ("prediction", own))
    marks = [f"{side}: {mark}" for side, grid in sides for mark in grid.marks]
    names = geometry.differences(reference, own) if comparable else []
    return [*marks, elsewhere(names)] if names else marks


def _official_spacing(reference: nifti.Grid) -> tuple[Spacing, str]:
    voxel_size = zooms_mm_as_nibabel_loads(reference.header)
    affine_size = _affine_size(reference)
    if not np.isfinite(voxel_size).all():
        return affine_size, NO_VOXEL_SIZE
    return voxel_size, "" if _equal(voxel_size, affine_size) else SPACING_OFFICIAL


def _corrected_spacing(reference: nifti.Grid) -> tuple[Spacing, str]:
    """The affine's spacing, in the voxel size's own digits where the two agree."""
    official, mark = _official_spacing(reference)
    return (_affine_size(reference), SPACING) if mark == SPACING_OFFICIAL else (official, mark)


def _affine_size(grid: nifti.Grid) -> Spacing:
    i, j, k = (float(side) for side in np.linalg.norm(grid.affine[:3, :3], axis=0))
    return i, j, k


def _equal(first: Spacing, second: Spacing) -> bool:
    return bool(np.allclose(first, second, rtol=1e-4))


def _other_shape(pair: FilePair, own: nifti.Grid, reference: nifti.Grid, if_turned: bool) -> InputError:
    fix = (
        "predict the reference's own scan again, or resample the prediction onto its grid, nearest neighbour"
    )
    if if_turned:
        fix = "--mode=corrected turns it by its header; or store it along the reference's axes"
    return InputError(
        pair.prediction,
        found=f"{' x '.join(map(str, own.shape_IJK))} voxels",
        expected=f"{' x '.join(map(str, reference.shape_IJK))}, as {pair.reference}",
        fix=fix,
    )
