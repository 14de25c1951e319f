"""A NIfTI header turned into a place in space, by the standard's own rules, tolerances included.

Only this module and `header_affines` read a header's orientation, voxel size and units. The rules are those
of the standard (nifti1.h) and, where it leaves a case open, of its reference library (nifti1_io.c) and of
nibabel:

- the sform counts where its code is above 0, then the qform, then the voxel size alone;
- lengths are metres, millimetres or microns, as `xyzt_units` says; without a unit they are millimetres;
- qfac (`pixdim[0]`) is -1 where it is negative and 1 otherwise, also where it is 0 or no number;
- voxel sizes count without their sign, and 0 counts as 1 mm;
- a quaternion that rounding made longer than 1 is shortened to 1.

What had to be assumed, or what other programs read differently, is said in a note; what cannot be read at
all is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import os

import nibabel as nib
import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.header_affines import (
    QFORM,
    SFORM,
    UNITS_MM,
    VOXEL_SIZE,
    Affine,
    candidates,
    fault,
    in_words,
    sides_mm,
    stated_sides_mm,
    stored_quaternion,
    unit_code,
)
from dsdenseunet.data.scans.stored_volume import Header

_UNIT_NAMES = {1: "metres", 3: "microns"}
_KNOWN_CODES = range(6)
_ALIGNED = 2
# Cosine between two axes; scans with a tilted gantry stay below.
_MOST_SHEAR = 0.05
_SAME_SIDE = 0.01
# A quaternion of 32-bit numbers loses up to a thousandth of a radian near half a turn.
_SAME_DIRECTION = 0.01
_SAME_PLACE_VOXELS = 0.5


# Kinds of notes, and whether the grid then rests on something that the header does not say.
KINDS = {
    "no-orientation": True,
    "broken-orientation": True,
    "assumed-size": True,
    "no-geometry": True,  # 1 x 1 x 1 mm and an identity affine
    "sizes-differ": True,  # sform and voxel size, both plausible
    "sheared": True,
    "broken-size": False,  # no voxel size, or a negative one; the sizes are known all the same
    "unused": False,  # sform or qform is broken, the other one is read
    "contradiction": False,  # sform and qform are both sound, and differ
    "unit": False,
    "code": False,
    "qfac": False,
    "quaternion": False,
}


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that a header says badly, and how it was read all the same.

    Attributes:
        kind: a key of `KINDS`.
        text: the same in words.
    """

    kind: str
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Where a header places its voxels.

    Attributes:
        affine: (4, 4), voxel (i, j, k) to mm; float64.
        source: what it was read from: "sform", "qform" or "voxel size".
        unit_mm: millimetres in one of the header's own units of length.
        notes: what was assumed or is contradicted elsewhere in the header; empty for a sound one.
    """

    affine: Affine
    source: str
    unit_mm: float
    notes: tuple[Note, ...]


def place(header: Header, path: str | os.PathLike[str]) -> Placement:
    """Reads where a header places its voxels.

    Args:
        header: as the file has it, not repaired.
        path: of its file, for the error.

    Raises:
        InputError: neither sform nor qform nor voxel size can be read.
    """
    unit_mm, affines = candidates(header)
    faults = {name: fault(affine) for name, affine in affines.items()}
    source = next((name for name in faults if not faults[name]), None)
    if source is None:
        raise InputError(
            path,
            found="; ".join(f"the {name} {faults[name]}" for name in faults),
            expected="a header that says how large the voxels are",
            fix="convert the scan from its DICOM files again; labels take the header of their image",
        )
    affine = affines[source]
    notes = [
        *_code_notes(header),
        *_unit_notes(header, unit_mm),
        *_source_notes(source, faults),
        *_size_notes(header, affine, source, unit_mm),
        *_shape_notes(affine, source),
    ]
    if faults.get(QFORM) == "":
        notes += _qform_notes(header)
        notes += _contradiction(affine, affines[QFORM])
    return Placement(affine, source, unit_mm, tuple(notes))


def zooms_mm_as_nibabel_loads(header: Header) -> tuple[float, float, float]:
    """The voxel size that `nibabel.load(path).header.get_zooms()` gives, in mm, in the file's axis order.

    The challenge's scorer takes its spacing from there, and not from the affine. Loading makes sizes
    positive and turns 0 into 1; what is NaN stays NaN. The scorer takes nibabel's numbers for millimetres
    whatever the header's unit; here metres and microns are converted, as no file of the challenge states
    them and distances in metres would only be wrong.
    """
    unit_mm, _ = candidates(header)
    first, second, third = (float(side) for side in sides_mm(header, unit_mm))
    return first, second, third


def sound_header(header: Header, path: str | os.PathLike[str]) -> Header:
    """A copy of a header that every program reads as `place` does, in the header's own unit of length.

    A header that nibabel reads so already stays as it is, also where its sform and qform contradict each
    other. Otherwise qfac, voxel size, codes, sform and qform are written anew, and the code of what could
    not be read is set to 0, so that nothing is stated that had to be assumed.

    Raises:
        InputError: as `place`.
    """
    placement = place(header, path)
    header = header.copy()
    if _reads_as(header, placement):
        return header
    _, affines = candidates(header)
    stated = stated_sides_mm(header, 1.0)
    to_native = np.diag((*(1 / placement.unit_mm,) * 3, 1.0))
    for name, write in ((SFORM, header.set_sform), (QFORM, functools.partial(set_qform, header))):
        sound = name in affines and not fault(affines[name])
        code = int(header[f"{name}_code"])
        known = code if code in _KNOWN_CODES else _ALIGNED
        write(to_native @ (affines[name] if sound else placement.affine), known if sound else 0)
    if not _are_sizes(stated):
        header["pixdim"][1:4] = np.linalg.norm(placement.affine[:3, :3], axis=0) / placement.unit_mm
    return header


def set_qform(header: Header, affine: Affine, code: int) -> None:
    """Writes a qform whose quaternion rounding has not made longer than 1, as nibabel's own may be."""
    header.set_qform(affine, code)
    bcd = stored_quaternion(header)
    rounding = 2 * np.finfo(header["quatern_b"].dtype).eps
    if (square := float(bcd @ bcd)) > 1 + rounding:
        bcd *= (1 - rounding) / np.sqrt(square)
        for letter, value in zip("bcd", bcd, strict=True):
            header[f"quatern_{letter}"] = value


def _code_notes(header: Header) -> list[Note]:
    notes = []
    for name in (SFORM, QFORM):
        code = int(header[f"{name}_code"])
        if code not in _KNOWN_CODES:
            meaning = "set, though some programs take it for unset" if code > 0 else "unset"
            notes.append(
                Note("code", f"{name}_code is {code}, unknown to the standard: it counts as {meaning}")
            )
    return notes


def _unit_notes(header: Header, unit_mm: float) -> list[Note]:
    code = unit_code(header)
    if code not in UNITS_MM:
        return [Note("unit", f"the unit of length has code {code}, unknown to the standard: read as mm")]
    if UNITS_MM[code] != unit_mm:
        return [
            Note("unit", f"the header says {_UNIT_NAMES[code]}, which would fit no scan's voxels: read as mm")
        ]
    return []


def _source_notes(source: str, faults: dict[str, str]) -> list[Note]:
    broken = [f"the {name} {text}" for name, text in faults.items() if text and name != VOXEL_SIZE]
    assumed = "the file's axes are assumed to run to the left, the front and the head"
    if source != VOXEL_SIZE:
        return [Note("unused", f"{text}: the {source} is read instead") for text in broken]
    if broken:
        return [Note("broken-orientation", f"{' and '.join(broken)}: {assumed}")]
    return [Note("no-orientation", f"no orientation, as neither sform nor qform is set: {assumed}")]


def _size_notes(header: Header, affine: Affine, source: str, unit_mm: float) -> list[Note]:
    stated = stated_sides_mm(header, unit_mm)
    said = f"the voxel size says {in_words(stated)}"
    if source == SFORM:
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        if np.allclose(sides, stated, rtol=_SAME_SIDE, atol=0):
            return []
        kind = "sizes-differ" if _are_sizes(stated) else "broken-size"
        return [Note(kind, f"{said}, the sform gives voxels of {in_words(sides)}: the sform is read")]
    if (stated == 0).any():
        return [Note("assumed-size", f"{said}: 0 counts as 1 mm")]
    return [Note("broken-size", f"{said}: read without its sign")] if (stated < 0).any() else []


def _shape_notes(affine: Affine, source: str) -> list[Note]:
    axes = affine[:3, :3]
    notes = []
    at_origin = source == VOXEL_SIZE or not affine[:3, 3].any()
    if at_origin and np.allclose(np.abs(axes), np.eye(3), atol=1e-4):
        notes.append(
            Note(
                "no-geometry", "1 x 1 x 1 mm with an identity affine, as files have that lost their geometry"
            )
        )
    directions = _directions(affine)
    if np.abs(directions.T @ directions)[np.triu_indices(3, 1)].max() > _MOST_SHEAR:
        notes.append(Note("sheared", f"the {source}'s axes are not at right angles"))
    return notes


def _qform_notes(header: Header) -> list[Note]:
    """What was put right in a qform that could be read."""
    notes = []
    qfac = float(header["pixdim"][0])
    if qfac not in (-1, 0, 1):
        counts = -1 if qfac < 0 else 1
        notes.append(Note("qfac", f"pixdim[0] is {qfac:g}, neither 1 nor -1: it counts as {counts}"))
    bcd = stored_quaternion(header)
    square = float(bcd @ bcd)
    # From here on nibabel refuses the whole file.
    if square >= 1 + abs(float(header.quaternion_threshold)):
        notes.append(
            Note(
                "quaternion",
                f"the qform's quaternion has length {square**0.5:.9g}, where 1 is the most: shortened to 1, "
                "while programs that read with nibabel refuse the file",
            )
        )
    return notes


def _contradiction(affine: Affine, qform: Affine) -> list[Note]:
    """Whether the affine that is read and the qform place voxels differently; sizes aside."""
    codes = ["".join(aff2axcodes(one)) for one in (affine, qform)]
    cosines = np.sum(_directions(affine) * _directions(qform), axis=0)
    angle = float(np.arccos(np.clip(cosines, -1, 1)).max())
    apart = float(np.linalg.norm(affine[:3, 3] - qform[:3, 3]))
    if codes[0] != codes[1]:
        mirrored = np.linalg.det(affine[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
        kind = "mirrored" if mirrored else "turned"
        found = f"the sform says axes along {codes[0]}, the qform along {codes[1]} ({kind})"
    elif angle > _SAME_DIRECTION:
        found = f"the axes of sform and qform are {np.degrees(angle):.1f} degrees apart"
    elif apart > _SAME_PLACE_VOXELS * np.linalg.norm(affine[:3, :3], axis=0).min():
        found = f"sform and qform place the first voxel {apart:.4g} mm apart"
    else:
        return []
    return [Note("contradiction", f"{found}: the sform is read, other programs may read the qform")]


def _reads_as(header: Header, placement: Placement) -> bool:
    """Whether nibabel, without any repair of its own, reads a header as a placement."""
    pixdim = np.asarray(header["pixdim"][:4], np.float64)
    if pixdim[0] not in (-1, 1) or not _are_sizes(pixdim[1:]):
        return False
    if any(int(header[f"{name}_code"]) not in _KNOWN_CODES for name in (SFORM, QFORM)):
        return False
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
        if header["qform_code"] > 0 and not np.isfinite(header.get_qform()).all():
            return False
    except (ValueError, nib.spatialimages.HeaderDataError):
        return False
    affine[:3] *= placement.unit_mm
    close = 1e-3 * np.linalg.norm(placement.affine[:3, :3], axis=0).min()
    return bool(np.allclose(affine, placement.affine, rtol=1e-5, atol=close))


def _are_sizes(sides: NDArray[np.float64]) -> bool:
    return bool((np.isfinite(sides) & (sides > 0)).all())


def _directions(affine: Affine) -> Affine:
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
