"""A folder of checkpoints as Orbax writes it: where its steps and their items are, and which a step has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from dsdenseunet.training.integrity import unsealed, whole_or_refused

# In the folder of a cascade of networks: its task, its stages in their order, and where each looks.
STAGES_FILE = "stages.json"
COPY_AGAIN = "copy the run's folder again from where it was trained, or restore it from a backup"

LATEST_ITEMS: Mapping[str, type] = {
    "state": ocp.StandardCheckpointHandler,
    "data": ocp.JsonCheckpointHandler,
    "progress": ocp.JsonCheckpointHandler,
    "config": ocp.JsonCheckpointHandler,
}
BEST_ITEMS: Mapping[str, type] = {
    "variables": ocp.PyTreeCheckpointHandler,
    "record": ocp.JsonCheckpointHandler,
    "config": ocp.JsonCheckpointHandler,
}


def phase_folder(workdir: str | Path, phase: str) -> Path:
    """Where a phase's checkpoints are; absolute, as Orbax demands."""
    return Path(workdir).absolute() / phase


def steps(folder: Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, which need not be there."""
    return ocp.utils.checkpoint_steps(folder) if folder.is_dir() else []


def item(manager: ocp.CheckpointManager, step: int, name: str) -> Path:
    """Where an item of a step lies."""
    return Path(manager.directory) / str(step) / name


def read_json(manager: ocp.CheckpointManager, step: int, name: str, fix: str) -> dict[str, Any]:
    """An item of plain values.

    Raises:
        InputError: it is damaged; `fix` says what to do.
    """
    with whole_or_refused(item(manager, step, name) / "metadata", fix):
        restored = manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.JsonRestore()}))
        return unsealed(restored[name])


def open_folder(folder: Path, items: Mapping[str, type], create: bool = True) -> ocp.CheckpointManager:
    """Orbax' manager of a folder that keeps the newest step; only with `create` does it change anything."""
    return ocp.CheckpointManager(
        folder,
        item_handlers={name: handler() for name, handler in items.items()},
        options=ocp.CheckpointManagerOptions(
            create=create,
            preservation_policy=ocp.checkpoint_managers.LatestN(1),
            # What a killed save left behind.
            cleanup_tmp_directories=create,
            # Several processes meet at barriers with names. Two folders that are saved to at the same time
            # must not share them: one of the two saves fails now and then.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                barrier_sync_key_prefix=f"{folder.parent.name}_{folder.name}"
            ),
        ),
    )
