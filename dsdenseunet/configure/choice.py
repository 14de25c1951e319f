"""What was chosen and why, as the written config and its page say it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Patch = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Choice:
    """Fields of a config that belong together.

    Attributes:
        title: what is chosen, in a few words.
        settings: field of the config, without `config.`, to its value; those that stay as configs/base.py has
            them may be named too. `task.` fields are the task's, `model` is all of `config.model`, `phases`
            is phase to epochs, of which `phases.NAME.FIELD` are other fields.
        why: whole sentences.
    """

    title: str
    settings: Mapping[str, Any]
    why: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"title": self.title, "settings": dict(self.settings), "why": self.why}
