"""Checkpoints of one phase: the latest whole state, and the best weights so far.

`<workdir>/phaseN/latest/<step>` holds state, data iterator, progress and config, all that an exact
resume needs. `<workdir>/phaseN/best/<step>` holds the network's variables, the validation record that
made them the best, and the config. Each is written under a temporary name and renamed when whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from dsdenseunet import parallel
from dsdenseunet.errors import InputError
from dsdenseunet.training.device_input import DeviceInput
from dsdenseunet.training.settings import config_from_json, config_to_json
from dsdenseunet.training.state import TrainState, state_arrays, variables_of

PHASES = (1, 2)

_LATEST_ITEMS: Mapping[str, type] = {
    "state": ocp.StandardCheckpointHandler,
    "data": ocp.JsonCheckpointHandler,
    "progress": ocp.JsonCheckpointHandler,
    "config": ocp.JsonCheckpointHandler,
}
_BEST_ITEMS: Mapping[str, type] = {
    "variables": ocp.PyTreeCheckpointHandler,
    "record": ocp.JsonCheckpointHandler,
    "config": ocp.JsonCheckpointHandler,
}


@dataclasses.dataclass(frozen=True)
class BestRecord:
    """The validation that the best weights stand for; the scores are shares in 0..1."""

    step: int
    epoch: int
    liver_dice: float
    tumour_dice: float
    mean_dice: float


class Checkpoints:
    """Saves and restores one phase of a run. Every process of the run makes the same calls."""

    def __init__(self, workdir: Path, phase: int, config: ConfigDict):
        self.folder = phase_folder(workdir, phase)
        self._config = config_to_json(config)
        self._latest = _manager(self.folder / "latest", _LATEST_ITEMS)
        self._best = _manager(self.folder / "best", _BEST_ITEMS)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest whole checkpoint."""
        step = self._latest.latest_step()
        return None if step is None else int(step)

    def save(self, state: TrainState, batches: DeviceInput, validated_step: int) -> None:
        """Starts writing the whole state; the arrays are copied before it returns.

        Args:
          state: the run so far.
          batches: of which exactly `state.step` were taken.
          validated_step: the last step whose validation is done and recorded.
        """
        # The best weights of this step must be on disk before a resume can start behind them.
        self._best.wait_until_finished()
        self._latest.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state_arrays(state)),
                # The number of the next global batch: the same on every process, so that another number
                # of processes can go on from it.
                data=ocp.args.JsonSave(batches.get_state()),
                progress=ocp.args.JsonSave({"validated_step": validated_step}),
                config=ocp.args.JsonSave(self._config),
            ),
        )

    def restore(
        self, abstract: TrainState, batches: DeviceInput, mesh: jax.sharding.Mesh
    ) -> tuple[TrainState, int]:
        """The newest state, laid out on `mesh`, and its `validated_step`; sets `batches` to go on from there.

        Raises:
            InputError: the checkpoint is damaged.
        """
        sharding = parallel.replicated(mesh)
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            state_arrays(abstract),
        )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(target),
            data=ocp.args.JsonRestore(),
            progress=ocp.args.JsonRestore(),
        )
        try:
            restored = self._latest.restore(self.latest_step, args=items)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                self.folder / "latest" / str(self.latest_step),
                found=f"a checkpoint that cannot be read: {str(error).strip().splitlines()[0][:300]}",
                expected="a checkpoint of this program and network, as it was written",
                fix=f"restore the folder from a backup, or remove {self.folder / 'latest'} to start this "
                "phase again",
            ) from error
        batches.set_state(restored.data)
        return abstract.replace(**restored.state), int(restored.progress["validated_step"])

    def save_best(self, state: TrainState, record: BestRecord) -> None:
        """Starts writing the variables as the best so far; the older best goes when they are whole."""
        if self._best.latest_step() == record.step:
            # A run killed between this save and the next whole checkpoint comes by here again.
            return
        self._best.save(
            record.step,
            args=ocp.args.Composite(
                variables=ocp.args.PyTreeSave(variables_of(state)),
                record=ocp.args.JsonSave(dataclasses.asdict(record)),
                config=ocp.args.JsonSave(self._config),
            ),
        )

    def best_record(self) -> BestRecord | None:
        """The record of the best weights, None before the first validation."""
        self._best.wait_until_finished()
        step = self._best.latest_step()
        if step is None:
            return None
        return BestRecord(
            **self._best.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        )

    def wait(self) -> None:
        """Returns when everything that was saved is on disk; raises what went wrong while writing."""
        self._best.wait_until_finished()
        self._latest.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the threads."""
        self._best.close()
        self._latest.close()


def phase_folder(workdir: str | Path, phase: int) -> Path:
    """Where a phase's checkpoints are; absolute, as Orbax demands."""
    return Path(workdir).absolute() / f"phase{phase}"


def latest_step(workdir: str | Path, phase: int) -> int | None:
    """The step of a phase's newest whole checkpoint, None where there is none."""
    folder = phase_folder(workdir, phase) / "latest"
    return max(ocp.utils.checkpoint_steps(folder), default=None) if folder.is_dir() else None


def has_best(workdir: str | Path, phase: int) -> bool:
    """Whether a phase has best weights."""
    folder = phase_folder(workdir, phase) / "best"
    return folder.is_dir() and bool(ocp.utils.checkpoint_steps(folder))


def load_best(workdir: str | Path, phase: int | None = None) -> tuple[ConfigDict, dict[str, Any]]:
    """The best weights of a run and the config that made them.

    Args:
      workdir: folder of a training run.
      phase: 1 or 2; by default phase 2 where it has been validated, else phase 1.

    Returns:
      The config, and the variables {"params", "batch_stats"} as numpy arrays.

    Raises:
        InputError: the workdir has no best weights (of that phase).
    """
    for candidate in (phase,) if phase else reversed(PHASES):
        if not has_best(workdir, candidate):
            continue
        with _manager(phase_folder(workdir, candidate) / "best", _BEST_ITEMS, create=False) as manager:
            step = manager.latest_step()
            structure = manager.item_metadata(step)["variables"]
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure.tree)
            restored = manager.restore(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.PyTreeRestore(restore_args=as_numpy),
                    config=ocp.args.JsonRestore(),
                ),
            )
        return config_from_json(restored.config), restored.variables
    wanted = f"phase {phase}" if phase else "any phase"
    raise InputError(
        workdir,
        found=f"no best weights of {wanted}",
        expected="a workdir in which training has been validated at least once",
        fix=f"train first: python -m experiments.train --config=... --workdir={workdir}",
    )


def _manager(folder: Path, items: Mapping[str, type], create: bool = True) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        folder,
        item_handlers={name: handler() for name, handler in items.items()},
        options=ocp.CheckpointManagerOptions(
            create=create,
            preservation_policy=ocp.checkpoint_managers.LatestN(1),
            # What a killed save left behind.
            cleanup_tmp_directories=create,
        ),
    )
