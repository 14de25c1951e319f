"""What one mode says about one case: plain numbers that travel as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from dsdenseunet.evaluation.lesions import Detection
from dsdenseunet.evaluation.objects import ObjectScore
from dsdenseunet.evaluation.overlap import Counts

OFFICIAL = "official"
CORRECTED = "corrected"
MODES = (OFFICIAL, CORRECTED)


@dataclasses.dataclass(frozen=True)
class LesionRecord:
    """One lesion of the reference or of the prediction, as one mode sees it.

    Attributes:
        side: "reference" or "prediction".
        lesion: its number in scan order, from 1.
        voxels: its size.
        volume_ml: its volume.
        diameter_mm: diameter of the sphere of that volume.
        centroid: mean voxel index in the scored arrays.
        group: number of the first reference lesion of its group; 0 for a prediction that matches nothing.
        group_iou: the overlap that this mode compares with the threshold; 0 without a match.
        dice: Dice with all lesions of the other side that it touches, together; 0 if there are none.
        touched: whether it shares a voxel with the other side.
        hit_ml: volume of the largest lesion of the other side that it touches; 0 if there are none.
        detected: whether this mode takes its group as detected at IoU > 0.5.
        cause: why the modes count its group differently; empty where they don't.
    """

    side: str
    lesion: int
    voxels: int
    volume_ml: float
    diameter_mm: float
    centroid: tuple[float, ...]
    group: int
    group_iou: float
    dice: float
    touched: bool
    hit_ml: float
    detected: bool
    cause: str


@dataclasses.dataclass(frozen=True)
class CaseScore:
    """Everything that one mode says about one case; the set's scores derive from these alone.

    Attributes:
        mode: "official" or "corrected".
        shape: voxels along each axis of the scored arrays.
        spacing_mm: spacing along the same axes.
        liver: scores of the liver (label >= 1).
        liver_dice: Dice of the liver, as averaged per case.
        tumour_dice: Dice of the tumour (label 2), as averaged per case.
        liver_counts: voxels that enter the global Dice of the liver.
        tumour_counts: the same of the tumour.
        detection: counted lesions at IoU > 0 and at IoU > 0.5.
        objects: scores of the lesions detected at IoU > 0.5.
        burden_reference: tumour burden of the reference.
        burden_prediction: tumour burden of the prediction (official: 9001 without a voxel of label 1).
        volumes_ml: liver and tumour of both sides, mL.
        surface_dice: normalised surface Dice, by names from "liver_1mm" to "tumour_3mm".
        lesion_records: every lesion of both sides.
        marks: what a reader must know about this case: crashes of the original, undefined numbers, what its
            files' headers say.
        turned: whether the prediction was turned onto the reference's axes before it was compared.
    """

    mode: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    liver: ObjectScore
    liver_dice: float
    tumour_dice: float
    liver_counts: Counts
    tumour_counts: Counts
    detection: tuple[Detection, ...]
    objects: tuple[ObjectScore, ...]
    burden_reference: float
    burden_prediction: float
    volumes_ml: dict[str, float]
    surface_dice: dict[str, float]
    lesion_records: tuple[LesionRecord, ...]
    marks: tuple[str, ...]
    turned: bool = False

    @property
    def burden_difference(self) -> float:
        """Tumour burden of the reference less the prediction's."""
        return self.burden_reference - self.burden_prediction

    def to_json(self) -> dict[str, Any]:
        """As plain types, for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CaseScore:
        """The inverse of `to_json`."""
        fields = dict(value)
        fields["liver"] = ObjectScore(**value["liver"])
        fields["objects"] = tuple(ObjectScore(**item) for item in value["objects"])
        fields["liver_counts"] = Counts(**value["liver_counts"])
        fields["tumour_counts"] = Counts(**value["tumour_counts"])
        fields["detection"] = tuple(Detection(**item) for item in value["detection"])
        fields["lesion_records"] = tuple(
            LesionRecord(**{**item, "centroid": tuple(item["centroid"])}) for item in value["lesion_records"]
        )
        for name in ("shape", "spacing_mm", "marks"):
            fields[name] = tuple(value[name])
        return cls(**fields)
