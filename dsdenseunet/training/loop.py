"""One phase of training, from its first step or from its last checkpoint to its end."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.pipeline import extra, make_training_iterator
from dsdenseunet.reporting import first_batch
from dsdenseunet.runtime import compilation, out_of_memory, parallel
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import phases, tracing
from dsdenseunet.training.budget import Budget
from dsdenseunet.training.checkpoint import BestRecord, Checkpoints, load_best, progress_of
from dsdenseunet.training.device_input import Augment, DeviceInput
from dsdenseunet.training.failure import stop_on_non_finite
from dsdenseunet.training.interruption import StopRequest
from dsdenseunet.training.logs import RunLog, scalars
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.state import Recipe, TrainState, abstract_state, create_state, parameter_count
from dsdenseunet.training.step import train_step
from dsdenseunet.training.tracing import StepTrace
from dsdenseunet.training.validation import chosen_cases, expected_seconds, validate, validate_volumes
from dsdenseunet.training.warm_start import Start, warm_start


@dataclasses.dataclass(frozen=True)
class Phase:
    """What a phase works on; everything that changes is in its state and its checkpoints."""

    name: str
    config: ConfigDict
    workdir: Path
    cache: Cache
    train_names: tuple[str, ...]
    validation_names: tuple[str, ...]
    # Seconds that earlier starts of the run took, where it has a budget of them.
    used_s: float = 0.0

    @property
    def number(self) -> int:
        """Its place in the order, from 1."""
        return 1 + phases.names(self.config).index(self.name)

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return int(self.config.phases[self.name].epochs)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps an epoch."""
        return self.config.training.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole phase."""
        return self.epochs * self.steps_per_epoch

    def due(self, step: int, every_epochs: int) -> bool:
        """Whether `step` ends an epoch that is a multiple of `every_epochs` (0: none is)."""
        return step > 0 and every_epochs > 0 and step % (every_epochs * self.steps_per_epoch) == 0


def run_phase(phase: Phase, stop: StopRequest, start: Start | None = None) -> None:
    """Trains until the phase's last step, from the newest checkpoint if there is one.

    Args:
      phase: what to train on.
      stop: set by a signal; the run then saves and leaves between two steps.
      start: what the first weights are (None: random).

    Raises:
        Interrupted: a signal asked to stop; the state is saved.
        NonFiniteLossError: loss or gradient is NaN or infinite.
        InputError: `start` does not fit the network.
    """
    config, mesh = phase.config, parallel.data_mesh()
    recipe = build_recipe(config, phase.name)
    batches = batches_of(phase, mesh)
    checkpoints = Checkpoints(phase.workdir, phase.name, config)
    budget = _budget(phase) if recipe.by_time else None

    # 1. Resume from the newest whole checkpoint; else start from `start`; else from random weights.
    if checkpoints.latest_step is not None:
        state, validated_step = checkpoints.restore(abstract_state(recipe), batches, mesh)
        done = budget.over() if budget else int(state.step) == phase.total_steps
        origin = "complete already" if done else f"resumed at step {int(state.step)}"
    else:
        state, validated_step = create_state(recipe, config.seed), 0
        # What a step draws is its phase's own: both count their steps from 0.
        state = state.replace(key=jax.random.fold_in(state.key, phase.number))
        origin = "starts from random weights"
        if start is not None:
            field = f"phases.{phase.name}.leave_out"
            state = warm_start(state, start, field, recipe.model.adapted)
            origin = f"starts from {start.source}"
        state = parallel.place_state(mesh, state)
    step, total = int(state.step), None if budget else phase.total_steps
    first = parallel.process_index() == 0
    log = RunLog(phase.workdir, phase.name, config, step, validated_step, total, first)
    log.say(
        f"{phase.name}: {origin}; {f'{total} steps' if total else 'steps by the clock'}, "
        f"{len(phase.train_names)} training and {len(phase.validation_names)} validation cases, "
        f"{parameter_count(state.params):,} parameters"
    )
    if not (budget.over() if budget else step == total):
        log.say(compilation.notice("the training step"))
        if budget and phase.validation_names:
            budget.validated(_expected(phase, state, log))
    compiled_step = parallel.compile_step(train_step, mesh)
    drawn = not first
    waiting = _Waiting(phase, log)
    traced = StepTrace(config.training.profile_steps, phase.workdir / tracing.FOLDER / phase.name)
    try:
        while True:
            over = budget.over() if budget else step == total
            # 2. At an epoch's end: validate when due; the weights that score best are kept.
            if (over or phase.due(step, config.training.validate_epochs)) and validated_step < step:
                waiting.read(state)
                with log.time_of_validation() as timed:
                    scores = _validate(phase, state, stop)
                if budget:
                    budget.validated(timed.seconds)
                if scores is not None:
                    _keep_if_best(checkpoints, log, state, phase, scores)
                    # Whole volumes have no time that could be known before.
                    if not over or budget or _scored_whole(checkpoints, log, phase, recipe, stop):
                        validated_step = step
                waiting.restart_clock()

            # 3. Save when due or asked to stop, and only once the last step is known to be good.
            stopping = stop.agreed_between_steps()
            if over or phase.due(step, config.training.checkpoint_epochs) or stopping:
                waiting.read(state)
                if checkpoints.latest_step != step:
                    checkpoints.save(state, batches, validated_step, budget.spent() if budget else {})
                waiting.restart_clock()

            # 4. Leave: everything that was saved is on disk before the run says so.
            if stopping:
                checkpoints.wait()
                raise stop.interrupted(f"{phase.name}, step {step}")
            if over:
                checkpoints.wait()
                best = checkpoints.best_record()
                assert best is not None
                ended = f"done, {step / phase.steps_per_epoch:g} epochs; {_in_words(best, recipe)}"
                log.say(f"{phase.name}: {ended}; {log.validation_time()}")
                return

            # 5. Dispatch this step first. While the device works on it, the host sends the next step's batch
            # and reads the previous step's metrics.
            batch, arrays = batches.take()
            if budget:
                state = state.replace(position=parallel.place_state(mesh, np.float32(budget.step())))
            with traced.step(step + 1):
                state, metrics = compiled_step(state, arrays)
            if step + 1 != total:
                batches.send_next()
            if not drawn:
                _draw(phase, batch, arrays, log)
                drawn = True
            waiting.read(state)
            step += 1
            waiting.put(step, batch, metrics)
            traced.end(step, metrics)
    finally:
        traced.close()
        log.close()
        batches.close()
        checkpoints.close()


class _Waiting:
    """The one step that was dispatched and whose metrics have not been read."""

    def __init__(self, phase: Phase, log: RunLog):
        self._phase = phase
        self._log = log
        self._pending: tuple[int, Mapping[str, np.ndarray], Mapping[str, jax.Array]] | None = None
        self._clock = time.monotonic()
        self._ended: float | None = None
        self._planned = out_of_memory.planned_bytes(
            phase.config, parallel.first_device_memory(), parallel.device_count()
        )

    def put(self, step: int, batch: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> None:
        self._pending = (step, batch, metrics)
        # A CPU may compute while it dispatches: this step has then ended before the next one begins.
        self._ended = time.monotonic() if all(value.is_ready() for value in metrics.values()) else None

    def restart_clock(self) -> None:
        """Leaves what happened since the last step out of the steps per second."""
        self._clock = time.monotonic()

    def read(self, state: TrainState) -> None:
        """Waits for the step, records it, and stops the run where it was not healthy."""
        if self._pending is None:
            return
        (step, batch, metrics), self._pending = self._pending, None
        values = scalars(metrics, state.recipe.regions)
        if not bool(metrics["healthy"]):
            names = [self._phase.train_names[index] for index in batch["case"]]
            raise stop_on_non_finite(state, batch, names, values, self._phase.workdir, self._phase.name, step)
        now = self._ended or time.monotonic()
        epoch = (step - 1) // self._phase.steps_per_epoch + 1
        memory = parallel.memory_use()
        if memory and self._planned is not None:
            memory["planned_bytes"] = self._planned
        self._log.step(epoch, step, values, 1 / max(now - self._clock, 1e-9), memory)
        self._clock = now


def _draw(
    phase: Phase, batch: Mapping[str, np.ndarray], arrays: Mapping[str, jax.Array], log: RunLog
) -> None:
    """The first device's share of the first batch of this start, while the device works on it."""
    try:
        own = parallel.local_copy({name: arrays[name] for name in ("image", "labels")})
        image_BDHWC, labels_BDHW = np.asarray(own["image"]), np.asarray(own["labels"])
        names = [phase.train_names[index] for index in batch["case"][: len(labels_BDHW)]]
        task = Task.of(phase.config.task)
        first_batch.write(phase.workdir / first_batch.FILE, image_BDHWC, labels_BDHW, names, task)
    except Exception as error:  # decoration
        log.say(f"no picture of the first batch: {type(error).__name__}: {error}")


def _validate(phase: Phase, state: TrainState, stop: StopRequest) -> dict[str, float] | None:
    """Scores of the weights, empty where there is nothing to validate on; None: it was abandoned."""
    if not phase.validation_names:
        return {}
    return validate(phase.config, state, phase.cache, phase.validation_names, stop.agreed)


def _in_words(best: BestRecord, recipe: Recipe) -> str:
    if not best.scores:
        return "its last weights, which no case has validated"
    dice = (f"{region.name} Dice {best.scores[f'{region.name}_dice']:.4f}" for region in recipe.regions)
    return f"best weights from epoch {best.epoch}, {', '.join(dice)}"


def _keep_if_best(
    checkpoints: Checkpoints, log: RunLog, state: TrainState, phase: Phase, scores: Mapping[str, float]
) -> None:
    step = int(state.step)
    record = BestRecord(step=step, epoch=step // phase.steps_per_epoch, scores=scores)
    best = checkpoints.best_record()
    # Without scores the last weights are the ones.
    is_best = not scores or best is None or record.selection > best.selection or best.step == step
    if is_best:
        checkpoints.save_best(state, record)
    if scores:
        log.validation(record.epoch, step, scores, is_best)


def _scored_whole(
    checkpoints: Checkpoints, log: RunLog, phase: Phase, recipe: Recipe, stop: StopRequest
) -> bool:
    """Scores the best weights on whole volumes, where these did not choose them; False: it was abandoned."""
    config, names = phase.config, phase.validation_names
    if not config.training.validate_patches or not names:
        return True
    checkpoints.wait()
    best = checkpoints.best_record()
    assert best is not None
    with log.time_of_validation():
        _, variables = load_best(phase.workdir, phase.name)
        scores = validate_volumes(config, recipe.model, variables, phase.cache, names, stop.agreed)
    if scores is not None:
        cases = chosen_cases(config, phase.cache, names)
        log.volumes(phase.epochs, phase.total_steps, scores, best.epoch, cases)
    return scores is not None


def _budget(phase: Phase) -> Budget:
    position = float(progress_of(phase.workdir, phase.name).get("position", 0))
    return Budget(phase.config, phase.name, phase.used_s, position)


def _expected(phase: Phase, state: TrainState, log: RunLog) -> float:
    """Seconds that the validation at the end will take, said."""
    seconds = expected_seconds(phase.config, state, phase.cache, phase.validation_names)
    log.say(f"{phase.name}: about {math.ceil(seconds)} s of its time are for the validation at the end")
    return seconds


def batches_of(phase: Phase, mesh: Mesh) -> DeviceInput:
    """The stream of a phase's training batches."""
    data = phase.config.data
    # A stream of its own for each phase; SeedSequence keeps seeds that are neighbours apart.
    seed = int(np.random.SeedSequence([phase.config.seed, phase.number]).generate_state(1)[0])
    iterator = make_training_iterator(
        phase.cache,
        phase.train_names,
        patch_size=data.patch_size,
        batch_size=data.batch_size,
        channels=Task.of(phase.config.task).channels,
        centre_share=data.centre_share,
        scale_range=data.scale_range,
        scale_axes=data.scale_axes,
        mirror_probability=data.mirror_probability,
        seed=seed,
        augment=phase.config.augment,
        augment_on_device=data.augment_on_device,
        threads=data.threads,
        prefetch=data.prefetch,
        workers=data.workers,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
    warp, appearance = extra(phase.config.augment)
    on_device = Augment(tuple(data.patch_size), warp, appearance)
    return DeviceInput(iterator, mesh, on_device if data.augment_on_device else None)
