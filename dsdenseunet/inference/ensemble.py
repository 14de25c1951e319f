"""Several runs as one: the mean of their class probabilities, slab by slab."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import jax
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.postprocess import Spacing
from dsdenseunet.inference.predict import Image, Predictor, Segmenter, Statistics, fingerprint
from dsdenseunet.inference.sliding_window import Piece
from dsdenseunet.models import registry
from dsdenseunet.tasks.task import Task

# What predictors must have in common, by the fields of their runs' configs.
_COMMON: Mapping[str, Callable[[Segmenter], object]] = {
    "task.classes": lambda one: one.task.classes,
    "task.channels": lambda one: tuple(
        f"{channel.name} (Hounsfield units)" if channel.is_hounsfield else channel.name
        for channel in one.task.channels
    ),
    "task.regions": lambda one: tuple((region.name, region.labels) for region in one.task.regions),
    "task.clean_up": lambda one: one.task.clean_up,
    "inference.thresholds": lambda one: one.thresholds,
}


@dataclasses.dataclass(frozen=True)
class Ensemble(Segmenter):
    """The mean of the class probabilities of several predictors, each with its own patches and options.

    Each run counts once, and the mean is taken in an order that follows from the predictors themselves: the
    order in which runs are named changes no bit of the result. The predictors work in turn on the same
    device, which holds the weights, one slab of the image and one accumulator of each, whatever the
    number of slices.

    Attributes:
        predictors: by the names of their runs, in the order of the sum.
        task: which channels are read, and the rules of clean-up.
        thresholds: of the mean probabilities, see `labelling.labelled`.
        temperature: of the mean probabilities that are stored.
    """

    predictors: Mapping[str, Predictor]
    task: Task
    thresholds: tuple[float, ...]
    temperature: float = 1.0

    def members(self) -> Mapping[str, Predictor]:
        """The runs' predictors."""
        return self.predictors

    def on(self, device: jax.Device) -> Self:
        """The same runs, all of them on one device."""
        moved = {run: predictor.on(device) for run, predictor in self.predictors.items()}
        return dataclasses.replace(self, predictors=moved)

    def pieces(
        self, image: Image, spacing_mm: Spacing | None = None, statistics: Statistics | None = None
    ) -> Iterator[Piece]:
        """Yields mean class probabilities, see `Segmenter.pieces`.

        Each run may work at a spacing of its own: the mean is taken on the image's own grid.

        Args:
            image: as `Segmenter.segment`.
            spacing_mm: as `Segmenter.segment`.
            statistics: of the case's channels (None: each run takes those that its normalisation needs).
        """
        runs = self.predictors.values()
        return mean([predictor.pieces(image, spacing_mm, statistics) for predictor in runs])


def of_runs(runs: Mapping[str, tuple[ConfigDict, Mapping[str, Any]]]) -> Segmenter:
    """What predicts with one run, or with several together.

    Args:
        runs: by the names of their folders, config and variables of each, as `load_best` returns them. Runs
            of equal network, weights and options count once.

    Raises:
        InputError: runs of different tasks, or with different thresholds.
    """
    all_runs = {
        run: Predictor.of(config, registry.build(config.model), variables)
        for run, (config, variables) in runs.items()
    }
    first = next(iter(all_runs))
    found: dict[str, tuple[str, Predictor]] = {}
    for run, predictor in all_runs.items():
        _check_alike(first, all_runs[first], run, predictor)
        found.setdefault(fingerprint(predictor), (run, predictor))
    predictors = dict(found[key] for key in sorted(found))
    one = next(iter(predictors.values()))
    return Ensemble(predictors, one.task, one.thresholds) if len(predictors) > 1 else one


def in_words(runs: Mapping[str, tuple[ConfigDict, Mapping[str, Any]]]) -> str:
    """Names and folders of the runs, for the terminal."""
    return " and ".join(f"{config.name} from {run}" for run, (config, _) in runs.items())


def _check_alike(first: str, its: Predictor, other: str, its_own: Predictor) -> None:
    """Refuses runs whose probabilities are not of the same things, or are not made labels in the same way."""
    for field, of in _COMMON.items():
        if of(its) != of(its_own):
            also = ", or give the rules for all of them with --clean_up" if field == "task.clean_up" else ""
            raise InputError(
                f"--workdir={other}",
                found=f"config.{field} = {of(its_own)}",
                expected=f"{of(its)}, as of --workdir={first}: their probabilities are averaged",
                fix=f"name runs of one task{also}",
            )


def mean(streams: Sequence[Iterator[Piece]]) -> Iterator[Piece]:
    """The mean of several streams of pieces of one volume, which may end at different slices.

    Of each stream one piece is held at a time. Where all pieces lie alike, as those of equal patches do, they
    are added as they are, so that programs are shared by volumes of many sizes (`sliding_window.GRAIN`).
    Otherwise what they have in common is cut out of them first.
    """
    held = [next(stream) for stream in streams]
    first = 0
    while True:
        end = min(_end(piece) for piece in held)
        if all(_place(piece) == _place(held[0]) for piece in held) and held[0].first == first:
            yield held[0]._replace(values=_mean(*(piece.values for piece in held)))
        else:
            parts = [piece.values[piece.keep][first - piece.first : end - piece.first] for piece in held]
            yield Piece(first, _mean(*parts), (slice(None), slice(None), slice(None)))
        finished = [index for index, piece in enumerate(held) if _end(piece) == end]
        following = [next(streams[index], None) for index in finished]
        if None in following:
            return
        for index, piece in zip(finished, following, strict=True):
            assert piece is not None
            held[index] = piece
        first = end


def _place(piece: Piece) -> tuple[object, ...]:
    return piece.first, piece.values.shape, *((part.start, part.stop) for part in piece.keep)


def _end(piece: Piece) -> int:
    return piece.first + piece.keep[0].stop - piece.keep[0].start


@jax.jit
def _mean(*values: jax.Array) -> jax.Array:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)
