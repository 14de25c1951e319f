"""Which files are DICOM, and what they hold, by their first kilobyte.

A file is DICOM by its content, as many have names that say nothing (`IM0001`, `1.3.12.2.1107...`). Of each no
more is read than a walk over many files can afford; `dicom_series` and `dicom_seg` open them.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

# What a DICOM file can be part of.
SLICE = "slice"  # One image of a series, of which a folder holds one file each.
MULTI_FRAME = "multi-frame"  # A volume in one file.
SEGMENTATION = "segmentation"
OTHER = "other"  # Reports, screenshots, contours, projections.

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Storage classes of volumes: CT, MR and PET; then the same with all images in one file, and those that were
# converted to that form; then segmentations, as a bit for each segment or as label maps.
_KINDS = {f"{_STORAGE}{number}": SLICE for number in ("2", "4", "128")}
_KINDS |= {f"{_STORAGE}{number}": MULTI_FRAME for number in ("2.1", "2.2", "4.1", "4.4", "130", "128.1")}
_KINDS |= {f"{_STORAGE}{number}": SEGMENTATION for number in ("66.4", "66.7")}
# An index of the files beside it; it belongs to no series.
_DIRECTORY = "1.2.840.10008.1.3.10"

_HEAD_BYTES = 1024
_PREAMBLE, _PREFIX = 128, b"DICM"
_SOP_CLASS = (0x0002, 0x0002)
# Value representations whose length takes four bytes, after two that are not used.
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT")
_ENDING = re.compile(r"(.+)\.(dcm|dicom|ima)", re.IGNORECASE | re.DOTALL)
# With fewer, a series is a localiser and no volume.
LEAST_SLICES = 3


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """What a DICOM file is: `SLICE`, `MULTI_FRAME`, `SEGMENTATION` or `OTHER`; empty for any other file."""
    uid = storage_class(path)
    return "" if uid in ("", _DIRECTORY) else _KINDS.get(uid, OTHER)


def storage_class(path: str | os.PathLike[str]) -> str:
    """UID of the storage class of a DICOM file; empty if it is none, or cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return ""
    place = _PREAMBLE + len(_PREFIX)
    if head[_PREAMBLE:place] != _PREFIX:
        return ""
    # The file's own elements always have this form, whatever that of the image's.
    while place + 8 <= len(head):
        group, element, kind, length = struct.unpack_from("<HH2sH", head, place)
        place += 8
        if kind in _LONG:
            if place + 4 > len(head):
                return ""
            (length,) = struct.unpack_from("<I", head, place)
            place += 4
        if (group, element) == _SOP_CLASS:
            return head[place : place + length].rstrip(b"\0 ").decode("ascii", "replace")
        place += length
    return ""


def stem_of_file(name: str) -> str:
    """The name of a DICOM file without the ending that it may have."""
    match = _ENDING.fullmatch(name)
    return match[1] if match else name


def slices_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The files in a folder that are each one image of a series, in the order of their names; no hidden ones.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as listing:
        names = sorted(entry.name for entry in listing if entry.is_file() and entry.name[0] != ".")
    paths = [Path(folder) / name for name in names]
    return [path for path in paths if kind_of_file(path) == SLICE]
