"""Segments volumes of any size with an exported network: the folder that `experiments.export` writes.

    python load.py image.npy labels.npy

From Python: `Segmenter(folder).labels(image)`. Where metadata.json has a spacing that the network was trained
at (`task.spacing_mm`) or turns of patches (`inference.rotation_degrees`), the image's own must be told,
`--spacing_mm D H W`; labels are of the image's voxels all the same. It needs NumPy, JAX and flatbuffers, with
which JAX reads exported programs.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
from numpy.typing import NDArray

from dsdenseunet.core.safetensors import read_weights
from dsdenseunet.inference.labelling import NO_NUMBER, labelled
from dsdenseunet.inference.sliding_window import Piece
from dsdenseunet.inference.whole_volume import pieces_of
from dsdenseunet.tasks.channel import Channel, are_hounsfield

METADATA, PROGRAM, WEIGHTS = "metadata.json", "network.stablehlo", "weights.safetensors"


class Segmenter:
    """An exported network; what it says of a volume is before any clean-up.

    Args:
        folder: as `experiments.export` wrote it.
        device: where to compute (None: JAX's default).

    Attributes:
        metadata: the content of metadata.json.

    Raises:
        ValueError: a file is not the one that metadata.json describes.
    """

    def __init__(self, folder: str | os.PathLike[str], device: jax.Device | None = None):
        folder = Path(folder)
        self.metadata: dict[str, Any] = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        for name in (PROGRAM, WEIGHTS):
            with (folder / name).open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                if sha256 != self.metadata["files"][name]["sha256"]:
                    raise ValueError(f"{folder / name} is not the file of {METADATA}: copy the folder again")
        self._channels = [
            Channel(name, kind, tuple(numbers)) for name, kind, *numbers in self.metadata["task"]["channels"]
        ]
        self._device = device
        self._weights = jax.device_put(read_weights(folder / WEIGHTS), device)
        program = bytearray((folder / PROGRAM).read_bytes())
        self._network = jax.jit(jax.export.deserialize(program).call)

    def labels(
        self,
        image: NDArray[Any],
        statistics: Sequence[Sequence[float]] | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> NDArray[np.uint8]:
        """The class of each voxel, (D, H, W): the most probable one, or as `inference.thresholds` decide.

        Args:
            image: (D, H, W), or (D, H, W, channel), as it was measured: nothing normalised. D grows towards
                the patient's head, H towards the front, W towards the right.
            statistics: of each channel: mean and standard deviation, or two percentiles, or nothing, as its
                normalisation has it (None: they are taken of this image).
            spacing_mm: millimetres between the voxels (D, H, W); needed where `task.spacing_mm` of the
                metadata is not empty, or `inference.rotation_degrees` not 0.

        Raises:
            ValueError: an image of another form, or NaN or infinity in it; no spacing where one is needed.
            ArithmeticError: the network says NaN or infinity.
        """
        labels_DHW = np.empty(image.shape[:3], np.uint8)
        thresholds = tuple(self.metadata["inference"].get("thresholds", ()))
        for piece in self._pieces(image, statistics, spacing_mm):
            labels = np.asarray(labelled(piece.values, thresholds))[piece.keep]
            if (labels == NO_NUMBER).any():
                raise ArithmeticError(
                    f"NaN or infinity from the network, in slice {piece.first} or soon after"
                )
            labels_DHW[piece.first : piece.first + len(labels)] = labels
        return labels_DHW

    def probabilities(
        self,
        image: NDArray[Any],
        statistics: Sequence[Sequence[float]] | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> NDArray[np.float32]:
        """The probability of each class, (D, H, W, class), whose sum is 1; see `labels`."""
        pieces = self._pieces(image, statistics, spacing_mm)
        return np.concatenate([np.asarray(piece.values)[piece.keep] for piece in pieces])

    def _pieces(
        self,
        image: NDArray[Any],
        statistics: Sequence[Sequence[float]] | None,
        spacing_mm: Sequence[float] | None,
    ) -> Iterator[Piece]:
        settings = self.metadata["inference"]
        return pieces_of(
            as_read(image, self._channels),
            functools.partial(self._network, self._weights),
            self._channels,
            statistics,
            spacing_mm=spacing_mm,
            working_mm=self.metadata["task"].get("spacing_mm", ()),
            patch_size=settings["patch_size"],
            overlap=settings["overlap"],
            sigma_scale=settings["sigma_scale"],
            mirror_axes=settings["mirror_axes"],
            rotation_degrees=settings["rotation_degrees"],
            batch_size=settings["batch_size"],
            device=self._device,
        )


def as_read(image: NDArray[Any], channels: Sequence[Channel]) -> NDArray[Any]:
    """The image in the type that `experiments.predict` reads files in.

    Hounsfield units are whole and cut off at the ends of int16. Other values are float32, or int16 where that
    holds all of them; the percentiles of an image depend on it in their last bits.

    Raises:
        ValueError: as `Segmenter.labels`.
    """
    shape = ("D", "H", "W", f"{len(channels)} channels")[: 3 if len(channels) == 1 else 4]
    of_channels = image.shape[3:] in ((len(channels),), ()[: len(channels) > 1])
    if image.ndim != len(shape) or not of_channels or 0 in image.shape:
        raise ValueError(f"an image of shape {image.shape}; expected: ({', '.join(shape)})")
    if not np.isfinite(image).all():
        raise ValueError("NaN or infinite voxels")
    int16 = np.iinfo(np.int16)
    if are_hounsfield(channels):
        whole = image if image.dtype.kind in "iub" else np.rint(image)
        return np.clip(whole, int16.min, int16.max).astype(np.int16)
    values = image.astype(np.float32)
    if values.min() < int16.min or values.max() > int16.max:
        return values
    narrow = values.astype(np.int16)
    return narrow if np.array_equal(narrow, values) else values


def main(folder: Path, arguments: Sequence[str] | None = None) -> None:
    """Segments a volume that is a NumPy file, with the network in `folder`."""
    parser = argparse.ArgumentParser(description=f"Segments a volume with the network in {folder}.")
    parser.add_argument("image", help=".npy file: (D, H, W), or (D, H, W, channel); raw intensities")
    parser.add_argument("labels", help=".npy file that is written: uint8 (D, H, W)")
    parser.add_argument("--spacing_mm", type=float, nargs=3, metavar=("D", "H", "W"), help="of the image")
    given = parser.parse_args(arguments)
    segmenter = Segmenter(folder)
    image = np.load(given.image, mmap_mode="r")
    np.save(given.labels, segmenter.labels(image, spacing_mm=given.spacing_mm))
    print(
        f"{given.labels}: "
        + ", ".join(f"{i} {n}" for i, n in enumerate(segmenter.metadata["task"]["classes"]))
    )
