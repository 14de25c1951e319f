"""Which settings fit a card: few compilations, laws between them, the recommended row compiled itself."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.memory.cards import Card
from dsdenseunet.memory.description import describe
from dsdenseunet.memory.planner.compiler import CompilationError, Compiler
from dsdenseunet.memory.planner.law import Law, Patch, Setting
from dsdenseunet.models import registry
from dsdenseunet.training.settings import config_from_json, config_to_json

# Until predicted and measured peaks have been compared on the card.
HEADROOM = 0.10
# A larger batch must be faster by this share to be recommended.
_WORTH = 0.02


@dataclasses.dataclass(frozen=True)
class Space:
    """The space that is searched.

    Attributes:
        available: bytes that the allocator has.
        headroom: share of a prediction that must be left free on top of it.
        patches: the config's own first.
        remats: of `config.model.remat`.
        dtypes: of `config.model.dtype`.
        batches: patches at once, ascending.
        verifications: how often the leading row may be compiled and found to be another.
    """

    available: float
    headroom: float
    patches: Sequence[Patch]
    remats: Sequence[str]
    dtypes: Sequence[str]
    batches: Sequence[int]
    verifications: int = 4

    def most_compilations(self) -> int:
        """Programs of the search itself."""
        return len(self.remats) * len(self.dtypes) + self.verifications


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting and what it needs; `status` is compiled, estimated, or why it is not known."""

    setting: Setting
    status: str
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    fits: bool = False

    @property
    def voxels_per_s(self) -> float:
        """Trained on, a second; 0 for a row that is not known."""
        return self.setting.accumulate * self.setting.voxels / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        step = self.seconds
        return {
            **dataclasses.asdict(self.setting),
            "patch": list(self.setting.patch),
            "status": self.status,
            "fits": self.fits,
            "memory": self.memory,
            "seconds_per_step": float(f"{step:.4g}"),
            "patches_per_s": float(f"{self.setting.batch / step:.4g}") if step else 0.0,
            "megavoxels_per_s": float(f"{self.voxels_per_s / 1e6:.4g}"),
        }


def with_setting(config: ConfigDict, setting: Setting) -> ConfigDict:
    """A copy of the config with these settings."""
    changed = config_from_json(config_to_json(config))
    changed.data.patch_size, changed.data.batch_size = setting.patch, setting.batch
    changed.training.accumulate = setting.accumulate
    changed.model.update(
        {name: getattr(setting, name) for name in ("remat", "dtype") if name in changed.model}
    )
    return changed


def macs_by_remat(config: ConfigDict, patch: Patch) -> dict[str, int]:
    """Multiply-adds of a training step a patch, by remat.

    The backward pass computes as much again for the maps and for the weights; the network says the stages
    whose forward pass it repeats.
    """
    stages = describe(config.model, patch).stages
    forward = sum(stage.macs for stage in stages)
    return {
        remat: 3 * forward + sum(stage.macs for stage in stages if stage.name.startswith(repeated))
        for remat, repeated in registry.build(config.model).remats.items()
    }


class Points:
    """The settings of a config that the compiler was asked about, and what follows for others from them.

    Args:
        config: what the settings do not say.
        compiler: gives figures of programs.
        say: told of what failed.

    Attributes:
        known: the compiler's figures.
        failures: settings for which it gave none, and why.
    """

    def __init__(self, config: ConfigDict, compiler: Compiler, say: Callable[[str], None]):
        self._config, self._compiler, self._say = config, compiler, say
        self.known: dict[Setting, dict[str, Any]] = {}
        self.failures: dict[Setting, str] = {}

    def compile(self, setting: Setting) -> bool:
        """Adds the compiler's figures of a setting; False where they could not be had."""
        if setting not in self.known and setting not in self.failures:
            try:
                self.known[setting] = self._compiler.figures("train", with_setting(self._config, setting))
            except CompilationError as error:
                self.failures[setting] = str(error)
                self._say(f"failed    {error}")
        return setting in self.known

    def law(self, remat: str, dtype: str) -> Law | None:
        """Through what was compiled with these; None where nothing was."""
        points = {
            setting.voxels: figures
            for setting, figures in self.known.items()
            if (setting.remat, setting.dtype, setting.accumulate) == (remat, dtype, 1)
        }
        return Law.through(points) if points else None

    def row(self, setting: Setting, law: Law, available: float, headroom: float) -> Row:
        """What a setting needs, without its seconds.

        Args:
            setting: compiled or not.
            law: of its remat and precision.
            available: bytes that the allocator has.
            headroom: share of a prediction that must be left free on top of it.
        """
        figures = self.known.get(setting)
        batch_bytes = setting.batch_bytes(self._config.model.in_channels)
        memory = law.memory(setting, batch_bytes, figures["memory"]["temp"] if figures else None)
        fits = memory["total"] * (1 + headroom) <= available
        return Row(setting, "compiled" if figures else "estimated", memory, fits=fits)


class Search:
    """Rows of a config on a card.

    Args:
        config: what is not searched.
        compiler: gives figures of programs.
        card: its rates give the estimated times.
        space: what is searched.
        say: told of what failed.
        factor: measured over estimated seconds, from a calibration.
    """

    def __init__(
        self,
        config: ConfigDict,
        compiler: Compiler,
        card: Card,
        space: Space,
        say: Callable[[str], None],
        factor: float = 1.0,
    ):
        self._config, self._card, self._space, self._factor = config, card, space, factor
        self.points = Points(config, compiler, say)
        self._macs = {patch: macs_by_remat(config, patch) for patch in space.patches}

    def run(self) -> Row | None:
        """Compiles what is needed; returns the recommended row, compiled itself, if any fits."""
        for remat, dtype in itertools.product(self._space.remats, self._space.dtypes):
            self.points.compile(Setting(self._space.patches[0], 1, 1, remat, dtype))
        for _ in range(self._space.verifications):
            best = self.recommended()
            if best is None or best.status == "compiled":
                break
            self.points.compile(best.setting)
        return self.recommended(only_compiled=True)

    def rows(self) -> list[Row]:
        """All settings, the fastest by estimate first; what is not known last."""
        rows = [Row(setting, f"failed: {reason}") for setting, reason in self.points.failures.items()]
        for remat, dtype in itertools.product(self._space.remats, self._space.dtypes):
            law = self.points.law(remat, dtype)
            if law is None:
                continue
            settings = {
                Setting(patch, batch, 1, remat, dtype)
                for patch, batch in itertools.product(self._space.patches, self._space.batches)
            }
            settings |= {one for one in self.points.known if (one.remat, one.dtype) == (remat, dtype)}
            settings |= self._accumulated(law, remat, dtype)
            rows += [self._row(setting, law) for setting in settings if setting not in self.points.failures]
        return sorted(rows, key=lambda row: (-row.voxels_per_s, row.setting.batch, row.setting.remat))

    def row(self, setting: Setting) -> Row:
        """Of a setting that was compiled."""
        law = self.points.law(setting.remat, setting.dtype)
        assert law is not None
        return self._row(setting, law)

    def recommended(self, only_compiled: bool = False) -> Row | None:
        """The fastest that fits, with the config's own patch if any does; of equals the smaller batch."""
        fitting = [row for row in self.rows() if row.fits and (row.status == "compiled" or not only_compiled)]
        for patch in self._space.patches:
            rows = [row for row in fitting if row.setting.patch == patch and row.setting.accumulate == 1]
            if rows:
                enough = max(row.voxels_per_s for row in rows) * (1 - _WORTH)
                return min(
                    (row for row in rows if row.voxels_per_s >= enough),
                    key=lambda row: (row.setting.batch, -row.voxels_per_s),
                )
        return None

    def _accumulated(self, law: Law, remat: str, dtype: str) -> set[Setting]:
        """The config's own batch, cut into as few micro-batches as fit."""
        batch, patch = self._config.data.batch_size, self._space.patches[0]
        for parts in (n for n in range(2, batch + 1) if batch % n == 0):
            setting = Setting(patch, batch, parts, remat, dtype)
            if self._row(setting, law).fits:
                return {setting}
        return set()

    def _row(self, setting: Setting, law: Law) -> Row:
        macs = self._macs[setting.patch][setting.remat]
        return dataclasses.replace(
            self.points.row(setting, law, self._space.available, self._space.headroom),
            seconds=law.seconds(setting, self._card, macs, self._factor),
        )
