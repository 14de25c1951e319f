"""How much of each kind is in memory over the time of a step, and what exactly at the peak."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dsdenseunet.memory.alive.buffers import Array, Assignment
from dsdenseunet.memory.alive.kinds import BATCH, KINDS, Label, labels
from dsdenseunet.memory.planner.hlo import LOSS, REST, Instruction, stage_of

# Points of the series over time, and arrays that are named.
_POINTS, _NAMED = 400, 40


def alive(instructions: Mapping[str, Instruction], assignment: Assignment) -> dict[str, Any]:
    """What a training step holds.

    Time is counted in bytes: what the instructions so far have read and written, which is about how long they
    take where memory is what they wait for. The body of a loop counts once.

    Args:
        instructions: of the program's text, by name.
        assignment: of its arrays.

    Returns:
        Plain values: `reserved`, bytes by kind of allocation; `peak`: `bytes` that are alive, `reserved` ones
        that are `unused`, `stage` and `backward` of the instruction that runs, and the `share` of the time
        until then; `kinds`: bytes at the peak by stage and kind, and `stages`, their order; `arrays`, the
        largest at the peak; `time`: `moved` bytes, `kinds` with as many sizes each, and where `passes` begin.
    """
    known = labels(instructions, assignment)
    everything = [array for allocation in assignment.allocations for array in allocation.arrays]
    places = len(assignment.schedule)
    sizes = {kind: np.zeros(places + 1, np.int64) for kind in KINDS}
    for array in everything:
        size = sizes[known[array.name].kind]
        size[array.start] += array.bytes
        if array.end + 1 <= places:
            size[array.end + 1] -= array.bytes
    over_time = {kind: np.cumsum(size)[:places] for kind, size in sizes.items()}
    total = np.sum(list(over_time.values()), axis=0)
    place = int(total.argmax())
    moved = np.cumsum(
        [instructions[name].bytes if name in instructions else 0 for name in assignment.schedule]
    )
    present = sorted(
        (array for array in everything if array.start <= place <= array.end), key=lambda one: -one.bytes
    )
    stage, backward = _running(instructions, assignment.schedule, place)
    return {
        "reserved": {kind: assignment.bytes(kind) for kind in ("argument", "output", "temp", "constant")},
        "peak": {
            "bytes": int(total[place]),
            "unused": assignment.bytes() - int(total[place]),
            "stage": stage,
            "backward": backward,
            "share": float(moved[place] / max(1, moved[-1])),
        },
        "stages": list(_stages(instructions, assignment.schedule)),
        "kinds": _cells(present, known),
        "arrays": [_named(array, known[array.name], instructions) for array in present[:_NAMED]],
        "time": {
            **_thinned(moved, total, over_time),
            "passes": _passes(instructions, assignment.schedule, moved),
        },
    }


def _stages(instructions: Mapping[str, Instruction], schedule: Sequence[str]) -> Iterator[str]:
    """In the order of where the forward pass is mostly in them; then what is no stage of the network."""
    places: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    for place, name in enumerate(schedule):
        if name in instructions:
            stage, backward = stage_of(instructions[name].scope())
            if not backward and stage not in (LOSS, REST):
                # What is small, such as a weight in another form, is often made long before.
                places[stage].append((place, 1 + instructions[name].bytes))
    yield from sorted(
        places,
        key=lambda stage: (
            sum(place * size for place, size in places[stage]) / sum(size for _, size in places[stage])
        ),
    )
    yield from (LOSS, REST, BATCH)


def _running(
    instructions: Mapping[str, Instruction], schedule: Sequence[str], place: int
) -> tuple[str, bool]:
    """Stage and direction of an instruction; of one outside the network those of the next inside."""
    for name in schedule[place:]:
        stage, backward = stage_of(instructions[name].scope()) if name in instructions else (REST, False)
        if stage != REST:
            return stage, backward
    return REST, False


def _cells(present: Sequence[Array], known: Mapping[str, Label]) -> dict[str, dict[str, int]]:
    cells: dict[str, dict[str, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
    for array in present:
        label = known[array.name]
        cells[label.stage][label.kind] += array.bytes
    return {stage: dict(row) for stage, row in cells.items()}


def _named(array: Array, label: Label, instructions: Mapping[str, Instruction]) -> dict[str, Any]:
    one = instructions.get(array.instruction)
    scope = one.scope(array.index) if one else ""
    return {
        "bytes": array.bytes,
        "shape": array.shape,
        "kind": label.kind,
        "stage": label.stage,
        "name": array.name,
        "scope": scope,
    }


def _thinned(moved: np.ndarray, total: np.ndarray, over_time: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """So many points of equal distance, each the highest moment since the one before; a peak stays."""
    bins = np.minimum(moved * _POINTS // max(1, int(moved[-1])), _POINTS - 1)
    chosen = [
        max(group, key=lambda place: total[place])
        for _, group in itertools.groupby(range(len(moved)), key=lambda place: bins[place])
    ]
    return {
        "moved": moved[chosen].tolist(),
        "kinds": {kind: size[chosen].tolist() for kind, size in over_time.items()},
    }


def _passes(
    instructions: Mapping[str, Instruction], schedule: Sequence[str], moved: np.ndarray
) -> dict[str, int]:
    """Bytes moved until the backward pass and the update begin: so that least is on the wrong side."""
    found = [
        stage_of(instructions[name].scope()) if name in instructions else (REST, False) for name in schedule
    ]
    own = np.diff(moved, prepend=0)
    forward, backward, outside = (
        own * np.array([of(stage, back) for stage, back in found])
        for of in (
            lambda stage, back: stage != REST and not back,
            lambda stage, back: stage != REST and back,
            lambda stage, back: stage == REST,
        )
    )
    begins = _divide(forward, backward)
    ends = begins + _divide(backward[begins:], outside[begins:])
    return {
        "backward": int(moved[begins - 1]) if begins else 0,
        "update": int(moved[ends - 1]) if ends else 0,
    }


def _divide(before: np.ndarray, after: np.ndarray) -> int:
    """The place with the least of `before` at or after it and of `after` before it."""
    passed = np.cumsum(after - before)
    return int(np.concatenate([[0], passed]).argmin())
