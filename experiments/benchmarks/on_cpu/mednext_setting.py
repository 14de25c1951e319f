"""What the parts of MedNeXt's benchmark share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from configs import networks
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import by, counted

# (batch, D, H, W).
Shape = tuple[int, int, int, int]
# The plain U-Net halves five times.
_STRIDE = 32


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is measured, and how often.

    Attributes:
        kernels: sides of MedNeXt S's kernels.
        shapes: of the networks' input; convolutions are those of the first.
        cores: how many, each number measured; convolutions and rates with the first.
        rounds: how often the sides take turns at training steps; at passes forward twice as often.
        folder: for temporary files.
        say: told of each result as it comes.
        model: fields that the networks have otherwise, by family, for tests.
    """

    kernels: tuple[int, ...]
    shapes: tuple[Shape, ...]
    cores: tuple[int, ...]
    rounds: int
    folder: Path
    say: Callable[[str], None]
    model: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def config(self, name: str, shape: Shape) -> dict[str, Any]:
        """A variant of configs/networks.py by the common recipe, on this input, as plain values."""
        config = networks.get_config(name)
        config.model.update(self.model.get(config.model.family, {}))
        config.data.batch_size, config.data.patch_size = shape[0], shape[1:]
        return config.to_dict()

    def mednext(self, kernel: int, shape: Shape) -> dict[str, Any]:
        """`config` of MedNeXt S."""
        return self.config(f"mednext_s_k{kernel}", shape)


def numbers(flag: str, words: Sequence[str], allowed: Container[int]) -> tuple[int, ...]:
    """The values of a flag that is a list of numbers.

    Raises:
        InputError: one is not `allowed`, or there is none.
    """
    if not words or not all(word.isdecimal() and int(word) in allowed for word in words):
        fix = "see python -m experiments.benchmarks.mednext --help"
        raise InputError(flag, found=",".join(words) or "nothing", expected=f"some of {allowed}", fix=fix)
    return tuple(map(int, words))


def shapes(flag: str, words: Sequence[str]) -> tuple[Shape, ...]:
    """The values of a flag that is a list of inputs, such as 1x64x64x64.

    Raises:
        InputError: one that is no batch of patches that both networks take, or there is none.
    """
    found = [[int(part) for part in word.split("x") if part.isdecimal()] for word in words]
    if not found or not all(len(shape) == 4 and _fits(shape) for shape in found):
        raise InputError(
            flag,
            found=",".join(words) or "nothing",
            expected=f"BATCHxDxHxW, sides that are multiples of {_STRIDE}",
            fix=f"{flag}=1x64x64x64",
        )
    return tuple((batch, depth, height, width) for batch, depth, height, width in found)


def _fits(shape: Sequence[int]) -> bool:
    return shape[0] > 0 and all(side > 0 and side % _STRIDE == 0 for side in shape[1:])


def in_words(shape: Shape, cores: int) -> str:
    """Such as "1 x 64 x 64 x 64, 1 core"."""
    return f"{by(shape)}, {counted(cores, 'core')}"
