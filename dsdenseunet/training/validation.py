"""Validation while a phase trains: fixed patches in between, whole volumes with the best weights at its end.

A whole volume of LiTS is about a thousand patches, which nobody can pay for as often as weights are compared.
The best weights are therefore those with the best Dice on patches that are the same ones every time (nnU-Net
draws new ones for its "pseudo Dice"), so that like is compared with like. What whole volumes say of them is
logged beside. With `config.training.validate_patches = 0` whole volumes choose the weights, by any score of
evaluation: what is cut out of a volume has edges that are no surface, and lesions that are parts of one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import flax.linen as nn
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray

from dsdenseunet.data.cache import Cache
from dsdenseunet.data.patches import choose_centre
from dsdenseunet.data.splits import strata, stratified_sample
from dsdenseunet.evaluation.overlap import Counts, count, dice
from dsdenseunet.inference.predict import NonFiniteOutputError, Predictor
from dsdenseunet.inference.sliding_window import Tiling
from dsdenseunet.runtime import parallel
from dsdenseunet.tasks.task import Task
from dsdenseunet.training.failure import NonFiniteLossError, lower_rate
from dsdenseunet.training.state import TrainState, variables_of

Scores = dict[str, float]
Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]
T = TypeVar("T")
# Of patches, to know what a validation will take.
_TIMED_S = 1.0


@dataclasses.dataclass(frozen=True)
class Piece:
    """A case, or a box (D, H, W) of it."""

    name: str
    box: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))


def validate(
    config: ConfigDict, state: TrainState, cache: Cache, names: Sequence[str], stop: Callable[[], bool]
) -> Scores | None:
    """The Dice of each region of the task, their mean, and what else the best weights are chosen by.

    Over patches it is pooled: voxels are counted over all of them first. Without patches it is
    `validate_volumes`.

    Args:
      config: the run's config.
      state: whose variables are validated.
      cache: prepared cases.
      names: the validation cases.
      stop: asked between rounds of pieces, on every process; True abandons the validation.

    Returns:
      what `Task.dice_scores` returns, with other scores that the task selects by, and "selection", the mean
      by which weights are then chosen; None where it was abandoned.

    Raises:
      NonFiniteLossError: the network's output for a voxel is NaN or infinite.
    """
    variables = parallel.local_copy(variables_of(state))
    if not config.training.validate_patches:
        return validate_volumes(config, state.recipe.model, variables, cache, names, stop)
    predictor = _of_patches(Predictor.of(config, state.recipe.model, variables))
    counted = _count(config, predictor, cache, fixed_patches(config, cache, names), stop)
    if counted is None:
        return None
    return predictor.task.dice_scores([dice(Counts(*row)) for row in counted.sum(axis=0).tolist()])


def validate_volumes(
    config: ConfigDict,
    model: nn.Module,
    variables: Mapping[str, Any],
    cache: Cache,
    names: Sequence[str],
    stop: Callable[[], bool],
) -> Scores | None:
    """Mean Dice over whole cases, predicted as `experiments.predict` does; otherwise as `validate`.

    `config.training.validate_cases` of the names are taken, the same ones every time. A case without
    a region counts 1 where none is predicted and 0 where some is, as in LiTS.
    """
    pieces = [Piece(name) for name in chosen_cases(config, cache, names)]
    predictor = Predictor.of(config, model, variables)
    if predictor.task.selected_scores:
        return _scored(config, predictor, cache, pieces, stop)
    counted = _count(config, predictor, cache, pieces, stop)
    if counted is None:
        return None
    cases = np.array([[dice(Counts(*row)) for row in case] for case in counted.tolist()])
    return predictor.task.dice_scores(cases.mean(axis=0).tolist())


def expected_seconds(config: ConfigDict, state: TrainState, cache: Cache, names: Sequence[str]) -> float:
    """What a validation of these weights' network takes, by the clock of a few patches that are compiled.

    All that comes after the network, such as scoring, is not in it.
    """
    predictor = Predictor.of(config, state.recipe.model, parallel.local_copy(variables_of(state)))
    if calls := config.training.validate_patches:
        predictor = _of_patches(predictor)
    else:
        shapes = [cache.case(name).labels_DHW.shape for name in chosen_cases(config, cache, names)]
        calls = sum(_calls(predictor, shape) for shape in shapes)
    predictor = dataclasses.replace(predictor, task=predictor.task.of_prepared())
    case, (depth, height, width) = cache.case(names[0]), predictor.patch_size

    def seconds_a_call(columns: int) -> float:
        part = case.image_DHW[:depth, :height, :columns]
        for _ in range(2):
            begin = time.perf_counter()
            predictor.segment(part, case.spacing_mm, statistics=case.statistics)
        return (time.perf_counter() - begin) / _calls(predictor, part.shape[:3])

    each = seconds_a_call(width)
    if not config.training.validate_patches:
        # What a volume costs beside its patches is shared by many of them.
        each = seconds_a_call(width * max(1, int(_TIMED_S / each)))
    return each * -(-calls // parallel.device_count())


def _calls(predictor: Predictor, shape: Sequence[int]) -> int:
    """How often the network is called for a volume of a shape (D, H, W)."""
    tile = {"overlap": predictor.overlap, "sigma_scale": predictor.sigma_scale}
    return Tiling.of(shape, predictor.patch_size, **tile).calls(predictor.batch_size)


def _of_patches(predictor: Predictor) -> Predictor:
    """The network itself: what averaging and clean-up add costs as much as it, or needs whole volumes."""
    task = dataclasses.replace(predictor.task, clean_up=())
    return dataclasses.replace(predictor, mirror_axes=(), rotation_degrees=0.0, batch_size=1, task=task)


def chosen_cases(config: ConfigDict, cache: Cache, names: Sequence[str]) -> tuple[str, ...]:
    """The validation cases that are validated whole."""
    count = config.training.validate_cases
    if not count or count >= len(names):
        return tuple(names)
    return stratified_sample(strata(Task.of(config.task), cache, names), count, config.seed)


def fixed_patches(config: ConfigDict, cache: Cache, names: Sequence[str]) -> list[Piece]:
    """`config.training.validate_patches` patches, as many of each case as of any other, or one more.

    They follow from the seed and the cases' names alone, and are centred as training's are
    (`config.data.centre_share`), but neither zoomed nor mirrored. A patch stays inside its case.
    """
    order = sorted(names, key=lambda name: _hash(config.seed, name))
    pieces = []
    for index in range(config.training.validate_patches):
        case = cache.case(order[index % len(order)])
        rng = np.random.default_rng(_hash(config.seed, case.name, index // len(order)))
        centre = choose_centre(case, config.data.centre_share, rng)
        d, h, w = (
            slice(start, start + min(side, size))
            for size, side, middle in zip(case.labels_DHW.shape, config.data.patch_size, centre)
            for start in [min(max(middle - side // 2, 0), max(size - side, 0))]
        )
        pieces.append(Piece(case.name, (d, h, w)))
    return pieces


def _hash(*parts: object) -> int:
    text = ":".join(["validation", *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "little")


def _scored(
    config: ConfigDict,
    predictor: Predictor,
    cache: Cache,
    pieces: Sequence[Piece],
    stop: Callable[[], bool],
) -> Scores | None:
    """Dice and the scores that the task selects by, by evaluation's code; None where it was abandoned."""
    # Takes half a second to load.
    from dsdenseunet.evaluation import region_summary
    from dsdenseunet.evaluation.regions import TaskScore, score_task

    task = predictor.task

    def score(predicted: Labels, labels: Labels, spacing_mm: Spacing) -> dict[str, Any]:
        return score_task(predicted, labels, spacing_mm, task).to_json()

    mine = _measure(config, predictor, cache, pieces, stop, score)
    if mine is None:
        return None
    scored = [TaskScore.from_json(one) for _, one in sorted(parallel.merge_over_processes(mine).items())]
    found = region_summary.set_scores(scored, task)
    dice_of = task.dice_scores([found[f"{region.name}_dice"] or 0.0 for region in task.regions])
    # Without any piece on a side there is no share of them, and nothing that would speak for the weights.
    others = {name: found[name] or 0.0 for name in task.selected_scores}
    chosen = [others[name] if name in others else dice_of[f"{name}_dice"] for name in task.select_by]
    return {**dice_of, **others, "selection": sum(chosen) / len(chosen)}


def _count(
    config: ConfigDict,
    predictor: Predictor,
    cache: Cache,
    pieces: Sequence[Piece],
    stop: Callable[[], bool],
) -> NDArray[np.int64] | None:
    """Voxels (pieces, regions, those of `Counts`), on every process; None where it was abandoned.

    As integers are added, it does not matter which device had which piece.
    """
    regions = predictor.task.regions

    def counts(predicted: Labels, labels: Labels, spacing_mm: Spacing) -> list[tuple[int, ...]]:
        del spacing_mm
        # A voxel without a label says nothing for or against a prediction.
        predicted[labels == predictor.task.ignore_label] = 0
        return [dataclasses.astuple(count(region.mask(predicted), region.mask(labels))) for region in regions]

    mine = _measure(config, predictor, cache, pieces, stop, counts)
    if mine is None:
        return None
    counted = np.zeros((len(pieces), len(regions), 3), np.int64)
    for index, one in mine.items():
        counted[index] = one
    # Each piece is another process's zero.
    return parallel.sum_over_processes(counted)


def _measure(
    config: ConfigDict,
    predictor: Predictor,
    cache: Cache,
    pieces: Sequence[Piece],
    stop: Callable[[], bool],
    of_labels: Callable[[Labels, Labels, Spacing], T],
) -> dict[int, T] | None:
    """What a function makes of predicted and true labels, by the numbers of this process' pieces.

    The pieces are shared among all devices of all processes, one each at a time. None where it was abandoned.
    """
    # Cases are resampled already; they are compared on the grid that they have in the cache.
    predictor = dataclasses.replace(predictor, task=predictor.task.of_prepared())
    lanes = [(place, predictor.on(device)) for place, device in parallel.own_devices()]
    devices, measured = parallel.device_count(), {}

    def measure(lane: Predictor, piece: Piece) -> T:
        case = cache.case(piece.name)
        predicted = lane.segment(case.image_DHW[piece.box], case.spacing_mm, statistics=case.statistics)
        return of_labels(predicted, np.asarray(case.labels_DHW[piece.box]), case.spacing_mm)

    with ThreadPoolExecutor(len(lanes), "validate") as executor:
        # Every process goes the same number of rounds, so that all agree on when to stop.
        for first in range(0, len(pieces), devices):
            if stop():
                return None
            mine = [(first + place, lane) for place, lane in lanes if first + place < len(pieces)]
            working = [executor.submit(measure, lane, pieces[index]) for index, lane in mine]
            for (index, _), piece in zip(mine, working, strict=True):
                try:
                    measured[index] = piece.result()
                except NonFiniteOutputError as error:
                    raise NonFiniteLossError(
                        f"validation of {pieces[index].name}: {error}\n"
                        f"  to do:  {lower_rate(config.optimizer.learning_rate)}; the same command goes back "
                        "to the last checkpoint and meets the same"
                    ) from error
    return measured
