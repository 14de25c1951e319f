"""Result files of this project, read for a report; damage to one of them becomes one message."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError


@contextlib.contextmanager
def complete(path: str | os.PathLike[str], fix: str) -> Iterator[None]:
    """Turns anything that a result file lacks or holds in another form into one `InputError` that names it.

    Args:
        path: the file whose content is read or used.
        fix: what writes it anew.
    """
    expected = "what this version writes"
    try:
        yield
    except InputError as error:
        if error.where != os.fspath(path):
            raise
        raise InputError(path, found=error.found, expected=expected, fix=fix) from error
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError, csv.Error) as error:
        missing = isinstance(error, (IndexError, KeyError))
        raise InputError(
            path,
            found=f"no {error} in it" if missing else str(error),
            expected=expected,
            fix=fix,
        ) from error


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by its headings.

    Raises:
        ValueError: not UTF-8, or a row of another length than the headings'.
        csv.Error: quotes that do not close.
        OSError: it cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} is not as long as the headings")
    return rows


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a file that has one JSON object a line.

    Raises:
        ValueError: not UTF-8, or a line that is no JSON object; NaN and infinity are none.
        OSError: it cannot be read.
    """
    lines = []
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        line = json.loads(text, parse_constant=files.refuse_constant)
        if not isinstance(line, dict):
            raise ValueError(f"line {number} is no object")
        lines.append(line)
    return lines


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a phase is its name, where before schema 3 it was its number.

    Raises:
        ValueError, OSError: as `read_lines`.
        KeyError: a line without a phase.
    """
    lines = read_lines(path)
    return [{**line, "phase": _name(line["phase"])} for line in lines]


def _name(phase: str | int) -> str:
    return f"phase{phase}" if isinstance(phase, int) else phase


def finite(value: float | str) -> float:
    """A number from JSON or CSV.

    Raises:
        ValueError: no number, NaN or infinity.
        TypeError: of another kind.
    """
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} where a number belongs")
    return number
