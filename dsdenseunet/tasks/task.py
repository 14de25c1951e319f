"""What a run segments, as one frozen value that is made from `config.task`.

Everything that depends on the anatomy or the modality comes from here: names in logs, records, tables and
files, which labels are scored together, how intensities are normalised, and how predictions are cleaned up.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import Check, integer, is_integer, is_number, number, sequence, text
from dsdenseunet.core.words import by
from dsdenseunet.tasks.channel import NORMALISATIONS, Channel

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# The mean over the regions of `select_by` stands beside them in logs.
_TAKEN = ("mean",)
# Labels are kept as uint8, in which 255 is left for what has no label.
_MOST_CLASSES = 255
# What a side of a voxel can be.
_MILLIMETRES = number(low=1e-3, high=1e3)
# Where the fields of a task are by default.
CONFIG = "config.task"
# A rule's kind, and what follows it.
RULES = {"largest": "a region", "within": "a region, another region and a distance in mm"}


@dataclasses.dataclass(frozen=True)
class Region:
    """What is scored as one thing: the union of some labels. Regions may overlap.

    Attributes:
        name: as logs, tables and files call it.
        labels: those that it is made of, none of them background.
    """

    name: str
    labels: tuple[int, ...]

    def mask(self, labels: Any) -> Any:
        """Where an array of labels, NumPy's or JAX's and of any shape, has one of the region's."""
        return functools.reduce(operator.or_, (labels == label for label in self.labels))


@dataclasses.dataclass(frozen=True)
class Task:
    """A segmentation task. `Task.of` makes it and checks it.

    Attributes:
        name: for messages.
        classes: names by label; the first one is background.
        regions: what is scored, in the order of all tables.
        channels: of the images, in the order of the files.
        ignore_label: voxels with this label count nowhere (-1: there is no such label).
        stratify_by: the region whose presence is spread evenly over folds ("": none).
        select_by: what picks the best weights: a region's name stands for its Dice, REGION_SCORE for another
            score of it (`evaluation.region_summary.selectable`); of several it is the mean.
        detect: regions whose connected pieces are scored one by one.
        clean_up: rules for predictions, applied in order: ("largest", region) keeps only the region's largest
            connected piece, ("within", region, other, mm) keeps of the region only what lies within so many
            mm of the other region's largest piece.
        spacing_mm: of the voxels that the network sees, along D (the patient's feet to head), H (back to
            front) and W (left to right), which are the cache's axes; (): each scan's own.
    """

    name: str
    classes: tuple[str, ...]
    regions: tuple[Region, ...]
    channels: tuple[Channel, ...]
    ignore_label: int
    stratify_by: str
    select_by: tuple[str, ...]
    detect: tuple[str, ...]
    clean_up: tuple[tuple[Any, ...], ...]
    spacing_mm: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str = CONFIG) -> Task:
        """The task that `config.task`, or the JSON of `to_config`, describes.

        JSON of older versions has no `spacing_mm`: every scan kept its own.

        Args:
            values: its fields.
            where: the file that they are from, for messages.

        Raises:
            InputError: a field that is missing, unknown or of another form; or fields that contradict
                each other, such as a region with a label that is no class.
        """
        values = {"spacing_mm": (), **values}
        for name in sorted(set(values) ^ set(CHECKS)):
            _refuse(where, name, "missing" if name in CHECKS else "an unknown field", "the fields of a task")
        for name, check in CHECKS.items():
            if wanted := check(values[name]):
                _refuse(where, name, repr(values[name]), wanted)
        task = cls(
            name=values["name"],
            classes=tuple(values["classes"]),
            regions=tuple(Region(name, tuple(labels)) for name, labels in values["regions"]),
            channels=tuple(
                Channel(name, kind, tuple(map(float, numbers))) for name, kind, *numbers in values["channels"]
            ),
            ignore_label=values["ignore_label"],
            stratify_by=values["stratify_by"],
            select_by=tuple(values["select_by"]),
            detect=tuple(values["detect"]),
            clean_up=tuple(tuple(rule) for rule in values["clean_up"]),
            spacing_mm=tuple(map(float, values["spacing_mm"])),
        )
        _check_together(task, where)
        return task

    def to_config(self) -> dict[str, Any]:
        """Plain values of which `of` makes an equal task; tuples are JSON's lists."""
        return {
            "name": self.name,
            "classes": self.classes,
            "regions": tuple((region.name, region.labels) for region in self.regions),
            "channels": tuple((item.name, item.normalisation, *item.numbers) for item in self.channels),
            "ignore_label": self.ignore_label,
            "stratify_by": self.stratify_by,
            "select_by": self.select_by,
            "detect": self.detect,
            "clean_up": self.clean_up,
            "spacing_mm": self.spacing_mm,
        }

    def of_prepared(self) -> Task:
        """The same task for images that are resampled already, as those of a cache are."""
        return dataclasses.replace(self, spacing_mm=())

    def region(self, name: str) -> Region:
        """The region of that name."""
        return next(region for region in self.regions if region.name == name)

    @property
    def selected_regions(self) -> tuple[str, ...]:
        """The regions that `select_by` names, or of which it names a score."""
        return tuple(dict.fromkeys(filter(None, map(self._region_of, self.select_by))))

    @property
    def selected_scores(self) -> tuple[str, ...]:
        """What `select_by` names beside the Dice of regions."""
        return tuple(name for name in self.select_by if self._region_of(name) != name)

    def _region_of(self, score: str) -> str | None:
        """The region that a score is of: the longest name that it begins with."""
        names = [region.name for region in self.regions]
        found = [name for name in names if score == name or score.startswith(f"{name}_")]
        return max(found, key=len, default=None)

    def dice_scores(self, dice: Sequence[float]) -> dict[str, float]:
        """Each region's Dice by its name in logs and records, and the mean over those that are selected.

        Args:
            dice: one per region, in their order.
        """
        scores = {
            f"{region.name}_dice": float(value) for region, value in zip(self.regions, dice, strict=True)
        }
        selected = [scores[f"{name}_dice"] for name in self.selected_regions]
        return {**scores, "mean_dice": sum(selected) / len(selected)}

    def in_words(self) -> str:
        """Name, classes, channels and spacing, for messages."""
        channels = ", ".join(str(channel) for channel in self.channels)
        spacing = f"spacing {by(self.spacing_mm)} mm" if self.spacing_mm else "each scan's own spacing"
        return f"task {self.name!r} (labels {', '.join(self.classes)}; channels {channels}; {spacing})"

    def reads_as(self, other: Task) -> bool:
        """Whether what is prepared for this task can be used for another one.

        Labels must have the same names, voxels the same spacing, and channels the same normalisation, or one
        that needs no statistics of the case. How labels are grouped into regions plays no part in what is
        prepared.
        """
        alike = self.classes == other.classes and len(self.channels) == len(other.channels)
        return (
            alike
            and self.spacing_mm == other.spacing_mm
            and self.ignore_label in (-1, other.ignore_label)
            and all(mine.prepares(theirs) for mine, theirs in zip(self.channels, other.channels))
        )


def _check_region(value: Any) -> str | None:
    wanted = "a pair of a name and its labels, such as ('organ', (1, 2))"
    if not isinstance(value, tuple | list) or len(value) != 2:
        return wanted
    name, labels = value
    named = isinstance(name, str) and _NAME.fullmatch(name) and name not in _TAKEN
    return None if named and not sequence(integer(1, _MOST_CLASSES), shortest=1)(labels) else wanted


def _check_channel(value: Any) -> str | None:
    kinds = ", ".join(f"{kind} {'low high ' * bool(count)}".strip() for kind, count in NORMALISATIONS.items())
    wanted = f"a name, a normalisation and its numbers, such as ('MR', 'zscore'): {kinds}"
    if not isinstance(value, tuple | list) or len(value) < 2 or not all(map(_is_text, value[:2])):
        return wanted
    numbers = value[2:]
    fits = len(numbers) == NORMALISATIONS.get(value[1]) and all(map(is_number, numbers))
    return None if fits and (not numbers or numbers[0] < numbers[1]) else wanted


def _check_rule(value: Any) -> str | None:
    wanted = " or ".join(f"'{kind}' with {what}" for kind, what in RULES.items())
    if not isinstance(value, tuple | list) or not value or not all(map(_is_text, value[: len(value) - 1])):
        return wanted
    kind, *rest = value
    if kind == "largest" and len(rest) == 1 and _is_text(rest[0]):
        return None
    far = kind == "within" and len(rest) == 3 and is_number(rest[2]) and rest[2] >= 0
    return None if far else wanted


def _check_spacing(value: Any) -> str | None:
    wanted = "() for each scan's own, or three numbers of mm (D, H, W) from 0.001 to 1000"
    fits = isinstance(value, tuple | list) and len(value) in (0, 3) and not sequence(_MILLIMETRES)(value)
    return None if fits else wanted


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


# What each field may be by itself.
CHECKS: Mapping[str, Check] = {
    "name": text,
    "classes": sequence(text, shortest=2),
    "regions": sequence(_check_region, shortest=1),
    "channels": sequence(_check_channel, shortest=1),
    "ignore_label": lambda value: None if is_integer(value) and -1 <= value <= 255 else "-1 to 255",
    "stratify_by": lambda value: None if isinstance(value, str) else "a region, or '' for none",
    "select_by": sequence(text, shortest=1),
    "detect": sequence(text),
    "clean_up": sequence(_check_rule),
    "spacing_mm": _check_spacing,
}


def _check_together(task: Task, where: str) -> None:
    names = [region.name for region in task.regions]
    for field, values in (("classes", task.classes), ("regions", names)):
        if len(set(values)) < len(values):
            _refuse(where, field, f"a name twice: {', '.join(values)}", "names that differ")
    if len(task.classes) > _MOST_CLASSES:
        _refuse(where, "classes", f"{len(task.classes)} classes", f"at most {_MOST_CLASSES}")
    labels = f"labels from 1 to {len(task.classes) - 1}, as there are {len(task.classes)} classes"
    for region in task.regions:
        if max(region.labels) >= len(task.classes):
            _refuse(where, "regions", f"{region.name} with the label {max(region.labels)}", labels)
    if 0 <= task.ignore_label < len(task.classes):
        _refuse(where, "ignore_label", f"{task.ignore_label}, a class", "a label that is no class, or -1")
    for channel in task.channels:
        if channel.normalisation == "percentiles" and not 0 <= channel.numbers[0] < channel.numbers[1] <= 100:
            _refuse(where, "channels", f"percentiles {channel.numbers}", "two numbers from 0 to 100")
    asked = {
        "stratify_by": (task.stratify_by,) * bool(task.stratify_by),
        "detect": task.detect,
        "clean_up": tuple(name for rule in task.clean_up for name in rule[1:3]),
    }
    for field, wanted in asked.items():
        for name in wanted:
            if name not in names:
                _refuse(where, field, f"the region {name!r}", f"one of {', '.join(names)}")
    for name in task.select_by:
        if task._region_of(name) is None:
            expected = f"one of {', '.join(names)}, or a score of one, such as {names[-1]}_surface_dice_2mm"
            _refuse(where, "select_by", repr(name), expected)


def _refuse(where: str, field: str, found: str, expected: str) -> NoReturn:
    if where != CONFIG:
        raise InputError(
            where, found=f"a task with {field} {found}", expected=expected, fix="write the file anew"
        )
    raise InputError(f"{where}.{field}", found=found, expected=expected, fix=f"correct {where}.{field}")
