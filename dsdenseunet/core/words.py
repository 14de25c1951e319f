"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """`1 case`, `2 cases`; `many` where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are: `a, b, c and 4 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def by(sides: Sequence[float]) -> str:
    """`32 x 48 x 32`: the sides of a volume in voxels, or of a voxel in mm."""
    return " x ".join(f"{side:g}" if isinstance(side, float) else str(side) for side in sides)


def one_line(message: str) -> str:
    """A message of several lines as one, its parts behind semicolons."""
    return "; ".join(" ".join(line.split()) for line in message.splitlines() if line.strip())


def printable(name: str) -> str:
    r"""A file's name as text that can be encoded: `M\udcfcller` where the byte FC of Latin-1 is no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
