"""A finding of the data doctor: a fault of a file, how bad it is, and how it can be repaired."""

from __future__ import annotations

import dataclasses
from pathlib import Path

# Errors make a case useless or wrong for training; warnings may be meant.
SEVERITIES = ("error", "warning")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fault of one file.

    Attributes:
        severity: "error" or "warning".
        check: short name of the check, e.g. "label-shifted".
        path: the file.
        found: what was found.
        repair: what to do about it.
        repairable: whether a repaired copy can be written without asking anyone.
    """

    severity: str
    check: str
    path: Path
    found: str
    repair: str
    repairable: bool = False

    def __str__(self) -> str:
        mark = " [--repair does it]" if self.repairable else ""
        head = f"{self.severity:<8}{self.check:<20}{self.path}"
        return f"{head}\n  found:  {self.found}\n  repair: {self.repair}{mark}"


class Findings(list[Finding]):
    """The findings of one file."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def add(self, severity: str, check: str, found: str, repair: str, repairable: bool = False) -> None:
        """Appends a finding of this file."""
        self.append(Finding(severity, check, self._path, found, repair, repairable))

    def add_non_finite(self, count: int, repair: str, repairable: bool = False, of: str = "") -> None:
        """Appends that there are NaN or infinite voxels, if there are; `of` says of what."""
        if count:
            self.add("error", "nan", f"{of}{count} NaN or infinite voxels", repair, repairable)
