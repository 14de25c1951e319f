"""Whether probabilities mean what they say, and the temperature at which they do.

Where a network is 90 % sure it should be right in 90 of 100 voxels. The expected calibration error (ECE) says
how far confidence and accuracy lie apart, the negative log likelihood (NLL) what is lost by it. One number,
the temperature T, repairs most of it (Guo et al. 2017, "On calibration of modern neural networks"):
probabilities become p ** (1 / T), made to sum to one again, which changes no arg max.

Both are taken within the box that holds what prediction and reference label: beyond, everything is background
to anybody, and would hide the rest. Voxels with the ignored label do not count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsdenseunet.data.boxes import bounding_box
from dsdenseunet.data.scans.probabilities import ONE
from dsdenseunet.tasks.task import Task

BINS = 15
# In steps of 4 %: NLL is flat at its lowest point, and differs by less than a thousandth between neighbours.
TEMPERATURES = tuple(2.0 ** (step / 16) for step in range(-16, 33))
AS_SAVED = TEMPERATURES.index(1.0)
# Voxels that are looked at together.
_CHUNK = 2**18


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Sums over the voxels of a case, or of several, from which all else follows.

    Attributes:
        nll: at each of `TEMPERATURES`, the sum of -log(probability of the true class).
        voxels: (temperatures, `BINS`) how many have their largest probability in each bin from 0 to 1.
        confidence: the sums of those probabilities.
        correct: how many have the label with the largest probability.
    """

    nll: NDArray[np.float64]
    voxels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.int64]

    @classmethod
    def none(cls) -> Calibration:
        """Of no voxel."""
        shape = (len(TEMPERATURES), BINS)
        return cls(np.zeros(shape[0]), np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64))

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            self.nll + other.nll,
            self.voxels + other.voxels,
            self.confidence + other.confidence,
            self.correct + other.correct,
        )

    def ece(self, at: int = AS_SAVED) -> float | None:
        """Mean distance of confidence and accuracy over the bins, by their voxels; None without any."""
        total = int(self.voxels[at].sum())
        return float(np.abs(self.confidence[at] - self.correct[at]).sum() / total) if total else None

    def mean_nll(self, at: int = AS_SAVED) -> float | None:
        """NLL of a voxel, in nats; None without any."""
        total = int(self.voxels[at].sum())
        return float(self.nll[at] / total) if total else None

    def best(self) -> int:
        """The place among `TEMPERATURES` at which NLL is lowest."""
        return int(np.argmin(self.nll))

    def to_json(self) -> dict[str, Any]:
        """As plain types, for `from_json`."""
        return {field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """The inverse of `to_json`."""
        return cls(
            np.asarray(value["nll"], np.float64),
            np.asarray(value["voxels"], np.int64),
            np.asarray(value["confidence"], np.float64),
            np.asarray(value["correct"], np.int64),
        )


def calibrate(stored: NDArray[np.uint16], reference: NDArray[np.integer], task: Task) -> Calibration:
    """What the saved probabilities of one case are worth.

    Args:
        stored: (class, three axes), steps of 1 / `ONE`.
        reference: label volume of the same three axes.
        task: says which label counts nowhere.
    """
    box = bounding_box((arg_max(stored) > 0) | ((reference > 0) & (reference != task.ignore_label)))
    if box is None:
        return Calibration.none()
    counted = reference[box] != task.ignore_label
    truth, steps = reference[box][counted], stored[(slice(None), *box)][:, counted]
    found = Calibration.none()
    for first in range(0, len(truth), _CHUNK):
        part = slice(first, first + _CHUNK)
        found += _of_voxels(steps[:, part], truth[part])
    return found


def arg_max(stored: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The class with the largest probability of each voxel, slice by slice: indices take eight bytes each."""
    labels = np.empty(stored.shape[1:], np.uint8)
    for place in range(len(labels)):
        labels[place] = stored[:, place].argmax(axis=0)
    return labels


def _of_voxels(steps: NDArray[np.uint16], truth: NDArray[np.integer]) -> Calibration:
    # Most voxels have a probability of 1 for one class: they are counted, and two stand for all of them.
    classes, sure = len(steps), np.count_nonzero(steps, axis=0) == 1
    hits = np.count_nonzero(steps[:, sure].argmax(axis=0) == truth[sure])
    certain = np.zeros((classes, 2), np.uint16)
    certain[0] = ONE
    count = np.concatenate(
        [np.ones(np.count_nonzero(~sure), np.int64), [hits, np.count_nonzero(sure) - hits]]
    )
    steps, truth = (
        np.hstack([steps[:, ~sure], certain]),
        np.concatenate([truth[~sure], [0, 1]]).astype(np.intp),
    )
    logits = np.log(np.maximum(steps, 0.5) / ONE)
    right = logits.argmax(axis=0) == truth
    found = Calibration.none()
    for at, temperature in enumerate(TEMPERATURES):
        cooled = logits / temperature
        total = np.logaddexp.reduce(cooled, axis=0)
        found.nll[at] = (count * (total - np.take_along_axis(cooled, truth[None], axis=0)[0])).sum()
        confidence = np.exp(cooled.max(axis=0) - total)
        bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
        found.voxels[at] = np.bincount(bins, count, BINS)
        found.confidence[at] = np.bincount(bins, count * confidence, BINS)
        found.correct[at] = np.bincount(bins, count * right, BINS)
    return found


def summarise(cases: Sequence[Calibration]) -> dict[str, Any] | None:
    """Of all voxels of all cases together; None where there are none.

    Returns:
        `cases`; `voxels`; `temperature` at which NLL is lowest, and `at_end`, whether it is the lowest or
        highest that is tried; `as_saved` and `with_temperature`, each with `ece`, `nll` and `bins`, of which
        each has `from`, `to`, `voxels` and, where it has any, their mean `confidence` and `accuracy`.
    """
    total = sum(cases, Calibration.none())
    if total.ece() is None:
        return None
    best = total.best()
    return {
        "cases": len(cases),
        "voxels": int(total.voxels[AS_SAVED].sum()),
        "temperature": TEMPERATURES[best],
        "at_end": best in (0, len(TEMPERATURES) - 1),
        "as_saved": _told(total, AS_SAVED),
        "with_temperature": _told(total, best),
    }


def _told(total: Calibration, at: int) -> dict[str, Any]:
    bins = []
    for place in range(BINS):
        voxels = int(total.voxels[at, place])
        means = {
            "confidence": float(total.confidence[at, place]) / voxels if voxels else None,
            "accuracy": float(total.correct[at, place]) / voxels if voxels else None,
        }
        bins.append({"from": place / BINS, "to": (place + 1) / BINS, "voxels": voxels, **means})
    return {"ece": total.ece(at), "nll": total.mean_nll(at), "bins": bins}
