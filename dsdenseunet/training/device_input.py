"""Batches on the devices: augmentation that the host leaves to them, and the next batch sent ahead."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dsdenseunet.data import warp
from dsdenseunet.data.appearance import Appearance
from dsdenseunet.data.pipeline import BatchIterator
from dsdenseunet.ops import resample
from dsdenseunet.ops.intensity import normalise
from dsdenseunet.runtime import parallel

HostBatch = Mapping[str, np.ndarray]
DeviceBatch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation and normalisation of a batch of boxes: the batch that the host would have made of them.

    Attributes:
        patch_size: (D, H, W).
        warp: random rotation, scaling and elastic deformation, None for none; boxes are then
            `data.warp.cut_box`'s.
        appearance: random changes of intensities, None for none.
    """

    patch_size: tuple[int, int, int]
    warp: warp.Warp | None = None
    appearance: Appearance | None = None

    def __call__(self, boxes: Mapping[str, jax.Array]) -> DeviceBatch:
        """The batch that `train_step` takes, made of what the host's sampler returns, stacked."""

        def one(box: Mapping[str, jax.Array]) -> DeviceBatch:
            image_DHWC, labels_DHW = self._sampled(box)
            if self.appearance is not None:
                image_DHWC = self.appearance.apply(jnp, image_DHWC, box)
            return {"image": image_DHWC, "labels": labels_DHW}

        return jax.vmap(one)(boxes)

    def _sampled(self, box: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        if self.warp is not None:
            image_DHWC = normalise(box["image"], box["scaling"])
            outside = box["scaling"][:, 4]
            return warp.sample(jnp, box, image_DHWC, self.patch_size, outside, self.warp.elastic)
        image_DHWC = resample.sample_image(
            box["image"], box["below"], box["weight"], box["nearest"], self.patch_size, box["scaling"]
        )
        return image_DHWC, resample.sample_labels(box["labels"], box["nearest"], self.patch_size)


class DeviceInput:
    """The stream of training batches, of which the next one can be sent to the devices ahead of its step.

    Args:
        iterator: of host batches; closed with this.
        mesh: where they go.
        augment: run on the devices (None: the host has done it).
    """

    def __init__(self, iterator: BatchIterator, mesh: Mesh, augment: Augment | None):
        self._iterator = iterator
        self._mesh = mesh
        self._augment = None if augment is None else parallel.compile_input(augment, mesh)
        self._ahead: tuple[dict[str, Any], HostBatch, DeviceBatch] | None = None

    def take(self) -> tuple[HostBatch, DeviceBatch]:
        """The next batch, as it left the host, and on the devices: "image" and "labels"."""
        self.send_next()
        assert self._ahead is not None
        (_, batch, arrays), self._ahead = self._ahead, None
        return batch, arrays

    def send_next(self) -> None:
        """Reads the next batch and starts copying it to the devices, unless that is done; never waits."""
        if self._ahead is not None:
            return
        state = self._iterator.get_state()
        batch = next(self._iterator)
        arrays = parallel.place_batch(self._mesh, {name: batch[name] for name in batch if name != "case"})
        self._ahead = state, batch, arrays if self._augment is None else self._augment(arrays)

    def get_state(self) -> dict[str, Any]:
        """The iterator's state as of the batches taken: one that was sent ahead is read again."""
        return self._iterator.get_state() if self._ahead is None else self._ahead[0]

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a `get_state()`."""
        self._ahead = None
        self._iterator.set_state(state)

    def close(self) -> None:
        """Closes the iterator."""
        self._ahead = None
        self._iterator.close()
