"""How memory and time follow from a few compiled programs: laws that are linear in the number of voxels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from dsdenseunet.memory.cards import Card

Patch = tuple[int, int, int]
# Weights and momentum: each read forward, backward and by the update, the gradient written and read, both
# written back.
_PASSES_OVER_WEIGHTS = 8
# From the end of one kernel to the start of the next; an assumption until it is calibrated.
LAUNCH_S = 3e-6


@dataclasses.dataclass(frozen=True)
class Setting:
    """Settings that a user can choose.

    Attributes:
        patch: (D, H, W).
        batch: patches an update.
        accumulate: micro-batches, which run one after the other.
        remat: as `config.model.remat`.
        dtype: as `config.model.dtype`.
    """

    patch: Patch
    batch: int
    accumulate: int
    remat: str
    dtype: str

    @property
    def at_once(self) -> int:
        """Patches in memory at the same time."""
        return self.batch // self.accumulate

    @property
    def voxels(self) -> int:
        """Of the patches at once."""
        return self.at_once * math.prod(self.patch)

    def batch_bytes(self, channels: int) -> int:
        """Of one whole batch: four bytes a voxel for each channel and four for the label."""
        return self.accumulate * self.voxels * 4 * (channels + 1)

    def flags(self, model_config: Mapping[str, Any]) -> str:
        """For a shell's command line; only fields that the network has."""
        traded = (name for name in ("remat", "dtype") if name in model_config)
        return " ".join(
            [
                f"--config.data.patch_size='({','.join(map(str, self.patch))})'",
                f"--config.data.batch_size={self.batch} --config.training.accumulate={self.accumulate}",
                *(f"--config.model.{name}={getattr(self, name)}" for name in traded),
            ]
        )


@dataclasses.dataclass(frozen=True)
class Law:
    """Temporary memory and traffic of the train step of one remat and precision.

    Attributes:
        temp_fixed: bytes whatever the batch: gradients and the like.
        temp_a_voxel: bytes of activations a voxel of the input.
        traffic_fixed: bytes moved whatever the batch.
        traffic_a_voxel: bytes moved a voxel of the input.
        kernels: launched a micro-batch.
        parts: bytes of parameters, statistics and optimiser.
    """

    temp_fixed: float
    temp_a_voxel: float
    traffic_fixed: float
    traffic_a_voxel: float
    kernels: int
    parts: dict[str, int]

    @classmethod
    def through(cls, points: Mapping[int, Mapping[str, Any]]) -> Law:
        """Through the figures of `program.measure` at some numbers of voxels at once.

        From one point alone all temporary memory is taken to grow with the batch, to be on the safe side.
        """
        small, large = min(points), max(points)
        first, last = points[small], points[large]
        parts = {name: first["parts"][name] for name in ("parameters", "statistics", "optimiser")}
        temps, moved = (
            [float(read(point)) for point in (first, last)]
            for read in (lambda point: point["memory"]["temp"], lambda point: point["bytes_accessed"])
        )
        if small == large:
            moved_fixed = min(moved[0] / 2, float(_PASSES_OVER_WEIGHTS * parts["parameters"]))
            slopes = (temps[0] / small, (moved[0] - moved_fixed) / small)
        else:
            slopes = ((temps[1] - temps[0]) / (large - small), (moved[1] - moved[0]) / (large - small))
        return cls(
            temp_fixed=temps[1] - slopes[0] * large,
            temp_a_voxel=slopes[0],
            traffic_fixed=moved[1] - slopes[1] * large,
            traffic_a_voxel=slopes[1],
            kernels=last["kernels"],
            parts=parts,
        )

    def memory(self, setting: Setting, batch_bytes: int, temp: int | None = None) -> dict[str, int]:
        """Bytes on the device by what they hold, and their `total`.

        Args:
            setting: what runs.
            batch_bytes: of one whole batch; the next one is on the device too.
            temp: temporary memory by the compiler; None: by this law.
        """
        if temp is None:
            # Besides a micro-batch's own, the gradients are summed up.
            summed = self.parts["parameters"] if setting.accumulate > 1 else 0
            temp = round(self.temp_fixed + self.temp_a_voxel * setting.voxels) + summed
        activations = min(temp, round(self.temp_a_voxel * setting.voxels))
        held = {**self.parts, "batches": 2 * batch_bytes}
        held |= {"activations": activations, "workspace": temp - activations}
        return {**held, "total": sum(held.values())}

    def seconds(self, setting: Setting, card: Card, macs: int, factor: float = 1.0) -> float:
        """Of one optimiser step, as if computing, memory and launches never overlapped.

        Args:
            setting: what runs.
            card: its peak rates are taken to be reached.
            macs: multiply-adds of a step a patch.
            factor: measured over estimated seconds, from a calibration.
        """
        computing = 2 * macs * setting.batch / card.flops_per_s(setting.dtype)
        moved = self.traffic_fixed + self.traffic_a_voxel * setting.voxels
        moving = setting.accumulate * moved / card.bandwidth_bytes_per_s
        return factor * (computing + moving + setting.accumulate * self.kernels * LAUNCH_S)
