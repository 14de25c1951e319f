"""What may change between two starts of one run, and what may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.training import phases
from dsdenseunet.training.checkpoint import latest_step, phases_in
from dsdenseunet.training.provenance import PROVENANCE_FILE, read_starts
from dsdenseunet.training.schedules import phase_schedule
from dsdenseunet.training.settings import config_from_json, flatten

# Fields that decide where and how fast a run computes, or how long; not what it computes up to then.
_HARMLESS = {
    "name",
    "data.cache",
    "data.workers",
    "data.threads",
    "data.prefetch",
    "training.phase",
    "training.checkpoint_epochs",
    "training.log_to",
    "training.profile_steps",
    "inference.batch_size",
}
# Fields that change results from here on, in a way that is well defined.
_NOTED = {
    "training.validate_epochs": "other epochs compete for the best weights from here on",
    "data.augment_on_device": "the last bits of results may differ from here on",
    "model.remat": "the last bits of results may differ from here on",
}


def check(workdir: Path, start: dict[str, Any], say: Callable[[str], None]) -> None:
    """Compares this start with the last one in `workdir`; says what changed and is harmless.

    A workdir without any checkpoint has nothing to lose: everything may change.

    Raises:
        InputError: a change after which going on would be another experiment.
    """
    begun = set(phases_in(workdir))
    starts = read_starts(workdir)
    if not starts or not begun:
        return

    def note(change: str) -> None:
        say(f"resume: changed since the last start: {change}")

    last = starts[-1]
    refused = []
    # Compared as this version reads them: a field that an older version lacked has the value that was in
    # effect then.
    old, new = (config_from_json(record["config"], workdir / PROVENANCE_FILE) for record in (last, start))
    before, now = flatten(old.to_dict()), flatten(new.to_dict())
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) == now.get(name):
            continue
        change = f"config.{name}: {before.get(name)!r} -> {now.get(name)!r}"
        if name.startswith("phases."):
            reason = _phase_refusal(name, old, new, begun, workdir)
            if reason:
                refused.append(f"{change} ({reason})")
                continue
        elif name not in _HARMLESS and name not in _NOTED:
            refused.append(change)
            continue
        note(change + (f": {_NOTED[name]}" if name in _NOTED else ""))
    if last["data_sha256"] != start["data_sha256"]:
        refused.append(f"the cache's content: {last['data_sha256'][:12]} -> {start['data_sha256'][:12]}")
    for library in sorted(last["versions"].keys() | start["versions"].keys()):
        earlier, current = last["versions"].get(library), start["versions"].get(library)
        if earlier == current:
            continue
        if library == "grain":
            # Order and augmentation follow from grain's random numbers.
            refused.append(f"{library} {earlier} -> {current} (the data stream may differ)")
        else:
            note(f"{library} {earlier} -> {current}: results may differ in the last bits from here on")
    for field in ("device_kind", "devices", "processes"):
        earlier, current = (record["hardware"].get(field) for record in (last, start))
        if earlier != current:
            note(f"{field} {earlier} -> {current}: results may differ in the last bits from here on")
    if refused:
        raise InputError(
            workdir,
            found="a run that was started otherwise: " + "; ".join(refused),
            expected="the config, data and libraries it was started with",
            fix="restore them, or train in a new workdir (with --config.phases."
            f"{phases.names(new)[0]}.start={workdir} it starts from this run's best weights)",
        )


def _phase_refusal(
    field: str, old: ConfigDict, new: ConfigDict, begun: set[str], workdir: Path
) -> str | None:
    """Why a field of `config.phases` cannot change any more; None for phases that have not begun."""
    _, name, *rest = field.split(".")
    before, now = phases.names(old), phases.names(new)
    if name == "order":
        last = max((place for place, one in enumerate(before) if one in begun), default=-1)
        same = before[: last + 1] == now[: last + 1]
        return None if same else "phases that have begun keep their places"
    if name in begun and (rest != ["epochs"] or name not in now):
        return f"{name} has begun"
    if new.training.budget_seconds and rest == ["epochs"] and begun:
        return "phases share the time by their epochs"
    for other in begun.intersection(before, now):
        if phase_schedule(old, other) != phase_schedule(new, other):
            kind = new.phases[other].schedule or new.optimizer.schedule
            return f"the learning rates of {other}, which has begun, follow from it: schedule {kind}"
    if name not in begun:
        return None
    done = (latest_step(workdir, name) or 0) / new.training.steps_per_epoch
    if new.phases[name].epochs < done:
        return f"{done:g} epochs are done: --extend_to={done:g} or more"
    later = [one for one in now[now.index(name) + 1 :] if one in begun]
    return f"{later[0]} has begun" if later else None
