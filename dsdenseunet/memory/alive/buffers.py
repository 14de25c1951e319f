"""Where XLA has put each array of a compiled program, and from when to when it is there.

XLA writes both as text if it is told to dump what it compiles, for processors as for cards that are not
there: the assignment of arrays to allocations, and the schedule with the arrays' live ranges.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

_ALLOCATION = re.compile(r"^allocation \d+: size (\d+), (?:page \d+, )?(.*):$")
_VALUE = re.compile(r"^ value: <\d+ (\S+?)(\{[\d,]*\})?( \(phi\))? @\d+> \(size=(\d+),offset=(\d+)\): (.*)$")
# By what the words after an allocation's size begin with.
_KINDS = {
    "parameter": "argument",
    "output shape": "output",
    "maybe-live-out": "output",
    "preallocated-temp": "temp",
    "constant": "constant",
    "thread-local": "thread-local",
}
_STEP = re.compile(r"^    (\d+):(\S+)$")
_RANGE = re.compile(r"^    (\S+\{[\d,]*\}):(\d+)-(\d+)$")


@dataclasses.dataclass(frozen=True, slots=True)
class Array:
    """An array of the program in its place.

    Attributes:
        name: as `hlo.array_name` has it.
        instruction: that makes it.
        index: which of its results it is.
        shape: with its type, such as "f32[2,4,32,32,8]".
        bytes: that it takes.
        offset: in the allocation.
        start: the instruction that makes it, as a number of the schedule.
        used: the last one that takes it.
        end: the last one that it is there for: one before `used` where that overwrites it in its place.
        carried: whether it is what a loop passes on, whose place another array has had before.
    """

    name: str
    instruction: str
    index: int
    shape: str
    bytes: int
    offset: int
    start: int
    used: int
    end: int
    carried: bool


@dataclasses.dataclass(frozen=True)
class Allocation:
    """Memory that is asked for in one piece, and held for the whole step.

    Attributes:
        kind: "argument", "output", "temp" or "constant".
        bytes: of all of it.
        arrays: by their start; no two are in one place at one time.
    """

    kind: str
    bytes: int
    arrays: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Assignment:
    """All memory of a program.

    Attributes:
        schedule: the instructions in the order in which they run, the body of a loop once.
        allocations: all but single numbers within a kernel.
    """

    schedule: tuple[str, ...]
    allocations: tuple[Allocation, ...]

    def bytes(self, kind: str | None = None) -> int:
        """Of the allocations of a kind, by default of all."""
        return sum(one.bytes for one in self.allocations if kind in (None, one.kind))


def read(folder: Path) -> Assignment:
    """From the folder of one program's dump.

    Raises:
        RuntimeError: this XLA does not write what is read here.
    """
    return parse(_text(folder, "buffer-assignment"), _text(folder, "live-range"))


def parse(assignment: str, ranges: str) -> Assignment:
    """As `read`, from the texts of the two files."""
    schedule, live = [], {}
    for line in ranges.splitlines():
        if step := _STEP.match(line):
            schedule.append(step[2])
        elif found := _RANGE.match(line):
            live[found[1]] = int(found[2]), int(found[3])
    allocations: list[tuple[str, int, list[Array]]] = []
    for line in assignment.splitlines():
        if opened := _ALLOCATION.match(line):
            allocations.append((_kind(opened[2]), int(opened[1]), []))
        elif value := _VALUE.match(line):
            instruction, index, carried, size, offset, shape = value.groups()
            name = instruction + (index or "{}")
            # Within a kernel there are no ranges.
            if name in live:
                place = int(size), int(offset)
                number = int(index[1:-1].split(",")[0]) if index and index != "{}" else 0
                shape = re.sub(r"\{[^}]*\}", "", shape)
                start, used = live[name]
                array = Array(name, instruction, number, shape, *place, start, used, used, bool(carried))
                allocations[-1][2].append(array)
    kept = [(kind, size, arrays) for kind, size, arrays in allocations if kind != "thread-local"]
    if not schedule or not live or not any(arrays for _, _, arrays in kept):
        raise RuntimeError("XLA's dump holds no live ranges in the form that is known here")
    return Assignment(
        tuple(schedule), tuple(Allocation(kind, size, _apart(arrays)) for kind, size, arrays in kept)
    )


def _kind(words: str) -> str:
    """From "parameter 3, shape |f32[4]| at ShapeIndex {}, maybe-live-out" and the like."""
    for begins, kind in _KINDS.items():
        if words.startswith(begins):
            return kind
    raise RuntimeError(f"XLA's dump holds an allocation of a kind that is not known here: {words[:60]}")


def _apart(arrays: list[Array]) -> tuple[Array, ...]:
    """By their start; each ends before the one that overwrites it in its place begins."""
    after: dict[int, Array] = {}
    apart = []
    for one in sorted(arrays, key=lambda array: array.start, reverse=True):
        later = after.get(one.offset)
        apart.append(
            one if later is None or one.end < later.start else dataclasses.replace(one, end=later.start - 1)
        )
        after[one.offset] = one
    return tuple(reversed(apart))


def _text(folder: Path, kind: str) -> str:
    found = sorted(folder.glob(f"*-{kind}.txt"))
    if not found:
        raise RuntimeError(f"XLA's dump holds no file of {kind}")
    # Of a program that was compiled once more the last.
    return found[-1].read_text(encoding="utf-8")
