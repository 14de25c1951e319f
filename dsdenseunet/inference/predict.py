"""From a volume to labels: the network over patches, mirror averaging, labels, clean-up."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray

from dsdenseunet.core.words import some
from dsdenseunet.data import memory
from dsdenseunet.inference import labelling, postprocess, whole_volume
from dsdenseunet.inference.postprocess import Spacing
from dsdenseunet.inference.sliding_window import Piece, Size
from dsdenseunet.tasks.task import Task

Image = NDArray[Any]
Statistics = Sequence[Sequence[float]]


class NonFiniteOutputError(ArithmeticError):
    """The network's output is NaN or infinite somewhere, so that nothing there can be labelled.

    Attributes:
        first_slice: the first of the slices where it is.
        voxels: how many.
        weights: names of the network's own arrays that hold NaN or infinity.
    """

    def __init__(self, first_slice: int, voxels: int, weights: list[str]):
        self.first_slice, self.voxels, self.weights = first_slice, voxels, weights
        where = f"NaN or infinity from the network (voxels: {voxels:,}, the first in slice {first_slice})"
        cause = f"; its own weights are not finite: {some(weights)}" if weights else ""
        super().__init__(where + cause)


class Segmenter(abc.ABC):
    """What segments whole volumes by class probabilities: one run's network, or several runs' together.

    Attributes:
        task: the channels and the rules of clean-up.
        thresholds: of the classes' probabilities, see `labelling.labelled`; (): the largest one decides.
        has_probabilities: whether there are probabilities of all classes together.
        temperature: of the probabilities that are stored; it changes no label.
    """

    has_probabilities: ClassVar[bool] = True
    temperature: float = 1.0
    task: Task
    thresholds: tuple[float, ...]

    @abc.abstractmethod
    def members(self) -> Mapping[str, Predictor]:
        """The predictors that it is made of, by the names of their runs."""

    def fingerprints(self) -> list[str]:
        """Of all that makes its labels what they are."""
        return [fingerprint(member) for member in self.members().values()]

    @abc.abstractmethod
    def on(self, device: jax.Device) -> Self:
        """The same, its weights and its work on one device."""

    @abc.abstractmethod
    def pieces(
        self, image: Image, spacing_mm: Spacing | None = None, statistics: Statistics | None = None
    ) -> Iterator[Piece]:
        """Yields class probabilities as they are computed, see `sliding_window.Piece`.

        They are those of the image's own voxels, whatever the spacing that the network works at.
        """

    def probabilities(
        self, image: Image, spacing_mm: Spacing | None = None, statistics: Statistics | None = None
    ) -> Iterator[tuple[int, jax.Array]]:
        """Yields (first slice, class probabilities (k, H, W, C) on the device), slices in order."""
        for piece in self.pieces(image, spacing_mm, statistics):
            yield piece.first, piece.values[piece.keep]

    def segment(
        self,
        image: Image,
        spacing_mm: Spacing | None = None,
        progress: Callable[[int], object] | None = None,
        statistics: Statistics | None = None,
    ) -> NDArray[np.uint8]:
        """Labels (D, H, W) of a volume of any size, cleaned up as the task says.

        Args:
            image: (D, H, W), or (D, H, W, channel); a memory map is read slab by slab.
            spacing_mm: millimetres between voxels (D, H, W); needed by clean-up by a distance, and where the
                task has a spacing of its own.
            progress: called with the number of slices that were finished.
            statistics: of the case's channels (None: they are taken of this image).

        Raises:
            NonFiniteOutputError: the network's output for a voxel is NaN or infinite.
        """
        labels_DHW = self.network_labels(image, spacing_mm, progress, statistics)
        return self.clean(labels_DHW, spacing_mm)

    def network_labels(
        self,
        image: Image,
        spacing_mm: Spacing | None = None,
        progress: Callable[[int], object] | None = None,
        statistics: Statistics | None = None,
        probabilities_CDHW: NDArray[np.uint16] | None = None,
    ) -> NDArray[np.uint8]:
        """The network's own labels (D, H, W), before any clean-up.

        Args:
            image: as `segment`.
            spacing_mm: as `segment`.
            progress: as `segment`.
            statistics: as `segment`.
            probabilities_CDHW: is filled with the class probabilities, as `labelling.stored` says, at
                `temperature`.

        Raises:
            NonFiniteOutputError: as `segment`.
        """
        labels_DHW = np.empty(image.shape[:3], np.uint8)

        def fetch(piece: Piece, stored: jax.Array | None) -> None:
            part = np.asarray(piece.values)[piece.keep]
            self._check(part, piece.first)
            slices = slice(piece.first, piece.first + len(part))
            labels_DHW[slices] = part
            if stored is not None and probabilities_CDHW is not None:
                probabilities_CDHW[:, slices] = np.moveaxis(np.asarray(stored)[piece.keep], -1, 0)
            if progress is not None:
                progress(len(part))

        pending: tuple[Piece, jax.Array | None] | None = None
        for piece in self.pieces(image, spacing_mm, statistics):
            labels = labelling.labelled(piece.values, self.thresholds)
            stored = None if probabilities_CDHW is None else self._stored(piece.values, labels)
            for array in (labels, stored):
                if array is not None:
                    array.copy_to_host_async()
            # The next slab is dispatched before the previous one is fetched: no device waits for the host.
            if pending is not None:
                fetch(*pending)
            pending = piece._replace(values=labels), stored
        if pending is not None:
            fetch(*pending)
        return labels_DHW

    def _stored(self, probabilities: jax.Array, labels: jax.Array) -> jax.Array:
        if self.temperature == 1:
            return labelling.stored(probabilities, labels, self.thresholds)
        # Thresholds are of what the network says itself.
        return labelling.stored(labelling.cooled(probabilities, self.temperature), labels)

    def _check(self, labels: NDArray[np.uint8], first: int) -> None:
        """Refuses slices, `first` being the first of them, with a voxel that has no label."""
        if labels.max(initial=0) != labelling.NO_NUMBER:
            return
        bad = labels == labelling.NO_NUMBER
        raise NonFiniteOutputError(
            first + int(np.flatnonzero(bad.any(axis=(1, 2)))[0]),
            int(np.count_nonzero(bad)),
            [
                "/".join([*([run] if run else []), jax.tree_util.keystr(path, simple=True, separator="/")])
                for run, member in self.members().items()
                for path, leaf in jax.tree_util.tree_leaves_with_path(member.variables)
                if not np.isfinite(np.asarray(leaf)).all()
            ],
        )

    def clean(self, labels_DHW: NDArray[np.uint8], spacing_mm: Spacing | None) -> NDArray[np.uint8]:
        """The labels after the clean-up that is configured, if any."""
        return postprocess.clean(labels_DHW, self.task, spacing_mm)


@dataclasses.dataclass(frozen=True)
class Predictor(Segmenter):
    """Segments whole volumes with one network; the fields after `task` are those of `config.inference`.

    Compiled programs are shared by all predictors of equal `model` and patch shape, whatever their weights.

    Attributes:
        model: a `models.network.Network`.
        variables: its `params` and `batch_stats`.
        patch_size: voxels (D, H, W).
        task: the channels and the rules of clean-up.
        overlap: share of a patch that its neighbour covers too, in [0, 1).
        sigma_scale: standard deviation of the Gaussian weight as a share of the patch's side.
        mirror_axes: predictions are averaged over all combinations of mirrored axes (0, 1, 2 = D, H, W).
        rotation_degrees: predictions are averaged over patches turned by as much, see `turning`; 0 for none.
        batch_size: patches per call of the network.
        thresholds: of the classes' probabilities, see `labelling.labelled`.
        temperature: of the probabilities that are stored.
        device: where to compute (None: JAX's default).
    """

    model: nn.Module
    variables: Mapping[str, Any]
    patch_size: Size
    task: Task
    overlap: float = 0.5
    sigma_scale: float = 0.125
    mirror_axes: tuple[int, ...] = ()
    rotation_degrees: float = 0.0
    batch_size: int = 1
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0
    device: jax.Device | None = None

    @classmethod
    def of(cls, config: ConfigDict, model: nn.Module, variables: Mapping[str, Any]) -> Predictor:
        """The predictor that a run's config asks for."""
        task = Task.of(config.task)
        return cls(model, variables, tuple(config.data.patch_size), task, **config.inference)

    def on(self, device: jax.Device) -> Predictor:
        """The same predictor, its weights and its work on one device."""
        variables = jax.device_put(self.variables, device)
        return dataclasses.replace(self, variables=variables, device=device)

    def members(self) -> Mapping[str, Predictor]:
        """Itself alone."""
        return {"": self}

    def check_room(
        self, path: str | os.PathLike[str], shape: Sequence[int], spacing_mm: Spacing | None
    ) -> None:
        """Refuses a scan of which a slab, as deep as a patch, has no room once it is resampled.

        Raises:
            InputError: names `path`, the scan's file.
        """
        if self.task.spacing_mm:
            working_mm = self.task.spacing_mm
            _, *plane = whole_volume.working_shape(shape, spacing_mm, working_mm, self.rotation_degrees)
            # Float32: the image, and of each class a sum and the mean.
            held = 4 * (len(self.task.channels) + 2 * len(self.task.classes))
            memory.check_room(path, (self.patch_size[0], *plane), held, resampled_mm=self.task.spacing_mm)

    def pieces(
        self, image: Image, spacing_mm: Spacing | None = None, statistics: Statistics | None = None
    ) -> Iterator[Piece]:
        """Yields class probabilities, see `Segmenter.pieces` and `whole_volume.pieces_of`."""
        # Once a volume, not once a patch; nothing moves where the weights are on the device already.
        variables = jax.device_put(self.variables, self.device)
        return whole_volume.pieces_of(
            image,
            functools.partial(class_probabilities, self.model, variables),
            self.task.channels,
            statistics,
            spacing_mm=spacing_mm,
            working_mm=self.task.spacing_mm,
            patch_size=self.patch_size,
            overlap=self.overlap,
            sigma_scale=self.sigma_scale,
            mirror_axes=self.mirror_axes,
            rotation_degrees=self.rotation_degrees,
            batch_size=self.batch_size,
            device=self.device,
        )


def fingerprint(predictor: Predictor) -> str:
    """SHA-256 over network, weights and options: of what labels depend on."""
    digest = hashlib.sha256()
    options = {
        field.name: repr(getattr(predictor, field.name))
        for field in dataclasses.fields(predictor)
        if field.name not in ("variables", "device", "temperature")
    }
    digest.update(json.dumps(options, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(predictor.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


@functools.partial(jax.jit, static_argnames="model")
def class_probabilities(
    model: nn.Module,
    variables: Mapping[str, Any],
    patches_BDHWC: jax.Array,
    flip: jax.Array,
) -> jax.Array:
    """Class probabilities (B, D, H, W, C) float32 of normalised patches.

    `flip` (3,) bool says which axes are mirrored before the network and back after it; as an argument, so
    that all combinations share one compiled program.
    """
    outputs: Any = model.apply(variables, _mirror(patches_BDHWC, flip), train=False)
    return _mirror(jax.nn.softmax(outputs.logits.astype(jnp.float32)), flip)


def _mirror(x_BDHWC: jax.Array, flip: jax.Array) -> jax.Array:
    for axis in range(3):
        x_BDHWC = jnp.where(flip[axis], jnp.flip(x_BDHWC, axis + 1), x_BDHWC)
    return x_BDHWC
