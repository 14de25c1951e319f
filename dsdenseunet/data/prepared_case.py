"""One case of the cache: its scan read, resampled and stored, or found to be there already."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data import cache, manifest, resampling
from dsdenseunet.data.memory import check_room
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.grid import Grid, Spacing, axis_codes
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.data.scans.opening import patient_of
from dsdenseunet.tasks.channel import are_hounsfield, statistics_of
from dsdenseunet.tasks.task import Task


def still_current(
    case: Case, root: Path, known: manifest.Record, task: Task, verify: bool
) -> manifest.Record | None:
    """The record, its sources' times renewed, if the arrays are there and come from these very sources."""
    alike = len(known.label_counts), len(known.statistics)
    if case.labels is None or alike != (len(task.classes), len(task.channels)):
        return None
    try:
        here = cache.Cache(root, {case.name: known}, task)
        here.case(case.name)
        if verify:
            here.verify(case.name)
    except InputError:
        return None
    if len(known.images) != len(case.images):
        return None
    images = [_renewed(*files) for files in zip(known.images, case.images, strict=True)]
    labels = _renewed(known.labels, case.labels)
    grid = nifti.read_grid(case.image)
    as_read = (*_in_cache(grid, task), axis_codes(grid))
    # The same bytes can be read otherwise by another version of this program.
    if None in images or labels is None or as_read != (known.shape, known.spacing_mm, known.axes):
        return None
    # Marks about the values are kept, as the values are not read again.
    marks = tuple(dict.fromkeys((*grid.marks, *known.marks)))
    return dataclasses.replace(
        known,
        images=tuple(filter(None, images)),
        labels=labels,
        marks=marks,
        outdated="",
        # Caches of before this was read get it, too.
        patient=patient_of(case.image),
    )


def _renewed(source: manifest.Source, path: Path) -> manifest.Source | None:
    here = dataclasses.replace(source, path=str(path.absolute()))
    if manifest.untouched(here):
        return here
    if not path.exists():
        return None
    size, mtime_ns = files.size_and_time(path)
    if size != source.size or files.sha256(path) != source.sha256:
        return None
    return dataclasses.replace(here, mtime_ns=mtime_ns)


def write(case: Case, root: Path, task: Task) -> manifest.Record:
    """Reads a case, resamples it as the task says, stores it, and returns what the manifest is to say of it.

    Statistics are those of the scan itself.

    Raises:
        InputError: a case without labels, whose name no folder can have, whose files cannot be read or change
            meanwhile, or for which the machine's memory is too small.
    """
    labels_path = case.require_labels()
    if not manifest.is_folder_name(case.name):
        raise InputError(
            case.image,
            found=f"a scan named {case.name!r}",
            expected="a name that a folder of the cache can have",
            fix="rename the scan and its labels",
        )
    image_sources, labels_source = tuple(map(_source, case.images)), _source(labels_path)
    is_ct = are_hounsfield(task.channels)
    if task.spacing_mm:
        shape, _ = _in_cache(nifti.read_grid(case.image), task)
        held = len(task.channels) * (2 if is_ct else 4) + 1
        check_room(case.image, shape, held, resampled_mm=task.spacing_mm)
    scan = nifti.read_image(case.images, channels=task.channels)
    statistics = statistics_of(task.channels, scan.array_DHW)
    shape, spacing_mm = _in_cache(scan.grid, task)
    labels = nifti.read_labels(labels_path, task, like=scan.grid, with_ignored=True).array_DHW
    labels = resampling.resample_labels(labels, shape)
    image = resampling.resample_image(scan.array_DHW, shape, whole=is_ct)
    classes = len(task.classes)
    counts_DC = np.stack([np.bincount(plane.ravel(), minlength=classes)[:classes] for plane in labels])
    for source in (*image_sources, labels_source):
        if not manifest.untouched(source):
            raise InputError(
                source.path,
                found="changed while it was read",
                expected="a file that does not change",
                fix="run again",
            )
    arrays = {"image": image, "labels": labels, "counts": counts_DC.astype(np.int64)}
    hashes = {}
    for name, array in arrays.items():
        path = manifest.array_path(root, case.name, name)
        with files.atomic_path(path) as temporary:
            with temporary.open("wb") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
            hashes[name] = files.sha256(temporary)
    return manifest.Record(
        case.name,
        image_sources,
        labels_source,
        shape,
        spacing_mm,
        tuple(int(count) for count in counts_DC.sum(axis=0)),
        hashes,
        axis_codes(scan.grid),
        scan.grid.marks,
        statistics=statistics,
        dtype=image.dtype.name,
        patient=patient_of(case.image),
    )


def _in_cache(grid: Grid, task: Task) -> tuple[tuple[int, int, int], Spacing]:
    """Shape and spacing that a scan has in the cache."""
    shape = resampling.shape_at(grid.shape_DHW, grid.spacing_mm, task.spacing_mm)
    return shape, resampling.spacing_at(grid.shape_DHW, grid.spacing_mm, shape)


def _source(path: Path) -> manifest.Source:
    if not path.exists():
        found = "a link that leads nowhere" if path.is_symlink() else "no such file"
        raise InputError(path, found=found, expected="a NIfTI file", fix="check the path")
    return manifest.Source(str(path.absolute()), *files.size_and_time(path), files.sha256(path))
