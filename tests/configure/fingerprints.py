"""Fingerprints of data sets that need not be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dsdenseunet.data.fingerprint.case_fingerprint import CaseFingerprint, RegionShape
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint
from dsdenseunet.data.fingerprint.intensities import Intensities
from dsdenseunet.tasks.task import Task

MR = ("MRI", "zscore")
CT = ("CT", "window", -200.0, 250.0)


def a_task(
    classes: Sequence[str] = ("background", "anterior", "posterior"), channels: Sequence = (MR,)
) -> Task:
    regions = tuple((name, (label,)) for label, name in enumerate(classes) if label)
    return Task.of(
        {
            "name": "Toy",
            "classes": tuple(classes),
            "regions": regions,
            "channels": tuple(channels),
            "ignore_label": -1,
            "stratify_by": "",
            "select_by": tuple(name for name, _ in regions),
            "detect": (),
            "clean_up": (),
        }
    )


def a_region(pieces: int = 1, largest_share: float = 1.0) -> RegionShape:
    return RegionShape(100, ((0, 5), (0, 5), (0, 5)), pieces, largest_share)


def a_fingerprint(
    shape: Sequence[int] = (36, 50, 35),
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    task: Task | None = None,
    names: Sequence[str] = tuple(f"toy_{n}" for n in range(6)),
    regions: Mapping[str, Sequence[RegionShape | None]] | None = None,
    zero_share: float = 0.0,
    foreground: tuple[float, float] = (-9.4, 148.2),
    ids: Mapping[str, str] = MappingProxyType({}),
) -> Fingerprint:
    """Cases that are alike; `regions` gives the shape of each region in each case, one piece by default."""
    task = task or a_task()
    low, high = foreground
    values = Intensities(300, (low + high) / 2, 1.0, low, low, (low + high) / 2, high, high)
    shapes = {region.name: [a_region()] * len(names) for region in task.regions} | dict(regions or {})
    voxels = shape[0] * shape[1] * shape[2]
    others = len(task.classes) - 1
    cases = tuple(
        CaseFingerprint(
            name=name,
            shape=tuple(shape),
            spacing_mm=tuple(spacing_mm),
            axes="RAS",
            dtype="int16",
            class_voxels=(voxels - 3 * voxels // 100 * others, *(3 * voxels // 100,) * others),
            ignored_voxels=0,
            zero_share=(zero_share,) * len(task.channels),
            regions={key: of_case[n] for key, of_case in shapes.items() if of_case[n]},
            foreground=(values,) * len(task.channels),
            everything=(values,) * len(task.channels),
            marks=(),
            patient=ids.get(name, ""),
        )
        for n, name in enumerate(names)
    )
    return Fingerprint("data", task, cases, (values,) * len(task.channels), (), (), ())
