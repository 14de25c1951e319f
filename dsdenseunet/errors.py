"""The one error that a user's input can raise."""

from __future__ import annotations

import os
from typing import Any


class InputError(ValueError):
    """Bad input: says where, what was found, what was expected and what to do.

    Entry points print it without a traceback and exit with status 2 (see `cli.run`).
    """

    def __init__(self, where: str | os.PathLike[str], *, found: str, expected: str, fix: str):
        super().__init__(where, found, expected, fix)
        self.where = os.fspath(where)
        self.found = found
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders pickled; the default would pass the fields by position.
        return _rebuild, (type(self), self.where, self.found, self.expected, self.fix)

    def __str__(self) -> str:
        return f"{self.where}\n  found:    {self.found}\n  expected: {self.expected}\n  to do:    {self.fix}"


def _rebuild(kind: type[InputError], where: str, found: str, expected: str, fix: str) -> InputError:
    return kind(where, found=found, expected=expected, fix=fix)
