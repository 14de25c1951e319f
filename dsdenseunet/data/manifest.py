"""The cache's manifest: its task, its cases, what they were made from, and whether that has changed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.layouts import natural_key
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.task import Task

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ARRAYS = ("image", "labels", "counts")
REPAIR = "run `python -m experiments.prepare` again, with --verify: it rewrites what is damaged"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file or a folder of DICOM that a case was made from, as it was at that time."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Record:
    """What the manifest holds of a case.

    Attributes:
        name: case name; also the name of its folder.
        images, labels: the files it was made from; of the image, one, or one for each channel.
        shape: (D, H, W).
        spacing_mm: (D, H, W).
        label_counts: voxels of each class.
        sha256: of the cache's own files, by array name.
        axes: how the image's axes were read, e.g. "LPS"; empty in manifests of older versions.
        marks: what was assumed of the image's header, as `nifti.Grid` says.
        outdated: why the arrays are not what the files hold now; empty where they are.
        statistics: of each channel's values, see `tasks.channel`; as many as there are channels.
        dtype: of the image, int16 or float32.
        patient: the PatientID of DICOM files; empty where none is known.
    """

    name: str
    images: tuple[Source, ...]
    labels: Source
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    label_counts: tuple[int, ...]
    sha256: Mapping[str, str]
    axes: str = ""
    marks: tuple[str, ...] = ()
    outdated: str = ""
    statistics: tuple[tuple[float, ...], ...] = ((),)
    dtype: str = "int16"
    patient: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that it was made from."""
        return *self.images, self.labels

    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each of the case's arrays."""
        counts = (self.shape[0], len(self.label_counts))
        channels = (len(self.statistics),) if len(self.statistics) > 1 else ()
        return {"image": (*self.shape, *channels), "labels": self.shape, "counts": counts}


def array_path(root: str | os.PathLike[str], name: str, array: str) -> Path:
    """Where an array of a case lies: `array` is image, labels or counts."""
    return Path(root) / name / f"{array}.npy"


def is_folder_name(name: str) -> bool:
    """Whether a case's name can be that of its folder: it becomes a path, which must not lead elsewhere."""
    controls = any(unicodedata.category(character) == "Cc" for character in name)
    return bool(name) and not controls and "/" not in name and name[0] != "." and name != MANIFEST


def untouched(source: Source) -> bool:
    """Whether a source file has the size and time that it had when it was prepared."""
    try:
        return files.size_and_time(source.path) == (source.size, source.mtime_ns)
    except OSError:
        return False


def read_manifest(root: str | os.PathLike[str]) -> dict[str, Record]:
    """Reads the manifest; empty where there is none.

    Raises:
        InputError: a manifest of another format version, or a file that is not a manifest.
    """
    records, damaged = read_entries(root)
    for name, fault in damaged:
        raise InputError(
            Path(root) / MANIFEST,
            found=f"a damaged manifest: the entry of case {name!r}, {fault}",
            expected="the manifest as prepare wrote it",
            fix=REPAIR,
        )
    return records


def read_entries(root: str | os.PathLike[str]) -> tuple[dict[str, Record], list[tuple[str, str]]]:
    """The manifest's readable entries, and (case name, fault) of the others; nothing where there is none.

    Raises:
        InputError: as `read_manifest`, but for single entries.
    """
    manifest, path = _read(root), Path(root) / MANIFEST
    if manifest is None:
        return {}, []
    entries = manifest.get("cases")
    if not isinstance(entries, list):
        raise InputError(
            path,
            found=f"a damaged manifest: its cases are {type(entries).__name__}",
            expected="the manifest as prepare wrote it",
            fix="remove this file and run `python -m experiments.prepare` again",
        )
    records, damaged = {}, []
    for entry in entries:
        try:
            record = _record(entry)
            records[record.name] = record
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            name = entry.get("name") if isinstance(entry, dict) else None
            damaged.append((str(name), repr(error)))
    return records, damaged


def read_task(root: str | os.PathLike[str]) -> Task | None:
    """The task that the cache is for; None where there is no manifest.

    Raises:
        InputError: as `read_entries`, or a task that is none.
    """
    manifest, path = _read(root), Path(root) / MANIFEST
    if manifest is None:
        return None
    # Versions without tasks knew only LiTS.
    values = manifest.get("task", lits.TASK.to_config())
    try:
        return Task.of(values, str(path))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            path, found=f"a task {values!r}", expected="the fields of a task", fix=REPAIR
        ) from error


def _read(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    path = Path(root) / MANIFEST
    if not path.exists():
        return None
    manifest = files.read_json(path)
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            path,
            found=f"cache format {version!r}",
            expected=f"{FORMAT_VERSION}",
            fix="prepare into a new folder; this one was written by another version",
        )
    assert isinstance(manifest, dict)
    return manifest


def write_manifest(root: str | os.PathLike[str], records: Mapping[str, Record], task: Task) -> None:
    """Writes the manifest, whole or not at all."""
    cases = [dataclasses.asdict(records[name]) for name in sorted(records, key=natural_key)]
    manifest = {"format_version": FORMAT_VERSION, "task": task.to_config(), "cases": cases}
    files.write_json(Path(root) / MANIFEST, manifest)


def remove(
    root: str | os.PathLike[str], records: dict[str, Record], task: Task, names: Sequence[str]
) -> None:
    """Removes cases from the manifest, then their arrays; other files stay."""
    for name in names:
        del records[name]
    write_manifest(root, records, task)
    for name in names:
        for array in ARRAYS:
            array_path(root, name, array).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # Not empty: it holds other files too.
            (Path(root) / name).rmdir()


def _record(entry: Mapping[str, Any]) -> Record:
    name = entry["name"]
    if not is_folder_name(name):
        raise ValueError(f"case name {name!r}")
    depth, height, width = (int(side) for side in entry["shape"])
    d_mm, h_mm, w_mm = (float(side) for side in entry["spacing_mm"])
    return Record(
        name,
        # Older versions have one image file per case.
        tuple(Source(**image) for image in entry.get("images") or [entry["image"]]),
        Source(**entry["labels"]),
        (depth, height, width),
        (d_mm, h_mm, w_mm),
        tuple(int(count) for count in entry["label_counts"]),
        {array: str(entry["sha256"][array]) for array in ARRAYS},
        str(entry.get("axes", "")),
        tuple(str(mark) for mark in entry.get("marks", ())),
        str(entry.get("outdated", "")),
        tuple(tuple(map(float, numbers)) for numbers in entry.get("statistics", [[]])),
        {"int16": "int16", "float32": "float32"}[entry.get("dtype", "int16")],
        str(entry.get("patient", "")),
    )
