"""Result files of this project, read for a report; what is damaged in one is said in one message."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path

from dsdenseunet.errors import InputError


@contextlib.contextmanager
def complete(path: str | os.PathLike[str], command: str) -> Iterator[None]:
    """Inside, a result that is missing or of another kind becomes an `InputError` that names its file.

    Args:
        path: the file whose content is used.
        command: the command that writes it anew.
    """
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError, csv.Error) as error:
        missing = isinstance(error, (IndexError, KeyError))
        raise InputError(
            path,
            found=f"no {error} in it" if missing else str(error),
            expected=f"what {command} of this version writes",
            fix=f"run {command} again",
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
