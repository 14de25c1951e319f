"""Checkpoints of one phase: the latest whole state, and the best weights so far.

`<workdir>/PHASE/latest/<step>` holds state, data iterator, progress and config, all that an exact
resume needs. `<workdir>/PHASE/best/<step>` holds the network's variables, the validation record that
made them the best, and the config. Each is written under a temporary name and renamed when whole.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import parallel
from dsdenseunet.training import schema
from dsdenseunet.training.checkpoint_folder import (
    BEST_ITEMS,
    COPY_AGAIN,
    LATEST_ITEMS,
    STAGES_FILE,
    item,
    open_folder,
    phase_folder,
    read_json,
    steps,
)
from dsdenseunet.training.integrity import (
    array_digest,
    check_digest,
    contents,
    read_every_array,
    sealed,
    unsealed,
    whole_or_refused,
)
from dsdenseunet.training.settings import check_config, config_from_json, config_to_json
from dsdenseunet.training.state import TrainState, state_arrays, variables_of

if TYPE_CHECKING:  # Grain, which it imports, is for training only.
    from dsdenseunet.training.device_input import DeviceInput

# Names in `record` and `progress` for the SHA-256 of the arrays beside them.
_VARIABLES_DIGEST, _STATE_DIGEST = "variables_sha256", "state_sha256"


@dataclasses.dataclass(frozen=True)
class BestRecord:
    """The validation that the best weights stand for.

    Attributes:
        step: of the phase.
        epoch: of the phase.
        scores: what `validation.validate` returns: each region's Dice, "mean_dice", and where the task says
            so other scores, and "selection", their mean. Empty where there were no cases to validate on.
    """

    step: int
    epoch: int
    scores: Mapping[str, float]

    @property
    def selection(self) -> float:
        """By which the weights were chosen; more is better."""
        return self.scores.get("selection", self.scores.get("mean_dice", -math.inf))


class Checkpoints:
    """Saves and restores one phase of a run. Every process of the run makes the same calls."""

    def __init__(self, workdir: Path, phase: str, config: ConfigDict):
        self.folder = phase_folder(workdir, phase)
        self._config = sealed(config_to_json(config))
        self._latest = open_folder(self.folder / "latest", LATEST_ITEMS)
        self._best = open_folder(self.folder / "best", BEST_ITEMS)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest whole checkpoint."""
        step = self._latest.latest_step()
        return None if step is None else int(step)

    def save(
        self,
        state: TrainState,
        batches: DeviceInput,
        validated_step: int,
        spent: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Starts writing the whole state; the arrays are copied before it returns.

        Args:
          state: the run so far.
          batches: of which exactly `state.step` were taken.
          validated_step: the last step whose validation is done and recorded.
          spent: of a `Budget`.
        """
        # The best weights of this step must be on disk before a resume can start after them.
        self._best.wait_until_finished()
        arrays = state_arrays(state)
        progress = {"validated_step": validated_step, _STATE_DIGEST: array_digest(arrays), **spent}
        self._latest.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays),
                # The number of the next global batch: the same on every process, so that another number
                # of processes can go on from it.
                data=ocp.args.JsonSave(sealed(batches.get_state())),
                progress=ocp.args.JsonSave(sealed(progress)),
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
        step = self.latest_step
        assert step is not None, "nothing was saved yet"
        folder = self.folder / "latest" / str(step)
        fix = f"restore the folder from a backup, or remove {self.folder} to start this phase again"
        data, progress = (read_json(self._latest, step, name, fix) for name in ("data", "progress"))
        with whole_or_refused(folder / "state", fix):
            read_every_array(folder / "state")
            restored = self._latest.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            )
            check_digest(restored.state, progress.get(_STATE_DIGEST))
        with whole_or_refused(folder, fix):
            batches.set_state(data)
            return abstract.replace(**restored.state), int(progress["validated_step"])

    def save_best(self, state: TrainState, record: BestRecord) -> None:
        """Starts writing the variables as the best so far, which replace the previous ones once complete."""
        if self._best.latest_step() == record.step:
            # A run that is killed between this save and the next whole checkpoint reaches this point again.
            return
        variables = variables_of(state)
        values: dict[str, Any] = {"step": record.step, "epoch": record.epoch, **record.scores}
        values[_VARIABLES_DIGEST] = array_digest(variables)
        self._best.save(
            record.step,
            args=ocp.args.Composite(
                variables=ocp.args.PyTreeSave(variables),
                record=ocp.args.JsonSave(sealed(values)),
                config=ocp.args.JsonSave(self._config),
            ),
        )

    def best_record(self) -> BestRecord | None:
        """The record of the best weights, None before the first validation.

        Raises:
            InputError: it is damaged.
        """
        self._best.wait_until_finished()
        step = self._best.latest_step()
        if step is None:
            return None
        record = read_json(self._best, step, "record", COPY_AGAIN)
        with whole_or_refused(item(self._best, step, "record"), COPY_AGAIN):
            others = ("step", "epoch", _VARIABLES_DIGEST)
            scores = {name: float(value) for name, value in record.items() if name not in others}
            if scores and "mean_dice" not in scores:
                raise KeyError("mean_dice")
            return BestRecord(record["step"], record["epoch"], scores)

    def wait(self) -> None:
        """Returns when everything that was saved is on disk; raises what went wrong while writing."""
        self._best.wait_until_finished()
        self._latest.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the threads."""
        self._best.close()
        self._latest.close()


def phases_in(workdir: str | Path) -> list[str]:
    """Names of the phases that have left checkpoints in a run's folder, in their order.

    Raises:
        InputError: the config that says the order is damaged.
    """
    workdir = Path(workdir)
    folders = [path for path in sorted(workdir.iterdir()) if path.is_dir()] if workdir.is_dir() else []
    kinds = {path.name: [kind for kind in ("best", "latest") if steps(path / kind)] for path in folders}
    found = [name for name in kinds if kinds[name]]
    if len(found) < 2:
        return found
    kind = kinds[found[-1]][0]
    items = {"best": BEST_ITEMS, "latest": LATEST_ITEMS}[kind]
    with open_folder(phase_folder(workdir, found[-1]) / kind, items, create=False) as manager:
        order = list(_stored_config(manager, manager.latest_step()).phases.order)
    return sorted(found, key=lambda name: order.index(name) if name in order else -1)


def latest_step(workdir: str | Path, phase: str) -> int | None:
    """The step of a phase's newest whole checkpoint, None where there is none."""
    return max(steps(phase_folder(workdir, phase) / "latest"), default=None)


def has_best(workdir: str | Path, phase: str) -> bool:
    """Whether a phase has best weights.

    Raises:
        InputError: it has none, although its whole checkpoint says that it was validated.
    """
    folder = phase_folder(workdir, phase) / "best"
    if steps(folder):
        return True
    if validated := int(progress_of(workdir, phase).get("validated_step", 0)):
        raise InputError(
            folder,
            found=f"no best weights, although {phase} was validated at step {validated}",
            expected="the folder as training left it",
            fix=COPY_AGAIN,
        )
    return False


def load_best(workdir: str | Path, phase: str | None = None) -> tuple[ConfigDict, dict[str, Any]]:
    """The best weights of a run and the config that made them.

    Args:
      workdir: folder of a training run.
      phase: its name; by default the last one that has been validated.

    Returns:
      The config, and the variables {"params", "batch_stats"} as numpy arrays.

    Raises:
        InputError: the workdir has no best weights (of that phase), or they are damaged, incomplete or of
            another version.
    """
    return _read_best(phase_folder(workdir, best_phase(workdir, phase)) / "best")


def best_phase(workdir: str | Path, phase: str | None = None) -> str:
    """The phase whose best weights `load_best` reads.

    Raises:
        InputError: the workdir has no best weights (of that phase).
    """
    for candidate in (phase,) if phase else reversed(phases_in(workdir)):
        if has_best(workdir, candidate):
            return candidate
    if (Path(workdir) / STAGES_FILE).exists():
        raise InputError(
            workdir,
            found="a run of several stages",
            expected="the folder of one of them",
            fix=f"name one of the stages in {Path(workdir) / STAGES_FILE}: {workdir}/STAGE",
        )
    there = ", ".join(phases_in(workdir))
    found = f"no best weights of {phase or 'any phase'}" + (f" (phases here: {there})" if there else "")
    raise InputError(
        workdir,
        found=found if Path(workdir).is_dir() else "no such folder",
        expected="a folder in which `experiments.train` has validated a network at least once",
        fix=f"check the path, or train first: python -m experiments.train --config=... --workdir={workdir}",
    )


def _read_best(folder: Path) -> tuple[ConfigDict, dict[str, Any]]:
    with open_folder(folder, BEST_ITEMS, create=False) as manager:
        step = manager.latest_step()
        config = _stored_config(manager, step)
        record = read_json(manager, step, "record", COPY_AGAIN)
        arrays = item(manager, step, "variables")
        with whole_or_refused(arrays, COPY_AGAIN):
            read_every_array(arrays)
            structure = manager.item_metadata(step)["variables"]
            if structure is None:
                raise FileNotFoundError(arrays / "_METADATA")
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure.tree)
            variables = manager.restore(
                step, args=ocp.args.Composite(variables=ocp.args.PyTreeRestore(restore_args=as_numpy))
            ).variables
            check_digest(variables, record.get(_VARIABLES_DIGEST))
    return config, variables


def _stored_config(manager: ocp.CheckpointManager, step: int) -> ConfigDict:
    """The checked config that a checkpoint was made with; flags of a command play no part in it yet."""
    where = item(manager, step, "config") / "metadata"
    with whole_or_refused(where, COPY_AGAIN):
        stored = manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore())).config
    # What another version wrote is named as such before its seal is looked at: it may have been edited.
    config = config_from_json(contents(stored), where)
    with whole_or_refused(where, COPY_AGAIN):
        unsealed(stored)
    try:
        check_config(config)
    except InputError as error:
        raise schema.of_another_version(where, f"{error.where} = {error.found}") from error
    return config


def progress_of(workdir: str | Path, phase: str) -> dict[str, Any]:
    """What a phase's newest whole checkpoint says of its progress, {} where there is none.

    Raises:
        InputError: it is damaged.
    """
    step = latest_step(workdir, phase)
    if step is None:
        return {}
    with open_folder(phase_folder(workdir, phase) / "latest", LATEST_ITEMS, create=False) as manager:
        progress = read_json(manager, step, "progress", COPY_AGAIN)
        with whole_or_refused(item(manager, step, "progress"), COPY_AGAIN):
            return {**progress, "validated_step": int(progress["validated_step"])}
