"""Graphics cards: memory, rates, and what the compiler is told of each; the figures are in gpus/."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources

from dsdenseunet.core.errors import InputError

_FOLDER = resources.files(__package__).joinpath("gpus")


@dataclasses.dataclass(frozen=True)
class Card:
    """One card, after its data sheet.

    Attributes:
        name: short, as on the command line.
        device_kind: as the driver calls it.
        memory_bytes: all of it.
        usable_share: of the memory, what the allocator can be given; an assumption.
        bandwidth_bytes_per_s: of the memory.
        peak_flops: operations a second by precision: `float32`, `bfloat16`, and `tf32` where there is any.
        source: where the figures are from.
    """

    name: str
    device_kind: str
    memory_bytes: int
    usable_share: float
    bandwidth_bytes_per_s: float
    peak_flops: dict[str, float]
    source: str

    def target(self) -> str:
        """The card as XLA's `GpuTargetConfigProto`, in text form."""
        return _FOLDER.joinpath(f"{self.name}.textproto").read_text(encoding="utf-8")

    def flops_per_s(self, dtype: str) -> float:
        """Peak rate of matrix products of `dtype` inputs; float32 ones run as TF32 where the card has it."""
        if dtype == "float32":
            return self.peak_flops.get("tf32", self.peak_flops["float32"])
        return self.peak_flops[dtype]


@functools.cache
def cards() -> dict[str, Card]:
    """All cards, by name."""
    text = _FOLDER.joinpath("cards.json").read_text(encoding="utf-8")
    return {
        name: Card(
            name=name,
            device_kind=row["device_kind"],
            memory_bytes=row["memory_bytes"],
            usable_share=row["usable_share"],
            bandwidth_bytes_per_s=row["bandwidth_gb_per_s"] * 1e9,
            peak_flops={dtype: rate * 1e12 for dtype, rate in row["peak_tflops"].items()},
            source=row["source"],
        )
        for name, row in json.loads(text)["cards"].items()
    }


def card(name: str) -> Card:
    """The card of that name, short or as the driver has it.

    Raises:
        InputError: there is none.
    """
    found = cards().get(name) or card_of_kind(name)
    if found is None:
        raise InputError(
            "--device",
            found=name,
            expected=f"one of {', '.join(cards())}",
            fix="name the nearest card, or add yours to dsdenseunet/memory/gpus/",
        )
    return found


def card_of_kind(device_kind: str) -> Card | None:
    """The card that a driver calls `device_kind`; None for one that is not known here."""
    return next((card for card in cards().values() if card.device_kind == device_kind), None)
