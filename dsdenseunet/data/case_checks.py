"""Examines one case: its image, its labels, and whether they belong together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet import files
from dsdenseunet.data import body_checks, grid_checks, nifti, voxel_checks
from dsdenseunet.data.findings import Finding
from dsdenseunet.data.lits import Case
from dsdenseunet.data.nifti_file import NiftiFile, read_header
from dsdenseunet.data.repair import Plan
from dsdenseunet.data.voxel_checks import Voxels
from dsdenseunet.errors import InputError

# Grids that differ by less are rounding in the header.
_SAME_GRID_VOXELS = 0.1


@dataclasses.dataclass(frozen=True)
class Examined:
    """One case after its examination.

    Attributes:
        case: its files.
        findings: faults of its files.
        plan: what a repaired copy needs; None where a file can't be read.
        fingerprint: of the image's content; empty where it can't be read.
        facts: for the manifest: a record a file.
    """

    case: Case
    findings: tuple[Finding, ...]
    plan: Plan | None
    fingerprint: str
    facts: tuple[dict[str, Any], ...]


def examine_case(case: Case) -> Examined:
    """Examines the files of one case."""
    findings: list[Finding] = []
    image = _read(case.image, findings)
    labels = _read(case.labels, findings) if case.labels else None
    if case.labels is None and not case.test:
        found = Finding(
            "warning", "label-missing", case.image, "no label volume", "add it, or leave the case out"
        )
        findings.append(found)
    plan = Plan(flipped=(), shift=0, turned=False)
    if labels:
        findings += voxel_checks.check_labels(labels.file, labels.voxels)
    if image:
        findings += voxel_checks.check_image(image.file, image.voxels)
        findings += _check_header(image.file)
        labels_DHW = None
        if labels:
            paired, turned = _check_pair(image, labels)
            findings += paired
            plan = dataclasses.replace(plan, turned=turned)
            if turned:
                labels_DHW = labels.array_DHW
            elif labels.grid.shape_IJK == image.grid.shape_IJK:
                # Voxel by voxel, as such data sets pair them, whatever the labels' header says.
                labels_DHW = image.grid.to_canonical(labels.voxels.array_IJK)
        body, plan = _check_body(image, labels, labels_DHW, plan)
        findings += body
    if labels and not any(finding.check == "label-values" for finding in findings):
        findings += _check_liver(labels)
    return Examined(
        case,
        tuple(findings),
        plan if image and (labels or case.labels is None) else None,
        image.voxels.fingerprint if image else "",
        tuple(_facts(opened) for opened in (image, labels) if opened),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Opened:
    file: NiftiFile
    voxels: Voxels
    grid: nifti.Grid

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def array_DHW(self) -> np.ndarray:  # noqa: N802
        return self.grid.to_canonical(self.voxels.array_IJK)


def _read(path: Path, findings: list[Finding]) -> _Opened | None:
    try:
        header = read_header(path)
        return _Opened(header, voxel_checks.read_voxels(header), nifti.read_grid(path))
    except InputError as error:
        findings.append(Finding("error", "unreadable", path, error.found, error.fix))
        return None


def _check_header(file: NiftiFile) -> list[Finding]:
    if grid_checks.is_identity(file.header):
        return [
            Finding(
                "warning",
                "spacing-unknown",
                file.path,
                "1 x 1 x 1 mm with an identity affine, as files have that lost their geometry",
                "take spacing and affine from the scan's DICOM files; millimetres of this case mean nothing",
            )
        ]
    return [
        Finding("error", "affine", file.path, fault, "take the affine from the scan's DICOM files")
        for fault in grid_checks.affine_faults(file.header)
    ]


def _check_pair(image: _Opened, labels: _Opened) -> tuple[list[Finding], bool]:
    """Faults of the labels' grid, and whether the labels' voxels must be turned as their header says."""
    path = labels.path
    if _check_header(image.file):
        sound: list[str] = []
    elif grid_checks.is_identity(labels.file.header):
        sound = ["1 x 1 x 1 mm with an identity affine, unlike the image"]
    else:
        sound = grid_checks.affine_faults(labels.file.header)
    findings = [
        Finding("warning", "affine", path, fault, "give it the image's affine", True) for fault in sound
    ]
    codes = grid_checks.axis_codes(labels.grid), grid_checks.axis_codes(image.grid)
    same_shape = labels.grid.shape_IJK == image.grid.shape_IJK
    if codes[0] != codes[1] and not findings and labels.grid.shape_DHW == image.grid.shape_DHW:
        as_stored = image.grid.to_canonical(labels.voxels.array_IJK) if same_shape else None
        if as_stored is None or body_checks.fits_better(image.array_DHW, labels.array_DHW, as_stored):
            found = (
                f"voxels stored along {codes[0]}, the image's along {codes[1]}: they don't pair one by one"
            )
            return [
                Finding("error", "label-axes", path, found, "store them along the image's axes", True)
            ], True
    if not same_shape:
        found = f"{_sides(labels.grid)} voxels, the image has {_sides(image.grid)}"
        return [Finding("error", "grid-shape", path, found, "find the labels of this image")], False
    if findings or _check_header(image.file):
        return findings, False
    if codes[0] != codes[1]:
        found = (
            f"a header with axes along {codes[0]}, the image's along {codes[1]}; the voxels pair one by one"
        )
    elif (apart := grid_checks.distance_voxels(image.grid, labels.grid)) > _SAME_GRID_VOXELS:
        found = f"a grid that lies {apart:.1f} voxels away from the image's"
    else:
        return [], False
    return [Finding("warning", "grid-place", path, found, "give it the image's affine", True)], False


def _check_body(
    image: _Opened, labels: _Opened | None, labels_DHW: np.ndarray | None, plan: Plan
) -> tuple[list[Finding], Plan]:
    """What body and labels say about their own directions and about each other."""
    findings = []
    flipped = body_checks.flipped_axes(image.array_DHW, labels_DHW)
    if flipped:
        axes = ", ".join(body_checks.AXES[axis] for axis in flipped)
        found = f"a body that lies the wrong way round along {axes}"
        findings.append(
            Finding("error", "orientation-flipped", image.path, found, "turn the affine's axis", True)
        )
    shift = 0
    if labels and labels_DHW is not None:
        shift = body_checks.label_shift(image.array_DHW, labels_DHW)
    if labels and shift:
        found = f"labels that fit the image better when moved by {shift:+d} slices along D"
        findings.append(Finding("error", "label-shifted", labels.path, found, "move them", True))
    return findings, dataclasses.replace(plan, flipped=flipped, shift=shift)


def _check_liver(labels: _Opened) -> list[Finding]:
    path = labels.path
    if not (labels.voxels.array_IJK > 0).any():
        return [
            Finding(
                "error", "liver-empty", path, "no voxel of liver or tumour", "annotate it, or leave it out"
            )
        ]
    outside = int(np.count_nonzero(body_checks.tumour_outside_liver(labels.array_DHW)))
    if outside:
        found = f"{outside} voxels of tumour that touch no liver"
        return [Finding("warning", "tumour-outside", path, found, "remove them", True)]
    return []


def _facts(opened: _Opened) -> dict[str, Any]:
    low, high = opened.voxels.low, opened.voxels.high
    return {
        "path": str(opened.path),
        "sha256": files.sha256(opened.path),
        "shape": list(opened.grid.shape_IJK),
        "spacing_mm_DHW": list(opened.grid.spacing_mm),
        "orientation": grid_checks.axis_codes(opened.grid),
        "dtype": opened.file.dtype.name,
        "low": low if np.isfinite(low) else None,
        "high": high if np.isfinite(high) else None,
    }


def _sides(grid: nifti.Grid) -> str:
    return " x ".join(map(str, grid.shape_IJK))
