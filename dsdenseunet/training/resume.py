"""What may change between two starts of one run, and what may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsdenseunet.core.errors import InputError
from dsdenseunet.training.checkpoint import latest_step
from dsdenseunet.training.provenance import PROVENANCE_FILE, read_starts
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
    "inference.batch_size",
}
# Fields that change results from here on, in a way that is well defined.
_NOTED = {
    "training.validate_epochs": "other epochs compete for the best weights from here on",
    "data.augment_on_device": "the last bits of results may differ from here on",
    "model.remat": "the last bits of results may differ from here on",
}
_EPOCHS = {"training.phase1_epochs": 1, "training.phase2_epochs": 2}


def check(workdir: Path, start: dict[str, Any], say: Callable[[str], None]) -> None:
    """Compares this start with the last one in `workdir`; says what changed and is harmless.

    A workdir without any checkpoint has nothing to lose: everything may change.

    Raises:
        InputError: a change after which going on would be another experiment.
    """
    starts = read_starts(workdir)
    steps = {phase: latest_step(workdir, phase) for phase in (1, 2)}
    if not starts or not any(step is not None for step in steps.values()):
        return

    def note(change: str) -> None:
        say(f"resume: changed since the last start: {change}")

    last = starts[-1]
    refused = []
    # Compared as this version understands them: what an older one left out has the value of then.
    old, new = (
        flatten(config_from_json(record["config"], workdir / PROVENANCE_FILE).to_dict())
        for record in (last, start)
    )
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        change = f"config.{name}: {old.get(name)!r} -> {new.get(name)!r}"
        if name in _EPOCHS:
            reason = _epochs_refusal(_EPOCHS[name], new, steps)
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
        before, now = last["versions"].get(library), start["versions"].get(library)
        if before == now:
            continue
        if library == "grain":
            # Order and augmentation follow from grain's random numbers.
            refused.append(f"{library} {before} -> {now} (the data stream may differ)")
        else:
            note(f"{library} {before} -> {now}: results may differ in the last bits from here on")
    for field in ("device_kind", "devices", "processes"):
        before, now = (record["hardware"].get(field) for record in (last, start))
        if before != now:
            note(f"{field} {before} -> {now}: results may differ in the last bits from here on")
    if refused:
        raise InputError(
            workdir,
            found="a run that was started otherwise: " + "; ".join(refused),
            expected="the config, data and libraries it was started with",
            fix="restore them, or train in a new workdir (with --config.training.init_from="
            f"{workdir} it starts from this run's best weights)",
        )


def _epochs_refusal(phase: int, new: dict[str, Any], steps: dict[int, int | None]) -> str | None:
    """Why a phase cannot have this many epochs any more, if so."""
    epochs = new[f"training.phase{phase}_epochs"]
    done = (steps[phase] or 0) / new["training.steps_per_epoch"]
    if epochs < done:
        return f"{done:g} epochs are done: --extend_to={done:g} or more"
    if phase == 1 and steps[2] is not None:
        return "phase 2 has begun"
    return None
