"""Checks of single config fields: each says what was expected if a value does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dsdenseunet.core.errors import InputError

# Returns what was expected if the value does not fit, else None.
Check = Callable[[Any], str | None]


# What arrays of labels and random generators hold: larger numbers would wrap around or fail much later.
INT32 = 2**31 - 1


def integer(low: int, high: int = INT32) -> Check:
    """An integer from `low` to `high`."""
    expected = f"an integer >= {low}" + (f" and <= {high}" if high < INT32 else "")
    return lambda value: None if is_integer(value) and low <= value <= high else expected


def number(
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Check:
    """A finite number: `low` and `high` belong to the range, `above` and `below` do not."""
    bounds = ((">=", low), (">", above), ("<=", high), ("<", below))
    wanted = " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)
    expected = f"a finite number {wanted}".rstrip()

    def check(value: Any) -> str | None:
        fits = (
            is_number(value)
            and (low is None or value >= low)
            and (above is None or value > above)
            and (high is None or value <= high)
            and (below is None or value < below)
        )
        return None if fits else expected

    return check


def odd(value: Any) -> str | None:
    """An odd integer of at least 1."""
    return None if is_integer(value) and value > 0 and value % 2 else "an odd integer >= 1"


def choice(*options: str) -> Check:
    """One of some texts."""
    return lambda value: (
        None if isinstance(value, str) and value in options else "one of " + ", ".join(options)
    )


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return None if isinstance(value, str) and value else "a text that is not empty"


def truth(value: Any) -> str | None:
    """True or False."""
    return None if isinstance(value, bool) else "True or False"


def sequence(element: Check, length: int | None = None, shortest: int = 0) -> Check:
    """A tuple or list of values that each fit `element`, of one length or of a shortest one."""
    expected = f"{length} values" if length is not None else "a tuple"
    if length is None and shortest:
        expected = f"a tuple of at least {shortest} value(s)"

    def check(value: Any) -> str | None:
        if not isinstance(value, tuple | list) or len(value) < shortest:
            return expected
        if length is not None and len(value) != length:
            return expected
        problems = [problem for item in value if (problem := element(item))]
        return f"{expected}, each {problems[0]}" if problems else None

    return check


def is_integer(value: Any) -> bool:
    """Whether it is an int; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite int or float; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to a wrong one, if there is one."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def refusal(name: str, found: str, expected: str) -> InputError:
    """The error for a field that does not fit, in a command that takes `--config.FIELD=VALUE`."""
    return InputError(
        f"config.{name}",
        found=found,
        expected=expected,
        fix=f"correct it in the config's file or with --config.{name}=...",
    )
