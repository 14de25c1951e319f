"""What an exported network says of itself: task, settings, config, code, cases, scores, licences."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.runtime import environment
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import checkpoint_folder, provenance
from dsdenseunet.training.settings import config_to_json

FORMAT = 1
AXES = "D: towards the patient's head; H: towards the front; W: towards the right; channels last"
CLEAN_UP = "not part of the exported network: labels are those before task.clean_up"
# Of weights.safetensors by itself, by this project at the commit of `exported` or later.
USE = {
    "predict": "python -m experiments.predict --workdir=weights.safetensors --input=SCANS --output=LABELS",
    "fine-tune": "python -m experiments.train --config=FILE --workdir=RUN "
    "--config.phases.PHASE.start=weights.safetensors",
}
_LIBRARIES = ("jax", "jaxlib", "flax", "numpy")
# Of a start; the machine's name, its paths and the command are nobody else's business.
_OF_START = ("started", "commit", "uncommitted_changes_sha256", "versions", "data_sha256")


def describe(
    config: ConfigDict,
    workdir: Path,
    phase: str,
    weights: Mapping[str, Any],
    platforms: Sequence[str],
    data_licence: str | None,
) -> dict[str, Any]:
    """The content of metadata.json without its table of files, as plain values.

    Args:
        config: of the run.
        workdir: of the run; `provenance.json` may be missing.
        phase: whose best weights are exported.
        weights: the arrays by name.
        platforms: that the program is for.
        data_licence: what is known of the licence of the training data.

    Raises:
        InputError: the run's `provenance.json`, or the record of its best weights, is damaged.
    """
    starts = provenance.read_starts(workdir)
    here = environment.describe(_LIBRARIES)
    stored = config_to_json(config)
    return {
        "format": FORMAT,
        "name": config.name,
        "task": Task.of(config.task).to_config(),
        "axes": AXES,
        "clean_up": CLEAN_UP,
        "inference": {"patch_size": list(config.data.patch_size), **stored["inference"]},
        "network": {
            "family": config.model.family,
            "parameters": sum(array.size for name, array in weights.items() if name.startswith("params/")),
        },
        "best": {"phase": phase, **_record(workdir, phase)},
        "trained": {
            "cases": _cases(config, starts),
            "starts": [{name: start.get(name) for name in _OF_START} for start in starts],
        },
        "exported": {
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "platforms": list(platforms),
            **{name: here[name] for name in ("commit", "uncommitted_changes_sha256", "versions")},
        },
        "licences": {"weights": data_licence, "load.py": "Apache-2.0"},
        "use": USE,
        "config": stored,
    }


def _record(workdir: Path, phase: str) -> dict[str, Any]:
    """Step, epoch and scores of the validation that chose the weights, and the SHA-256 of their arrays."""
    folder = checkpoint_folder.phase_folder(workdir, phase) / "best"
    with checkpoint_folder.open_folder(folder, checkpoint_folder.BEST_ITEMS, create=False) as manager:
        return checkpoint_folder.read_json(
            manager, manager.latest_step(), "record", checkpoint_folder.COPY_AGAIN
        )


def _cases(config: ConfigDict, starts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Number and names of the cases by what they were for; None where no record is left of them."""
    # Before starts recorded them, a run had them in its config at most.
    explicit = config.data.explicit
    of_config = {"training": list(explicit.train), "validation": list(explicit.validation)}
    recorded = starts[-1].get("cases") if starts else None
    cases = recorded or (of_config if explicit.train else None)
    return cases and {use: {"number": len(names), "names": names} for use, names in cases.items()}
