"""A case that failed: every command records it in this form and continues with the others."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from dsdenseunet.core import files

NAME = "failures.json"
# Exit status of a command that has finished all other cases.
EXIT_STATUS = 1


@dataclasses.dataclass(frozen=True)
class Failure:
    """A case that failed, and why.

    Attributes:
        scan: the file that the case is known by.
        stage: what was being done, in a word or two.
        error: the kind of error, a class's name.
        message: what it says.
    """

    scan: str
    stage: str
    error: str
    message: str

    @classmethod
    def of(cls, scan: str | os.PathLike[str], stage: str, error: BaseException) -> Failure:
        """Records an error; one without a message is recorded by its class."""
        kind = type(error).__name__
        return cls(os.fspath(scan), stage, kind, str(error) or kind)


def write(path: str | os.PathLike[str], failures: Iterable[Failure]) -> None:
    """Writes failures as a JSON list; where there are none, an older list is removed."""
    rows = [dataclasses.asdict(failure) for failure in failures]
    if rows:
        files.write_json(path, rows)
    else:
        Path(path).unlink(missing_ok=True)
