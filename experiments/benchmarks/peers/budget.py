"""What every contender of a comparison may spend: seconds of wall time, steps, or images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.training import phases, stages

SECONDS, STEPS, IMAGES = "s", "steps", "images"
_TEXT = re.compile(r"(\d+(?:\.\d+)?)(s|steps|images)")


class Budget(NamedTuple):
    """So much of one kind; written as `300s`, `2000steps`, `64000images`.

    Attributes:
        amount: of the kind; images are steps times patches a step.
        kind: "s", "steps" or "images".
    """

    amount: float
    kind: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget that `text` says.

        Raises:
            InputError: another form, nothing, or a part of a step or of an image.
        """
        match = _TEXT.fullmatch(text)
        amount = float(match[1]) if match else 0.0
        if not match or not amount or (match[2] != SECONDS and amount != int(amount)):
            raise InputError(
                "--budget",
                found=text or "nothing",
                expected="seconds, steps or images: a number that is not 0 and its unit",
                fix="for example --budget=300s, --budget=2000steps or --budget=64000images",
            )
        return cls(amount, match[2])

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Budget:
        """The budget of a heat's result; older ones have minutes."""
        return cls.parse(result["budget"]) if "budget" in result else cls(60 * result["minutes"], SECONDS)

    @property
    def text(self) -> str:
        """As `parse` takes it."""
        return f"{self.amount:.15g}{self.kind}"

    @property
    def in_words(self) -> str:
        """For tables, and for the names of the heats' files."""
        return f"{self.amount / 60:g} min" if self.kind == SECONDS else f"{self.amount:.15g} {self.kind}"

    def epochs(self, config: ConfigDict, who: str) -> dict[str, int]:
        """Epochs of each phase that is trained, which together make up steps or images.

        They are as near to the config's proportions as whole epochs can be, and at least one each.

        Args:
            config: of the contender, one network or a cascade.
            who: its name, for the message.

        Returns:
            The epochs by the fields that say them, such as `phases.train.epochs`.

        Raises:
            InputError: not a whole number of epochs, or fewer than there are phases.
        """
        sizes: dict[str, int] = {}
        shares: dict[str, int] = {}
        for stage, own in stages.configs(config).items():
            for name in phases.selected(own):
                field = stages.dotted(stage, f"phases.{name}.epochs")
                sizes[field] = own.training.steps_per_epoch
                sizes[field] *= own.data.batch_size if self.kind == IMAGES else 1
                shares[field] = max(int(own.phases[name].epochs), 1) * sizes[field]
        given, total = dict.fromkeys(sizes, 1), sum(shares.values())
        rest = int(self.amount) - sum(sizes.values())
        while fitting := [field for field in sizes if sizes[field] <= rest]:
            # To the one that most epochs are missing of.
            most = max(
                fitting, key=lambda field: self.amount * shares[field] / total / sizes[field] - given[field]
            )
            given[most] += 1
            rest -= sizes[most]
        if rest:
            longest = ", ".join(f"{size}" for size in dict.fromkeys(sizes.values()))
            raise InputError(
                f"--budget={self.text}",
                found=f"{self.amount:g} {self.kind} for {who}, whose epochs have {longest}",
                expected=f"a whole number of epochs, and one at least for each of {', '.join(sizes)}",
                fix=f"--budget={int(self.amount) - rest}{self.kind}, or another training.steps_per_epoch",
            )
        return given
