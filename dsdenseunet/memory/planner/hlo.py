"""Memory traffic and number of kernels of a compiled program, from its text.

XLA's own analysis of a compiled program counts the body of a loop once; here it counts as often as it runs.
"""

from __future__ import annotations

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
class _Instruction:
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


def _parse(text: str) -> tuple[dict[str, dict[str, _Instruction]], str]:
    computations: dict[str, dict[str, _Instruction]] = {}
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
            current[name] = _Instruction(name, operation, _size(shape), operands, rest, bool(root))
    return computations, entry


def _size(shape: str) -> int:
    total = 0
    for kind, dimensions in _SHAPE.findall(shape):
        bits = _BITS.get(kind) or int(kind[1:])
        total += math.prod(int(d) for d in dimensions.split(",") if d) * bits // 8
    return total


def _walk(computations: Mapping[str, Mapping[str, _Instruction]], name: str) -> tuple[int, int]:
    size = kernels = 0
    inside = computations[name]
    for one in inside.values():
        called = re.findall(r"(?:calls|to_apply|body|true_computation)=%?([\w.-]+)", one.rest)
        if one.operation in ("while", "call"):
            trips = int(found[1]) if (found := _TRIPS.search(one.rest)) else 1
            more, launched = _walk(computations, called[-1])
            size, kernels = size + trips * more, kernels + trips * launched
        elif one.operation not in _FREE:
            read = [inside[operand].bytes if operand in inside else 0 for operand in one.operands]
            written = one.bytes
            if one.operation == "fusion":
                read, written = _fused(computations[called[0]], read, written)
            size, kernels = size + sum(read) + written, kernels + 1
    return size, kernels


def _fused(body: Mapping[str, _Instruction], read: list[int], written: int) -> tuple[list[int], int]:
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
