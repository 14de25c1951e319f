"""Labels as a DICOM segmentation of the series that they were made from.

highdicom, of the extra `dicom`, writes it; everything else here reads without.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet import __version__
from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.grid import grid_of
from dsdenseunet.tasks.colours import class_colours
from dsdenseunet.tasks.task import Task

NAME = "dsdenseunet"
# Those of SNOMED CT that are known by the class's name; any other class is an anatomical structure.
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_MORPHOLOGY = ("49755003", "SCT", "Morphologically Abnormal Structure")
_LESION = ("52988006", "SCT", "Lesion")
_NEOPLASM = ("108369006", "SCT", "Neoplasm")
_CODES = {
    "liver": (_ANATOMY, ("10200004", "SCT", "Liver")),
    "kidney": (_ANATOMY, ("64033007", "SCT", "Kidney")),
    "spleen": (_ANATOMY, ("78961009", "SCT", "Spleen")),
    "pancreas": (_ANATOMY, ("15776009", "SCT", "Pancreas")),
    "lung": (_ANATOMY, ("39607008", "SCT", "Lung")),
    "tumour": (_MORPHOLOGY, _NEOPLASM),
    "tumor": (_MORPHOLOGY, _NEOPLASM),
    "cancer": (_MORPHOLOGY, _NEOPLASM),
    "lesion": (_MORPHOLOGY, _LESION),
}
# Series of results come behind those of a scanner.
_SERIES_NUMBER = 900


def check_installed(where: str) -> None:
    """Refuses to begin without what writes segmentations.

    Raises:
        InputError: highdicom is not installed.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise InputError(
            where,
            found="highdicom is not installed",
            expected="it, as it writes DICOM segmentations",
            fix="pip install --editable '.[dicom]', or write NIfTI (--suffix=.nii.gz)",
        )


def write_segmentation(
    path: str | os.PathLike[str], labels_DHW: np.ndarray, source: str | os.PathLike[str], task: Task
) -> None:
    """Writes labels as a binary segmentation with a segment for each class of the task, absent ones too.

    Segment N is label N, called and coloured as the task has it. There is a frame for each segment and slice,
    empty ones as well: the file then says by itself on which grid it lies. Patient, study and frame of
    reference are the series' own, whose images it refers to. It is whole or absent.

    Args:
        path: ends in .dcm.
        labels_DHW: canonical, uint8.
        source: the series: its folder, or the file with all of its frames.
        task: of the labels.

    Raises:
        InputError: the series cannot be read, or lacks what a segmentation takes from it.
        ValueError: wrong dtype or shape.
    """
    # Loading them takes a second, which those who write NIfTI need not wait for.
    import highdicom
    from pydicom.uid import generate_uid

    from dsdenseunet.data.scans.dicom_series import open_series
    from dsdenseunet.data.scans.dicom_slices import read_dataset

    series = open_series(Path(source))
    grid = grid_of(series)
    if labels_DHW.dtype != np.uint8 or labels_DHW.shape != grid.shape_DHW:
        found = f"{labels_DHW.dtype} {labels_DHW.shape}"
        raise ValueError(f"labels are {found}, the series takes uint8 {grid.shape_DHW}")
    labels_KJI = grid.from_canonical(labels_DHW).transpose(2, 1, 0)
    if series.slices[0].frame is not None:
        # Frames of one file are to come in the file's own order.
        labels_KJI = labels_KJI[np.argsort([one.frame or 0 for one in series.slices])]
    images = [read_dataset(file) for file in dict.fromkeys(one.path for one in series.slices)]
    try:
        with warnings.catch_warnings():
            # highdicom warns of patients' names that it finds odd, and shows them.
            warnings.simplefilter("ignore")
            segmentation = highdicom.seg.Segmentation(
                source_images=images,
                pixel_array=np.ascontiguousarray(labels_KJI),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=_descriptions(task),
                series_instance_uid=generate_uid(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer=NAME,
                manufacturer_model_name=NAME,
                software_versions=__version__,
                device_serial_number="0",
                omit_empty_frames=False,
                content_description=f"{task.name} segmentation"[:64],
                series_description=f"{task.name} segmentation"[:64],
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            source,
            found=f"a series of which no segmentation can be made: {' '.join(str(error).split())}",
            expected="images with the attributes of patient, study and series that DICOM asks for",
            fix="export the series again, or write NIfTI (--suffix=.nii.gz)",
        ) from error
    with files.atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _descriptions(task: Task) -> Sequence[Any]:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=NAME, family=codes.cid7162.ArtificialIntelligence, version=__version__
    )
    described = []
    for label, (name, colour) in enumerate(zip(task.classes[1:], class_colours(task), strict=True), start=1):
        category, kind = _CODES.get(name.lower(), (_ANATOMY, _ANATOMY))
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        described.append(
            highdicom.seg.SegmentDescription(
                segment_number=label,
                segment_label=name,
                segmented_property_category=highdicom.sr.CodedConcept(*category),
                segmented_property_type=highdicom.sr.CodedConcept(*kind),
                algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                display_color=highdicom.color.CIELabColor.from_rgb(red, green, blue),
            )
        )
    return described
