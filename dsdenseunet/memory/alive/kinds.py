"""What each array of a training step is: its kind, and the stage of the network that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dsdenseunet.memory.alive.buffers import Allocation, Array, Assignment
from dsdenseunet.memory.planner.hlo import LOSS, REST, Instruction, array_name, stage_of

KEPT, PASSING, GRADIENT = "kept activations", "other activations", "gradients"
PARAMETER, OPTIMIZER, BATCH, WORKSPACE = "parameters", "optimizer", "batch", "workspace"
# What each kind is, in the order of tables and pictures.
KINDS = {
    PARAMETER: "weights and running statistics, old or new, and copies of them",
    OPTIMIZER: "its state, and the run's counters",
    BATCH: "images and labels, and micro-batches of them",
    KEPT: "made in the forward pass, there until the backward pass has used them",
    PASSING: "for the next operations only, of the forward pass or computed again in the backward pass",
    GRADIENT: "with respect to maps and to weights",
    WORKSPACE: "scratch memory of operations, and all else",
}
_MODULE = re.compile(r"\['([^']+)'\]")
_STATE = (PARAMETER, OPTIMIZER)
_PASSED_ON = ("bitcast", "get-tuple-element", "copy-done", "async-done", "opt-barrier")


class Label(NamedTuple):
    """Kind and stage of an array."""

    kind: str
    stage: str


def labels(instructions: Mapping[str, Instruction], assignment: Assignment) -> dict[str, Label]:
    """Of the arrays of a training step, by their names.

    Args:
        instructions: of the program's text, by name.
        assignment: of its arrays.
    """
    reader = _Reader(instructions, assignment)
    groups = [(one, group) for one in assignment.allocations for group in _together(instructions, one.arrays)]
    # What a label follows from is labelled before.
    for allocation, group in sorted(groups, key=lambda pair: reader.speaker(pair[1]).start):
        label = reader.label(allocation, group)
        reader.known |= dict.fromkeys((array.name for array in group), label)
    return reader.known


def _together(instructions: Mapping[str, Instruction], arrays: Sequence[Array]) -> Iterator[list[Array]]:
    """What a loop carries is one array with what comes before and after it in its place."""
    open_: dict[int, list[Array]] = {}
    for array in arrays:
        before = open_.get(array.offset)
        if before and before[-1].end == array.start - 1:
            last = instructions.get(before[-1].instruction)
            enters = before[-1].carried and last is not None and last.operation == "parameter"
            if array.carried or enters:
                before.append(array)
                continue
        if before:
            yield before
        open_[array.offset] = [array]
    yield from open_.values()


def _directions(instructions: Mapping[str, Instruction], schedule: Sequence[str]) -> list[bool]:
    """Whether each place of the schedule belongs to the backward pass; one without a scope as the next."""
    backward = [False]
    for name in reversed(schedule):
        scope = instructions[name].scope() if name in instructions else ""
        backward.append("transpose(" in scope if "jit(" in scope else backward[-1])
    return backward[::-1]


class _Reader:
    """Labels groups of arrays by what it knows of those before them."""

    def __init__(self, instructions: Mapping[str, Instruction], assignment: Assignment):
        self._instructions = instructions
        self._end = len(assignment.schedule)
        self._backward = _directions(instructions, assignment.schedule)
        scopes = (one.scope() for one in instructions.values())
        found = (_MODULE.search(scope) for scope in scopes if scope.startswith("state.params"))
        self._modules = {module[1] for module in found if module}
        self._sizes = {one.name: one.bytes for part in assignment.allocations for one in part.arrays}
        self.known: dict[str, Label] = {}

    def speaker(self, group: Sequence[Array]) -> Array:
        """The array by which a group is labelled: one of the network if there is one."""
        made = [array for array in group if not array.carried]
        stages = (stage_of(self._scope(array))[0] for array in made)
        inside = [array for array, stage in zip(made, stages) if stage not in (REST, LOSS)]
        return inside[0] if inside else (made or group)[-1]

    def label(self, allocation: Allocation, group: Sequence[Array]) -> Label:
        array, end, used = self.speaker(group), group[-1].end, group[-1].used
        if argument := self._argument(array):
            return argument
        if allocation.kind == "argument" and end >= self._end:
            # What the step returns in the place of what it was given.
            return self.known[allocation.arrays[0].name]
        scope = self._scope(array)
        stage, backward = stage_of(scope)
        if self._is_scratch(array):
            return Label(WORKSPACE, stage)
        taken = self._operands(array)
        if taken and (copied := self._copied(array, taken)):
            return copied
        if stage == REST:
            return self._outside(array, taken)
        if "rematted_computation" in scope:
            return Label(PASSING, stage)
        if backward:
            return Label(GRADIENT, stage)
        return Label(KEPT if self._backward[used] else PASSING, stage)

    def _scope(self, array: Array) -> str:
        one = self._instructions.get(array.instruction)
        return one.scope(array.index) if one else ""

    def _argument(self, array: Array) -> Label | None:
        one = self._instructions.get(array.instruction)
        if one is None or one.operation != "parameter":
            return None
        scope = one.scope()
        if scope.startswith("batch"):
            return Label(BATCH, BATCH)
        if not scope.startswith("state"):
            return None
        stage = next((name for name in _MODULE.findall(scope) if name in self._modules), REST)
        weights = scope.startswith(("state.params", "state.batch_stats"))
        return Label(PARAMETER if weights else OPTIMIZER, stage)

    def _is_scratch(self, array: Array) -> bool:
        """Tables of a tuple's parts, and what a library's function asks for beside its results."""
        one = self._instructions.get(array.instruction)
        library = one is not None and one.operation == "custom-call" and array.index > 0
        return array.shape.startswith("(") or (library and array.shape.startswith(("u8[", "s8[")))

    def _operands(self, array: Array) -> list[tuple[Label, int]]:
        """Label and bytes of what the array is made from, the largest first."""
        one = self._instructions.get(array.instruction)
        names = [self._source(operand) for operand in (one.operands if one else ())]
        found = [(self.known[name], self._sizes[name]) for name in names if name in self.known]
        return sorted(found, key=lambda pair: -pair[1])

    def _source(self, name: str) -> str:
        """The array behind an operand."""
        while (key := name if name.endswith("}") else array_name(name)) not in self._sizes:
            one = self._instructions.get(name)
            if one is None or one.operation not in _PASSED_ON or not one.operands:
                return key
            name = one.operands[0]
        return key

    def _copied(self, array: Array, taken: Sequence[tuple[Label, int]]) -> Label | None:
        """The label of what is copied, in another form perhaps, where it is part of the state."""
        label, size = taken[0]
        # Beside what counts there may be indices.
        of_state = all(one.kind in _STATE for one, size in taken if 4 * size >= array.bytes)
        # Larger by far are only maps, to which a weight is spread out.
        return label if of_state and label.kind in _STATE and array.bytes <= 2 * size else None

    def _outside(self, array: Array, taken: Sequence[tuple[Label, int]]) -> Label:
        """Multiples of gradients are gradients, parts of the batch the batch; copies are what they copy."""
        alike = [label for label, size in taken if size <= 2 * array.bytes <= 4 * size]
        if "jit(" not in self._scope(array) and alike:
            return alike[0]
        made = [label for kind in (GRADIENT, *_STATE, BATCH) for label in alike if label.kind == kind]
        return made[0] if made else Label(WORKSPACE, REST)
