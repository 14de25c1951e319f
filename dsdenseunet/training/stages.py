"""A cascade of several networks, as `config.stages` lists them: each an ordinary run, each where it looks.

A config of several stages has `name`, `seed`, `task` and what of `data` they have in common; each of its
stages has all other fields of a config, and says where it looks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import number, refusal
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import phases
from dsdenseunet.training.checkpoint import phases_in
from dsdenseunet.training.checkpoint_folder import COPY_AGAIN, STAGES_FILE
from dsdenseunet.training.settings import check_config

SECTION = "stages"
# The folder of the stages' own caches, in that of the cascade.
CACHES = "cache"
_FORMAT = 1
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COMMON = ("name", "seed", "task", "data", SECTION)
_OWN = ("within", "margin_mm")
# Names that mean something else in a cascade's folder.
_TAKEN = (CACHES, "out_of_fold")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a stage looks.

    Attributes:
        stage: its name, which is that of its folder too.
        within: a region that an earlier stage segments; "": the whole scan.
        margin_mm: around the region's box, on each side.
    """

    stage: str
    within: str
    margin_mm: float

    def __str__(self) -> str:
        where = (
            f"within {self.within} and {self.margin_mm:g} mm around it" if self.within else "on whole scans"
        )
        return f"{self.stage} {where}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What of a cascade lies outside its runs.

    Attributes:
        name: of the config.
        task: the whole task.
        places: of the stages, in their order.
    """

    name: str
    task: Task
    places: tuple[Place, ...]

    @classmethod
    def of(cls, config: ConfigDict) -> Layout:
        """That of a checked config."""
        stages = config[SECTION]
        places = tuple(
            Place(name, stages[name].within, float(stages[name].margin_mm)) for name in stages.order
        )
        return cls(config.name, Task.of(config.task), places)

    @classmethod
    def read(cls, workdir: str | Path) -> Layout | None:
        """That of a cascade's folder; None where it is that of a single run.

        Raises:
            InputError: a damaged file, or one of a newer version.
        """
        path = Path(workdir) / STAGES_FILE
        if not path.exists():
            return None
        stored = files.read_object(path, "format", "name", "task", "stages")
        try:
            if stored["format"] != _FORMAT:
                raise ValueError(stored["format"])
            places = tuple(Place(**place) for place in stored["stages"])
        except (TypeError, ValueError) as error:
            raise InputError(
                path,
                found=f"a file of another version, or an edited one: {error}",
                expected=f"format {_FORMAT}, as training wrote it",
                fix=f"{COPY_AGAIN}, or use the version that made it",
            ) from error
        return cls(stored["name"], Task.of(stored["task"], str(path)), places)

    def write(self, workdir: Path) -> None:
        """Writes it to the cascade's folder.

        Raises:
            InputError: a stage has begun there that looks elsewhere, or for another task.
        """
        there = Layout.read(workdir)
        if there is not None:
            begun = [place for place in there.places if phases_in(workdir / place.stage)]
            if begun and (there.task != self.task or self.places[: len(begun)] != tuple(begun)):
                raise InputError(
                    workdir,
                    found=f"stages that have begun: {'; '.join(map(str, begun))}; of {there.task.in_words()}",
                    expected="the same stages first, which look within the same, for the same task",
                    fix="restore them in the config, or train in a new workdir",
                )
        stored = {
            "format": _FORMAT,
            "name": self.name,
            "task": self.task.to_config(),
            SECTION: [dataclasses.asdict(place) for place in self.places],
        }
        files.write_json(workdir / STAGES_FILE, stored)


def has_stages(config: Mapping[str, Any]) -> bool:
    """Whether a config is one of several stages."""
    return SECTION in config


def configs(config: ConfigDict) -> dict[str, ConfigDict]:
    """The whole config of each stage, by its name and in their order; of an ordinary config itself, as ""."""
    if not has_stages(config):
        return {"": config}
    return {name: config_of(config, name) for name in config[SECTION].order}


def config_of(config: ConfigDict, name: str) -> ConfigDict:
    """The whole config of one stage, as an ordinary run has it."""
    values = {field: value for field, value in config[SECTION][name].to_dict().items() if field not in _OWN}
    values["data"] = {**values["data"], **config.data.to_dict()}
    return ConfigDict({**values, "name": f"{config.name}.{name}", "seed": config.seed})


def shares_of_time(config: ConfigDict, seconds: float) -> dict[str, float]:
    """Fields that give a run so much wall time, of a cascade each stage as its steps are of all."""
    of = configs(config)
    steps = {
        name: own.training.steps_per_epoch * sum(own.phases[one].epochs for one in phases.selected(own))
        for name, own in of.items()
    }
    field, total = "training.budget_seconds", max(sum(steps.values()), 1)
    return {dotted(name, field): seconds * count / total for name, count in steps.items()}


def dotted(stage: str, field: str) -> str:
    """A field of a stage, or of a config without stages."""
    return f"{SECTION}.{stage}.{field}" if stage else field


def check(config: ConfigDict) -> None:
    """Checks a config of one network, or of several stages.

    Raises:
        InputError: the first field that does not fit.
    """
    if not has_stages(config):
        check_config(config)
        return
    for name in sorted(set(config) ^ set(_COMMON)):
        kind = "a field of single stages" if name in config else "missing"
        raise refusal(name, kind, f"{', '.join(_COMMON)} beside the stages' own fields")
    task, stages = Task.of(config.task), config[SECTION]
    order, known = stages.get("order"), sorted(set(stages) - {"order"})
    wrong = [name for name in known if not _NAME.fullmatch(name) or name in _TAKEN]
    if wrong or not order or sorted(order) != known:
        expected = (
            f"each of {', '.join(known)} once; a-z, 0-9 and _, a letter first, and not {', '.join(_TAKEN)}"
        )
        raise refusal(f"{SECTION}.order", repr(order), expected)
    segmented: set[str] = set()
    for name in order:
        _check_stage(config, name, task, segmented)
        segmented |= set(stages[name].task.classes[1:])


def _check_stage(config: ConfigDict, name: str, task: Task, segmented: set[str]) -> None:
    own, where = config[SECTION][name], f"{SECTION}.{name}"
    for field in _OWN:
        if field not in own:
            raise refusal(f"{where}.{field}", "missing", "where the stage looks")
    for field in ("name", "seed"):
        if field in own:
            raise refusal(f"{where}.{field}", repr(own[field]), f"config.{field}, of all stages")
    for field in own.get("data", {}):
        if field in config.data:
            raise refusal(
                f"{where}.data.{field}", repr(own.data[field]), f"config.data.{field}, of all stages"
            )
    if expected := number(low=0)(own.margin_mm):
        raise refusal(f"{where}.margin_mm", repr(own.margin_mm), expected)
    if own.within not in ("", *segmented):
        known = ", ".join(sorted(segmented)) or "there is none"
        raise refusal(f"{where}.within", repr(own.within), f"'' or a region of an earlier stage ({known})")
    try:
        check_config(config_of(config, name))
    except InputError as error:
        raise refusal(
            error.where.replace("config", f"{SECTION}.{name}", 1), error.found, error.expected
        ) from error
    part, regions = Task.of(own.task), [region.name for region in task.regions]
    if unknown := [one for one in part.classes[1:] if one not in regions]:
        raise refusal(
            f"{where}.task.classes", ", ".join(unknown), f"regions of config.task: {', '.join(regions)}"
        )
    for field in ("spacing_mm", "ignore_label"):
        if getattr(part, field) != getattr(task, field):
            raise refusal(
                f"{where}.task.{field}", str(getattr(part, field)), f"{getattr(task, field)}, as config.task"
            )
