"""Examines one case: its image, its labels, and whether they belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.doctor import body_checks, voxel_checks
from dsdenseunet.data.doctor.findings import Finding
from dsdenseunet.data.doctor.repair import Plan
from dsdenseunet.data.doctor.voxel_checks import Voxels
from dsdenseunet.data.scans import channel_files, header_grid, nifti
from dsdenseunet.data.scans.grid import SAME_GRID_VOXELS, axis_codes, distance_voxels, grid_of
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.data.scans.opening import open_labels, open_volume
from dsdenseunet.data.scans.stored_volume import StoredVolume
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.channel import Channel, are_hounsfield
from dsdenseunet.tasks.task import Task

_FROM_DICOM = "take the affine from the scan's DICOM files"
# What to do about a header's fault, by the kind of `header_grid.Note`.
_HEADER_REPAIRS = {
    "no-orientation": _FROM_DICOM,
    "broken-orientation": _FROM_DICOM,
    "assumed-size": _FROM_DICOM,
    "sizes-differ": _FROM_DICOM,
    "sheared": f"{_FROM_DICOM}; resample a tilted gantry's slices onto axes at right angles",
    "no-geometry": "take spacing and affine from the scan's DICOM files, unless voxels are known to be 1 mm: "
    "lengths and volumes of this case mean nothing otherwise",
    "contradiction": "find out which is right{hint}; copies have the sform in both",
}
_HEADER_CHECKS = {"no-geometry": "spacing-unknown", "contradiction": "sform-qform"}
_ANEW = "write the header anew, as it is read here"
_LIVER_SIDE = " (the liver lies on the patient's right)"


@dataclasses.dataclass(frozen=True)
class Examined:
    """One case after its examination.

    Attributes:
        case: its files.
        findings: faults of its files.
        plan: what a repaired copy needs; None where a file can't be read.
        fingerprints: of the content of image and labels; empty where there is none that can be read.
        facts: for the manifest, one record per file.
    """

    case: Case
    findings: tuple[Finding, ...]
    plan: Plan | None
    fingerprints: tuple[str, str]
    facts: tuple[dict[str, Any], ...]


def examine_case(case: Case, task: Task = lits.TASK) -> Examined:
    """Examines the files of one case by what its task says of images and labels."""
    findings: list[Finding] = []
    files = _read_channels(case.images, task, findings)
    image = _as_one(files) if files else None
    labels = _read_labels(case.labels, image, task, findings) if case.labels else None
    if case.labels is None and not case.test:
        found = Finding(
            "warning", "label-missing", case.image, "no label volume", "add it, or leave the case out"
        )
        findings.append(found)
    plan = Plan(flipped=(), shift=0, turned=False)
    if labels:
        findings += voxel_checks.check_labels(labels.file, labels.voxels[0], task)
    if image:
        for channels, opened in _channels_of(files, task):
            findings += voxel_checks.check_image(opened.file, channels, opened.voxels)
            findings += _check_header(opened, task)
        labels_DHW = None
        if labels:
            paired, turned = _check_pair(image, labels, task)
            findings += paired
            plan = dataclasses.replace(plan, turned=turned)
            if turned:
                labels_DHW = labels.array_DHW
            elif labels.grid.shape_IJK == image.grid.shape_IJK:
                # Voxel by voxel, as such data sets pair them, whatever the labels' header says.
                labels_DHW = image.grid.to_canonical(labels.stored_IJK)
        if lits.is_lits(task):
            body, plan = _check_body(image, labels, labels_DHW, plan)
            findings += body
    if labels and not any(finding.check == "label-values" for finding in findings):
        findings += _check_regions(labels, task)
    return Examined(
        case,
        tuple(findings),
        plan if image and (labels or case.labels is None) else None,
        (image.fingerprint if image else "", labels.fingerprint if labels else ""),
        tuple(_facts(opened) for opened in (*files, *([labels] if labels else []))),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Opened:
    file: StoredVolume
    voxels: tuple[Voxels, ...]
    grid: nifti.Grid
    notes: tuple[header_grid.Note, ...]

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def stored_IJK(self) -> np.ndarray:  # noqa: N802
        """The labels, or the image's first channel, in the file's own order."""
        return self.voxels[0].array_IJK

    @property
    def array_DHW(self) -> np.ndarray:  # noqa: N802
        """The same in canonical order."""
        return self.grid.to_canonical(self.stored_IJK)

    @property
    def fingerprint(self) -> str:
        return " ".join(channel.fingerprint for channel in self.voxels)

    @property
    def placed(self) -> bool:
        """Whether the header itself says where the voxels lie."""
        return not any(header_grid.KINDS[note.kind] for note in self.notes)


def _read_channels(paths: Sequence[Path], task: Task, findings: list[Finding]) -> list[_Opened]:
    """The files of an image; none if one of them is missing, cannot be read or has another grid."""
    check = "channel-missing"
    try:
        channel_files.require(paths, task.channels)
        check = "unreadable"
        opened = []
        count = len(task.channels) if len(paths) == 1 else 1
        for path in paths:
            file = open_volume(path, count)
            voxels = voxel_checks.read_voxels(file, exact=not are_hounsfield(task.channels))
            notes = header_grid.place(file.header, path).notes
            opened.append(_Opened(file, voxels, grid_of(file), notes))
        check = "channel-grid"
        channel_files.common_grid([one.file for one in opened], [one.grid for one in opened])
    except InputError as error:
        found = error.found if check == "unreadable" else f"{error.found}; expected {error.expected}"
        findings.append(Finding("error", check, Path(error.where), found, error.fix))
        return []
    return opened


def _as_one(files: Sequence[_Opened]) -> _Opened:
    """An image of several files as one: the first one's grid and header, all channels."""
    return dataclasses.replace(files[0], voxels=tuple(channel for file in files for channel in file.voxels))


def _channels_of(files: Sequence[_Opened], task: Task) -> Iterator[tuple[Sequence[Channel], _Opened]]:
    """Each file with the channels that it holds."""
    start = 0
    for file in files:
        yield task.channels[start : start + len(file.voxels)], file
        start += len(file.voxels)


def _read_labels(path: Path, image: _Opened | None, task: Task, findings: list[Finding]) -> _Opened | None:
    try:
        file = open_labels(path, task, image.grid if image else None)
        voxels = voxel_checks.read_voxels(file)
        try:
            return _Opened(file, voxels, grid_of(file), header_grid.place(file.header, path).notes)
        except InputError as error:
            if image is None or image.grid.shape_IJK != file.shape_IJK:
                raise
            # Labels are read voxel by voxel as their image: they need no header of their own.
            return _Opened(file, voxels, image.grid, (header_grid.Note("broken-orientation", error.found),))
    except InputError as error:
        findings.append(Finding("error", "unreadable", path, error.found, error.fix))
        return None


def _check_header(image: _Opened, task: Task) -> list[Finding]:
    findings = []
    hint = _LIVER_SIDE if lits.is_lits(task) else ""
    for note in image.notes:
        assumed = header_grid.KINDS[note.kind]
        findings.append(
            Finding(
                "error" if assumed and note.kind != "no-geometry" else "warning",
                _HEADER_CHECKS.get(note.kind, "affine"),
                image.path,
                note.text,
                _HEADER_REPAIRS.get(note.kind, _ANEW).format(hint=hint),
                repairable=not assumed,
            )
        )
    return findings


def _check_pair(image: _Opened, labels: _Opened, task: Task) -> tuple[list[Finding], bool]:
    """Faults of the labels' grid, and whether the labels' voxels must be turned as their header says."""
    path = labels.path
    findings = [
        Finding("warning", "affine", path, note.text, "give it the image's affine", True)
        for note in labels.notes
        if image.placed
    ]
    codes = axis_codes(labels.grid), axis_codes(image.grid)
    same_shape = labels.grid.shape_IJK == image.grid.shape_IJK
    if (
        codes[0] != codes[1]
        and image.placed
        and labels.placed
        and labels.grid.shape_DHW == image.grid.shape_DHW
    ):
        as_stored = image.grid.to_canonical(labels.stored_IJK) if same_shape else None
        if as_stored is None or body_checks.fits_better(image.array_DHW, labels.array_DHW, as_stored, task):
            found = (
                f"voxels stored along {codes[0]}, the image's along {codes[1]}: they don't pair one by one"
            )
            repair = "store them along the image's axes"
            return [*findings, Finding("error", "label-axes", path, found, repair, True)], True
    if not same_shape:
        found = f"{_sides(labels.grid)} voxels, the image has {_sides(image.grid)}"
        findings.append(Finding("error", "grid-shape", path, found, "find the labels of this image"))
        return findings, False
    if not (image.placed and labels.placed):
        return findings, False
    if codes[0] != codes[1]:
        found = (
            f"a header with axes along {codes[0]}, the image's along {codes[1]}; the voxels pair one by one"
        )
    elif (apart := distance_voxels(image.grid, labels.grid)) > SAME_GRID_VOXELS:
        found = f"a grid that lies {apart:.1f} voxels away from the image's"
    else:
        return findings, False
    findings.append(Finding("warning", "grid-place", path, found, "give it the image's affine", True))
    return findings, False


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


def _check_regions(labels: _Opened, task: Task) -> list[Finding]:
    path = labels.path
    if not any(region.mask(labels.stored_IJK).any() for region in task.regions):
        # Every scan of LiTS shows a liver; elsewhere a case can be a healthy one.
        severity = "error" if lits.is_lits(task) else "warning"
        found = f"no voxel of {' or '.join(region.name for region in task.regions)}"
        return [Finding(severity, "label-empty", path, found, "annotate it, or leave it out")]
    if not lits.is_lits(task):
        return []
    outside = int(np.count_nonzero(body_checks.tumour_outside_liver(labels.array_DHW)))
    if outside:
        found = f"{outside} voxels of tumour that touch no liver"
        return [Finding("warning", "tumour-outside", path, found, "remove them", True)]
    return []


def _facts(opened: _Opened) -> dict[str, Any]:
    low = min(channel.finite.low for channel in opened.voxels)
    high = max(channel.finite.high for channel in opened.voxels)
    return {
        "path": str(opened.path),
        "sha256": files.sha256(opened.path),
        "shape": list(opened.grid.shape_IJK),
        "spacing_mm_DHW": list(opened.grid.spacing_mm),
        "orientation": axis_codes(opened.grid),
        "dtype": opened.file.dtype.name,
        "low": low if np.isfinite(low) else None,
        "high": high if np.isfinite(high) else None,
    }


def _sides(grid: nifti.Grid) -> str:
    return " x ".join(map(str, grid.shape_IJK))
