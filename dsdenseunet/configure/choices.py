"""What the data alone decide: each function returns a choice, with the sentences that say why."""

from __future__ import annotations

import math
import re
import statistics

import numpy as np

from dsdenseunet.configure.choice import Choice, Patch
from dsdenseunet.core.words import by, counted, some
from dsdenseunet.data import patients
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint
from dsdenseunet.tasks.channel import Channel

# From this share of voxels that are exactly 0 on, an image is taken to be cut out of its background.
_CUT_OUT = 0.25
# A region whose largest piece has this share of it in every case is one piece; of fewer cases none is told.
_ONE_PIECE, _CASES_THAT_TELL = 0.99, 5
# A patch that holds this share of the median image along every axis holds nearly all of it.
NEARLY_ALL = 0.85
_FOLDS = 5
# Spacings that differ by less are alike.
_ALIKE = 1.05
# From this ratio of slice distance to pixel on, as in nnU-Net, slices are thick; they are resampled to what
# this share of the cases is thinner than.
THICK, _THIN_PERCENTILE = 3.0, 10
_SIDED = re.compile(r"(^|[_-])(left|right|l|r)([_-]|$)")


def normalisation(fingerprint: Fingerprint) -> Choice:
    """How each channel's values reach the network."""
    channels, reasons = [], []
    for index, channel in enumerate(fingerprint.task.channels):
        chosen, why = _channel(fingerprint, index, channel)
        channels.append((chosen.name, chosen.normalisation, *chosen.numbers))
        reasons.append(why)
    return Choice("normalisation", {"task.channels": tuple(channels)}, " ".join(dict.fromkeys(reasons)))


def _channel(fingerprint: Fingerprint, index: int, channel: Channel) -> tuple[Channel, str]:
    inside = fingerprint.foreground[index]
    if channel.normalisation == "window":
        if inside is None or round(inside.low) == round(inside.high):
            return channel, f"{channel.name}: the usual window, as the labels show no values."
        low, high = round(inside.low), round(inside.high)
        return Channel(channel.name, "window", (float(low), float(high))), (
            f"{channel.name} is in Hounsfield units, the same in all scans: 99 % of the labelled voxels lie "
            f"from {low} to {high} (each case weighs alike), and what lies beyond is clipped."
        )
    if channel.normalisation != "zscore":
        return channel, f"{channel.name}: as its dataset.json asks."
    zeros = statistics.median(case.zero_share[index] for case in fingerprint.cases)
    if zeros >= _CUT_OUT:
        return Channel(channel.name, "zscore_foreground"), (
            f"{channel.name} has no fixed scale, and {100 * zeros:.0f} % of the voxels of a median case are "
            "exactly 0, as where the background was cut off: mean and deviation are each case's, of its "
            "other voxels."
        )
    return channel, (
        f"{channel.name} has no scale that scans share: each case is brought to mean 0 and deviation 1."
    )


def spacing(fingerprint: Fingerprint) -> Choice:
    """The spacing that all scans are resampled to."""
    spacings = np.array([case.spacing_mm for case in fingerprint.cases])
    least, largest = spacings.min(axis=0), spacings.max(axis=0)
    if np.all(largest <= _ALIKE * least):
        why = "Scans have the same spacing, to a few percent: none is resampled."
        return Choice("spacing", {"task.spacing_mm": ()}, why)
    median = np.median(spacings, axis=0)
    target = median.copy()
    why = (
        f"Scans have spacings from {by(_digits(least))} to {by(_digits(largest))} mm "
        "along D, H, W: all are resampled to the median of each axis, so that a voxel means the same in all, "
        "as nnU-Net does. What it does to these data's scores is not known: () keeps "
        "each scan's own."
    )
    thick = int(np.argmax(median))
    others = float(np.delete(median, thick).max())
    if median[thick] >= THICK * others:
        target[thick] = max(others, float(np.percentile(spacings[:, thick], _THIN_PERCENTILE)))
        axis = "DHW"[thick]
        why += (
            f" Along {axis}, where slices are thick, it is that of the thinnest tenth, lest detail be lost."
        )
    return Choice("spacing", {"task.spacing_mm": _digits(target)}, why)


def _digits(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.3g}") for value in values)


def strata(fingerprint: Fingerprint) -> Choice:
    """The region that is spread evenly over folds."""
    count = len(fingerprint.cases)
    present = {region.name: len(fingerprint.having(region.name)) for region in fingerprint.task.regions}
    partly = {name: number for name, number in present.items() if 0 < number < count}
    if not partly:
        own = fingerprint.task.stratify_by
        return Choice(
            "strata", {"task.stratify_by": own}, "Every region is in all cases or in none: any deal is even."
        )
    name = min(partly, key=lambda region: abs(partly[region] - count / 2))
    return Choice(
        "strata",
        {"task.stratify_by": name},
        f"{partly[name]} of {count} cases have {name}: every fold gets its share of them.",
    )


def lesions(fingerprint: Fingerprint) -> Choice:
    """The regions that are also scored piece by piece."""
    task = fingerprint.task
    pieces = {
        region.name: statistics.median(case.regions[region.name].pieces for case in having)
        for region in task.regions
        if (having := fingerprint.having(region.name))
    }
    many = [name for name, number in pieces.items() if number >= 2 or name in task.detect]
    shown = ", ".join(f"{name} {number:g}" for name, number in pieces.items())
    why = f"Pieces in a median case that has the region: {shown}."
    if many:
        why += f" What comes in several pieces is found or missed one by one: {', '.join(many)}."
    return Choice("detection", {"task.detect": tuple(many)}, why)


def clean_up(fingerprint: Fingerprint, several: tuple[str, ...]) -> Choice:
    """The rules for predictions.

    Args:
        fingerprint: of the data.
        several: regions that come in several pieces.
    """
    count = len(fingerprint.cases)
    least = {
        region.name: min(case.regions[region.name].largest_share for case in having)
        for region in fingerprint.task.regions
        if region.name not in several
        and len(having := fingerprint.having(region.name)) >= max(_CASES_THAT_TELL, count // 2)
    }
    one = [name for name, share in least.items() if share >= _ONE_PIECE]
    rules = tuple(("largest", name) for name in one)
    if not rules:
        return Choice("clean-up", {"task.clean_up": ()}, "No region is one piece in all cases: all is kept.")
    parts = ", ".join(f"{100 * least[name]:.4g} % of {name}" for name in one)
    why = (
        f"The largest connected piece holds at least {parts} in every labelled case: of a prediction the "
        "other pieces are dropped."
    )
    return Choice("clean-up", {"task.clean_up": rules}, why)


def folds(fingerprint: Fingerprint, fold_file: str) -> tuple[Choice, dict[str, str]]:
    """How cases are dealt for cross-validation, and the patient of each where DICOM or names tell.

    Args:
        fingerprint: of the data.
        fold_file: where folds by patient are written to.
    """
    names = [case.name for case in fingerprint.cases]
    ids = patients.identified({case.name: case.patient for case in fingerprint.cases})
    by_name = patients.patients_of([name for name in names if name not in ids])
    of_patients = {**patients.by_groups(names, (), ids), **by_name}
    scans = patients.sizes(of_patients)
    several = [patient for patient, number in scans.items() if number > 1]
    if several:
        told_by = ["the PatientID of their DICOM files"] * bool(ids) + ["their names"] * bool(by_name)
        number = min(_FOLDS, len(scans))
        why = (
            f"By {' and '.join(told_by)} the {len(names)} cases are of {len(scans)} patients "
            f"({some(several)} with several scans): a patient is either trained on or validated "
            "on, never both."
        )
        if by_name:
            why += ' If the names mean something else, set config.data.fold_file = "".'
        return Choice("folds", {"data.folds": number, "data.fold_file": fold_file}, why), of_patients
    number = min(_FOLDS, len(names))
    patient = (
        "By its PatientID each is of another patient."
        if len(ids) == len(names)
        else "Neither DICOM nor their names say that any two are of one patient; if some are, name them in "
        "config.data.same_patient."
    )
    why = f"{counted(len(names), 'case')} in {number} parts, of which one validates. {patient}"
    return Choice("folds", {"data.folds": number}, why), {}


def sampling(fingerprint: Fingerprint, patch: Patch) -> Choice:
    """Where patches are centred.

    Args:
        fingerprint: of the data.
        patch: the patch that was chosen.
    """
    classes = len(fingerprint.task.classes)
    shares = ", ".join(
        f"{name} {100 * share:.2f} %"
        for name, share in zip(fingerprint.task.classes, fingerprint.class_shares)
    )
    if holds_nearly_all(fingerprint, patch):
        centres: tuple[float, ...] = (1.0, *(0.0,) * (classes - 1))
        why = "A patch holds nearly all of an image wherever it lies, so none is drawn towards a class."
    else:
        each = math.floor(5000 / (classes - 1)) / 1e4
        centres = (round(1 - each * (classes - 1), 4), *(each,) * (classes - 1))
        why = (
            "A patch holds only part of an image: half of them are centred on a labelled voxel, each class "
            "as often as the others, or rare ones would hardly be seen."
        )
    return Choice("oversampling", {"data.centre_share": centres}, f"{why} Of all voxels: {shares}.")


def holds_nearly_all(fingerprint: Fingerprint, patch: Patch) -> bool:
    """Whether a patch holds nearly all of the median image."""
    return all(side >= NEARLY_ALL * whole for side, whole in zip(patch, fingerprint.median_shape))


def mirrored_axes(fingerprint: Fingerprint) -> tuple[tuple[float, float, float], str]:
    """Probability of mirroring along (D, H, W), and why."""
    sided = [name for name in fingerprint.task.classes if _SIDED.search(name)]
    if sided:
        return (0.5, 0.5, 0.0), f"No mirror image from left to right, as classes have sides: {some(sided)}."
    return (0.5, 0.5, 0.5), "No class says left or right: patches are mirrored along every axis."


def field_of_view(fingerprint: Fingerprint, patch: Patch) -> str:
    """What a patch shows, in a sentence."""
    spacing_mm = fingerprint.median_spacing_mm
    shown = by(tuple(round(side * step) for side, step in zip(patch, spacing_mm)))
    share = math.prod(min(1, side / whole) for side, whole in zip(patch, fingerprint.median_shape))
    return (
        f"{by(patch)} voxels are {shown} mm at the median spacing, {100 * share:.0f} % of the "
        f"median image ({by(fingerprint.median_shape)})."
    )
