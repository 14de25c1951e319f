"""Several networks one after the other: each looks within what those before it have found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

import jax
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.boxes import Box, bounding_box, grown
from dsdenseunet.inference.postprocess import Spacing
from dsdenseunet.inference.predict import Image, NonFiniteOutputError, Predictor, Segmenter, Statistics
from dsdenseunet.inference.sliding_window import Piece
from dsdenseunet.tasks.channel import statistics_of
from dsdenseunet.tasks.part import paint
from dsdenseunet.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Stage:
    """One network of a cascade, or several runs of it together.

    Attributes:
        name: of the stage.
        segmenter: whose classes are regions of the whole task.
        within: the region whose box it looks at; "": the whole scan.
        margin_mm: around the box, on each side.
    """

    name: str
    segmenter: Segmenter
    within: str
    margin_mm: float


@dataclasses.dataclass(frozen=True)
class Cascade(Segmenter):
    """Labels of the whole task, put together of what each stage says of its own regions.

    Each stage's labels are cleaned up by its own task, before the next one looks within them. A stage that
    has nothing to look within says nothing.

    Attributes:
        stages: in their order.
        task: the whole task, by whose rules the labels are cleaned up in the end.
        thresholds: none, as there are no probabilities of all classes together.
    """

    has_probabilities: ClassVar[bool] = False
    stages: tuple[Stage, ...]
    task: Task
    thresholds: tuple[float, ...] = ()

    def members(self) -> Mapping[str, Predictor]:
        """The predictors of all stages."""
        return {
            "/".join(filter(None, (stage.name, run))): member
            for stage in self.stages
            for run, member in stage.segmenter.members().items()
        }

    def fingerprints(self) -> list[str]:
        """Those of the stages' networks, and of how they are put together."""
        parts = [(stage.name, stage.within, stage.margin_mm) for stage in self.stages]
        together = json.dumps([parts, self.task.to_config()], sort_keys=True)
        return [*super().fingerprints(), hashlib.sha256(together.encode()).hexdigest()]

    def on(self, device: jax.Device) -> Self:
        """The same, all stages on one device."""
        moved = (dataclasses.replace(stage, segmenter=stage.segmenter.on(device)) for stage in self.stages)
        return dataclasses.replace(self, stages=tuple(moved))

    def pieces(
        self, image: Image, spacing_mm: Spacing | None = None, statistics: Statistics | None = None
    ) -> Iterator[Piece]:
        """There are none.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the networks of a cascade have classes of their own")

    def network_labels(
        self,
        image: Image,
        spacing_mm: Spacing | None = None,
        progress: Callable[[int], object] | None = None,
        statistics: Statistics | None = None,
        probabilities_CDHW: NDArray[np.uint16] | None = None,
    ) -> NDArray[np.uint8]:
        """Labels (D, H, W) of the whole task, before its own clean-up.

        Args:
            image: as `Segmenter.segment`.
            spacing_mm: as `Segmenter.segment`; needed where a stage has a margin.
            progress: as `Segmenter.segment`; each stage finishes its share of the slices.
            statistics: of the case's channels (None: each stage takes those that its normalisation needs, of
                the whole image).
            probabilities_CDHW: None.

        Raises:
            NonFiniteOutputError: as `Segmenter.segment`.
        """
        assert probabilities_CDHW is None
        labels_DHW = np.zeros(image.shape[:3], np.uint8)
        depth = len(labels_DHW)
        for number, stage in enumerate(self.stages):
            box = self._box(stage, labels_DHW, spacing_mm)
            if box is not None:
                part = stage.segmenter.task
                known = statistics_of(part.channels, image) if statistics is None else statistics
                found_DHW = _segment(stage, image[box], box, spacing_mm, known)
                paint(labels_DHW, box, found_DHW, part, self.task, stage.within)
            if progress is not None:
                progress(depth * (number + 1) // len(self.stages) - depth * number // len(self.stages))
        return labels_DHW

    def _box(self, stage: Stage, labels_DHW: NDArray[np.uint8], spacing_mm: Spacing | None) -> Box | None:
        """What a stage looks at, None where it has nothing to look within."""
        if not stage.within:
            return tuple(slice(0, side) for side in labels_DHW.shape)
        box = bounding_box(self.task.region(stage.within).mask(labels_DHW))
        return box and grown(box, stage.margin_mm, labels_DHW.shape, spacing_mm)


def of_stages(stages: Sequence[Stage], task: Task) -> Cascade:
    """A cascade, unless the runs of a stage normalise their images differently.

    Raises:
        InputError: they do: which statistics a box has, is then not defined.
    """
    for stage in stages:
        for run, member in stage.segmenter.members().items():
            if member.task.channels != stage.segmenter.task.channels:
                raise InputError(
                    f"--workdir={run}",
                    found=f"channels {', '.join(map(str, member.task.channels))}",
                    expected=f"{', '.join(map(str, stage.segmenter.task.channels))} in stage {stage.name}",
                    fix="name cascades whose stages normalise alike",
                )
    return Cascade(tuple(stages), task)


def _segment(
    stage: Stage, image: Image, box: Box, spacing_mm: Spacing | None, statistics: Statistics
) -> NDArray[np.uint8]:
    """A stage's labels of the box."""
    try:
        return stage.segmenter.segment(image, spacing_mm, statistics=statistics)
    except NonFiniteOutputError as error:
        weights = [f"{stage.name}/{name}" for name in error.weights]
        raise NonFiniteOutputError(box[0].start + error.first_slice, error.voxels, weights) from None
