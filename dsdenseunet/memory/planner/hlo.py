"""What the text of a compiled program says: its instructions, their stages, what all of them move.

XLA's own analysis of a compiled program counts the body of a loop once; `traffic` as often as it runs.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Mapping

_BITS = {"pred": 8, "bf16": 16}
_SHAPE = re.compile(r"\b(pred|bf16|[suf]\d+)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What costs nothing by itself.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota"),
    *("partition-id", "replica-id", "opt-barrier", "copy-done", "async-done", "async-update"),
}
_CALLING = {"while", "call", "conditional"}
_NAMED = re.compile(r'op_name="([^"]*)"')
# What a scope's parts are, beside names of the network's modules.
_NOT_A_STAGE = re.compile(
    r"(jvp|transpose|jit|remat|vmap)\(.*\)|checkpoint|rematted_computation|while|body|cond"
)
_INDEX = re.compile(r"index=(\d+)")
REST, LOSS = "outside the network", "the loss"


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What a program does to the memory.

    Attributes:
        bytes: read and written by all kernels.
        kernels: how many of them run.
    """

    bytes: int
    kernels: int


@dataclasses.dataclass(frozen=True)
class Instruction:
    """Of a compiled program.

    Attributes:
        operation: such as "fusion".
        bytes: that one run of it reads and writes itself.
        operands: the arrays that it takes, as `array_name` has them.
        scopes: the names that its Python code stood in, "jit(train_step)/jvp(Network)/block1/conv/...": of
            a fusion with several results one for each, else one.
    """

    operation: str
    bytes: int
    operands: tuple[str, ...]
    scopes: tuple[str, ...]

    def scope(self, index: int = 0) -> str:
        """Of one of its results."""
        return self.scopes[index if index < len(self.scopes) else 0]


@dataclasses.dataclass(frozen=True)
class _Line:
    name: str
    operation: str
    bytes: int
    operands: tuple[str, ...]
    rest: str
    is_root: bool


def traffic(text: str) -> Traffic:
    """Of `compiled.as_text()`: every kernel reads its operands and writes its result.

    A slice that a fused kernel takes of an operand, or writes into one, counts with its own size.
    """
    computations, entry = _parse(text)
    size, kernels = _walk(computations, entry)
    return Traffic(size, kernels)


def instructions(text: str) -> dict[str, Instruction]:
    """Those of `compiled.as_text()` by their names, which a trace of the program has, too.

    Loops and calls are among them: they move nothing but what the instructions inside them do.
    """
    computations, _ = _parse(text)
    found = {}
    for inside in computations.values():
        for one in inside.values():
            still = one.operation in _FREE or one.operation in _CALLING
            moved = 0 if still else _touched(computations, inside, one)
            operands = one.operands
            if one.operation == "get-tuple-element" and (index := _INDEX.search(one.rest)):
                operands = (array_name(operands[0], int(index[1])),)
            found[one.name] = Instruction(one.operation, moved, operands, _scopes(computations, one))
    return found


def array_name(instruction: str, index: int | None = None) -> str:
    """How XLA calls the result of an instruction, or one of its results."""
    return f"{instruction}{{{'' if index is None else index}}}"


def stage_of(scope: str) -> tuple[str, bool]:
    """The stage of the network that an operation belongs to, and whether to its backward pass.

    Args:
        scope: as `Instruction` has it.
    """
    parts = scope.split(";")[0].split("/")
    network = [place for place, part in enumerate(parts) if re.search(r"jvp\(\w+\)", part)]
    backward = "transpose(" in scope
    if not network:
        return (LOSS, backward) if any("jvp(" in part for part in parts) else (REST, False)
    # The last part is the operation itself.
    names = [part for part in parts[network[0] + 1 : -1] if not _NOT_A_STAGE.fullmatch(part)]
    return names[0] if names else "the network's own", backward


def _scopes(computations: Mapping[str, Mapping[str, _Line]], one: _Line) -> tuple[str, ...]:
    """Its own; of a fusion that has none, that which most of its parts have."""
    called = re.search(r"(?:calls|to_apply|body)=%?([\w.-]+)", one.rest)
    parts = computations.get(called[1], {}) if called else {}
    names = collections.Counter(filter(None, map(_own_scope, parts.values())))
    whole = _own_scope(one) or (names.most_common(1)[0][0] if names else "")
    root = next((part for part in parts.values() if part.is_root), None)
    if one.operation != "fusion" or root is None or root.operation != "tuple":
        return (whole,)
    return tuple(_own_scope(parts[operand]) or whole for operand in root.operands)


def _own_scope(one: _Line) -> str:
    named = _NAMED.search(one.rest)
    return named[1].replace("\\'", "'") if named else ""


def _parse(text: str) -> tuple[dict[str, dict[str, _Line]], str]:
    computations: dict[str, dict[str, _Line]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if opened := _COMPUTATION.match(line):
            current = computations.setdefault(opened[2], {})
            entry = opened[2] if opened[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            root, name, shape, operation, rest = found.groups()
            arguments = rest.split("), ", 1)[0]
            operands = tuple(re.findall(r"%([\w.-]+)", arguments))
            if operation == "parameter":
                operands = (arguments.rstrip(")"),)
            current[name] = _Line(name, operation, _size(shape), operands, rest, bool(root))
    return computations, entry


def _size(shape: str) -> int:
    total = 0
    for kind, dimensions in _SHAPE.findall(shape):
        bits = _BITS.get(kind) or int(kind[1:])
        total += math.prod(int(d) for d in dimensions.split(",") if d) * bits // 8
    return total


def _walk(computations: Mapping[str, Mapping[str, _Line]], name: str) -> tuple[int, int]:
    size = kernels = 0
    inside = computations[name]
    for one in inside.values():
        called = re.findall(r"(?:calls|to_apply|body|true_computation)=%?([\w.-]+)", one.rest)
        if one.operation in ("while", "call"):
            trips = int(found[1]) if (found := _TRIPS.search(one.rest)) else 1
            more, launched = _walk(computations, called[-1])
            size, kernels = size + trips * more, kernels + trips * launched
        elif one.operation not in _FREE:
            size, kernels = size + _touched(computations, inside, one), kernels + 1
    return size, kernels


def _touched(
    computations: Mapping[str, Mapping[str, _Line]],
    inside: Mapping[str, _Line],
    one: _Line,
) -> int:
    """Bytes that one run of a kernel reads and writes."""
    read = [inside[operand].bytes if operand in inside else 0 for operand in one.operands]
    written = one.bytes
    if one.operation == "fusion" and (called := re.search(r"calls=%?([\w.-]+)", one.rest)):
        read, written = _fused(computations[called[1]], read, written)
    return sum(read) + written


def _fused(body: Mapping[str, _Line], read: list[int], written: int) -> tuple[list[int], int]:
    """Bytes of a fusion's operands and result, as far as it touches them."""
    read = list(read)
    root = next(one for one in body.values() if one.is_root)
    in_place = root.operands[0] if root.operation == "dynamic-update-slice" else None
    if in_place is not None:
        written = body[root.operands[1]].bytes
    for one in body.values():
        if one.operation != "parameter" or not one.operands[0].isdigit():
            continue
        users = [user for user in body.values() if one.name in user.operands and user is not one]
        sliced = [
            user.bytes for user in users if user.operation == "dynamic-slice" and user.operands[0] == one.name
        ]
        if one.name == in_place and len(users) == 1:
            read[int(one.operands[0])] = 0
        elif users and len(sliced) == len(users):
            read[int(one.operands[0])] = sum(sliced)
    return read, written
