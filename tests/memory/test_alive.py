"""What a step holds when: by hand for a text that XLA could write, and of the smallest network's step."""

import itertools

import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.alive import buffers, kinds, program, text
from dsdenseunet.memory.alive import profile as profiling
from dsdenseunet.memory.alive.peak import alive
from dsdenseunet.memory.planner.hlo import LOSS, REST, instructions
from dsdenseunet.models import registry
from dsdenseunet.reporting.memory_profile import COLOURS, draw
from dsdenseunet.training.settings import config_to_json
from tests.training import tiny

# One convolution and its gradient, as the compiler for a card writes them: the map's place is used again for
# the gradient of the weights, and the new weights come into the place of the old.
PROGRAM = """
ENTRY %main (w: f32[4], x: f32[8]) -> (f32[4]) {
  %w = f32[4]{0} parameter(0), metadata={op_name="state.params[\\'stem\\'][\\'kernel\\']"}
  %x = f32[8]{0} parameter(1), metadata={op_name="batch[\\'image\\']"}
  %conv = (f32[8]{0}, u8[16]{0}) custom-call(%x, %w), custom_call_target="__cudnn$convForward", \
metadata={op_name="jit(train_step)/jvp(Net)/stem/conv"}
  %y = f32[8]{0} get-tuple-element(%conv), index=0
  %slope = f32[8]{0} sine(%y), metadata={op_name="jit(train_step)/transpose(jvp())/sin"}
  %g = f32[4]{0} reduce(%slope, %y), metadata={op_name="jit(train_step)/transpose(jvp(Net))/stem/conv"}
  %twice = f32[4]{0} add(%g, %g), metadata={op_name="jit(train_step)/add"}
  %new = f32[4]{0} subtract(%w, %twice), metadata={op_name="jit(train_step)/sub"}
  ROOT %out = (f32[4]{0}) tuple(%new)
}
"""
ASSIGNMENT = """BufferAssignment:
allocation 0: size 16, parameter 0, shape |f32[4]| at ShapeIndex {}, maybe-live-out:
 value: <1 w @0> (size=16,offset=0): f32[4]{0}
 value: <2 new @0> (size=16,offset=0): f32[4]{0}
allocation 1: size 32, parameter 1, shape |f32[8]| at ShapeIndex {}:
 value: <3 x @0> (size=32,offset=0): f32[8]{0}
allocation 2: size 8, output shape is |(f32[4])|, maybe-live-out:
 value: <4 out{} @0> (size=8,offset=0): (f32[4]{0})
allocation 3: size 128, preallocated-temp:
 value: <5 conv{} @0> (size=16,offset=32): (f32[8]{0}, u8[16]{0})
 value: <6 conv{0} @0> (size=32,offset=0): f32[8]{0}
 value: <7 conv{1} @0> (size=16,offset=64): u8[16]{0}
 value: <8 slope @0> (size=32,offset=64): f32[8]{0}
 value: <9 g @0> (size=16,offset=0): f32[4]{0}
 value: <10 twice @0> (size=16,offset=32): f32[4]{0}
allocation 4: size 4, thread-local:
 value: <11 within @0> (size=4,offset=0): f32[]
"""
RANGES = """HloLiveRange (max 9):
  InstructionSequence:
    0:w
    1:x
    2:conv
    3:y
    4:slope
    5:g
    6:twice
    7:new
    8:out
  BufferLiveRange:
    w{}:0-7
    x{}:0-9
    conv{}:2-3
    conv{0}:2-5
    conv{1}:2-2
    slope{}:4-5
    g{}:5-6
    twice{}:6-7
    new{}:7-9
    out{}:8-9
  Live ranges at 4 (peak):
    x{}: 32 bytes (cumulative: 32 bytes)
"""


def test_a_step_by_hand():
    assignment = buffers.parse(ASSIGNMENT, RANGES)
    found = alive(instructions(PROGRAM), assignment)
    # Weights, image, map, and the table and scratch memory of the library's function; when the gradient is
    # there, those are not.
    assert found["peak"]["bytes"] == 16 + 32 + 32 + 16 + 16
    assert found["kinds"] == {
        "stem": {kinds.PARAMETER: 16, kinds.KEPT: 32, kinds.WORKSPACE: 32},
        kinds.BATCH: {kinds.BATCH: 32},
    }
    assert found["peak"]["stage"] == "stem" and not found["peak"]["backward"]
    assert found["reserved"] == {"argument": 48, "output": 8, "temp": 128, "constant": 0}
    assert found["peak"]["unused"] == 48 + 8 + 128 - 112
    assert found["stages"] == ["stem", LOSS, REST, kinds.BATCH]
    largest = found["arrays"][0]
    assert (largest["bytes"], largest["shape"]) == (32, "f32[8]")


def test_newer_compilers_name_a_page():
    newer = ASSIGNMENT.replace("size 16, par", "size 16, page 0, par").replace("128, pre", "128, page 0, pre")
    assert newer.count("page") == 2
    assert buffers.parse(newer, RANGES) == buffers.parse(ASSIGNMENT, RANGES)


def test_labels_and_places_by_hand():
    assignment = buffers.parse(ASSIGNMENT, RANGES)
    known = kinds.labels(instructions(PROGRAM), assignment)
    assert known["slope{}"] == (kinds.GRADIENT, LOSS)
    assert known["g{}"] == (kinds.GRADIENT, "stem")
    # A sum of gradients outside the network is one; new weights are weights.
    assert known["twice{}"] == (kinds.GRADIENT, "stem")
    assert known["new{}"] == known["w{}"] == (kinds.PARAMETER, "stem")
    ends = {one.name: one.end for part in assignment.allocations for one in part.arrays}
    # `g` overwrites the map that it is made from, `new` the old weights.
    assert (ends["conv{0}"], ends["w{}"], ends["x{}"]) == (4, 6, 9)


def test_what_another_xla_would_write_is_not_misread(tmp_path):
    with pytest.raises(RuntimeError, match="in the form that is known here"):
        buffers.parse(ASSIGNMENT, "HloLiveRange in another form")
    with pytest.raises(RuntimeError, match="a kind that is not known here: fresh"):
        buffers.parse(ASSIGNMENT.replace("preallocated-temp", "fresh"), RANGES)
    with pytest.raises(RuntimeError, match="no file of buffer-assignment"):
        buffers.read(tmp_path)


@pytest.fixture(scope="module")
def measured():
    """The real step of `TinyNet`, in two micro-batches, compiled in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "build", tiny.build_tiny)
        config = tiny.get_config()
        config.training.accumulate = 2
        read = []
        patch.setattr(
            program, "alive", lambda known, assignment: read.append(assignment) or alive(known, assignment)
        )
        found = program.measure({"config": config_to_json(config), "target": None})
        return found, read[0], config


def test_sums_are_those_of_the_compiler(measured):
    found, assignment, _ = measured
    memory, reserved, peak = found["memory"], found["reserved"], found["peak"]
    assert reserved["argument"] == memory["argument"]
    assert reserved["temp"] == memory["temp"]
    assert reserved["output"] == memory["output"] - memory["alias"]
    at_the_peak = sum(size for row in found["kinds"].values() for size in row.values())
    assert at_the_peak == peak["bytes"]
    assert at_the_peak + peak["unused"] == sum(reserved.values())
    assert peak["unused"] < 0.05 * reserved["temp"]
    assert max(map(sum, zip(*found["time"]["kinds"].values()))) == peak["bytes"]
    # No two arrays are in one place at one time.
    for allocation in assignment.allocations:
        for place in range(len(assignment.schedule)):
            there = sorted((a.offset, a.bytes) for a in allocation.arrays if a.start <= place <= a.end)
            assert all(one + size <= other for (one, size), (other, _) in itertools.pairwise(there))


def test_arrays_of_the_tiny_step_are_what_they_are(measured):
    found, _, _ = measured
    rows = found["kinds"]
    voxels = 4 * 32 * 32
    # Of a micro-batch of one patch: four float32 channels of the convolution, and of the map before dropout.
    assert rows["Conv_0"][kinds.KEPT] >= 4 * 4 * voxels
    assert set(rows) <= {"Conv_0", "BatchNorm_0", "Dropout_0", "Conv_1", LOSS, REST, kinds.BATCH}
    # Images and labels of both patches; copies as micro-batches, which not every compiler makes, on top.
    batch = 2 * voxels * (4 + 4)
    assert batch <= rows[kinds.BATCH][kinds.BATCH] < 3 * batch
    weights = 4 * (9 * 4 + 4 + 2 * 4 + 4 * 3 + 3) + 4 * 2 * 4
    assert sum(row.get(kinds.PARAMETER, 0) for row in rows.values()) <= 2 * weights
    assert 0 < found["time"]["passes"]["backward"] <= found["time"]["passes"]["update"]


def test_from_a_config_to_tables_and_picture(measured, tmp_path, monkeypatch):
    found, _, config = measured
    monkeypatch.setattr(profiling.Compiler, "figures", lambda self, what, config: found)
    said = profiling.profile(config, "cpu", 60, print)
    assert (
        "this machine's processor: 2 x (4 x 32 x 32), float32, remat none, 2 micro-batches"
        in text.summary(said)
    )
    # `layer` would compute dense blocks again, of which this network has none.
    assert "remat=layer" not in text.summary(said)
    assert "--config.model.dtype=bfloat16 takes half" in text.summary(said)
    assert text.table(said).splitlines()[0].split()[0] == "stage"
    assert said["arrays"][0]["shape"] in text.largest(said, 3)
    files.write_json(tmp_path / "memory.json", said)
    assert set(COLOURS) == set(kinds.KINDS)
    for name in ("memory.png", "memory.pdf"):
        draw(files.read_json(tmp_path / "memory.json"), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000


def test_a_card_needs_its_compiler(monkeypatch):
    monkeypatch.setattr(profiling, "has_gpu_compiler", lambda: False)
    with pytest.raises(InputError, match="extra cuda12"):
        profiling.profile(tiny.get_config(), "rtx3070", 60, print)
    with pytest.raises(InputError, match="--device"):
        profiling.profile(tiny.get_config(), "abacus", 60, print)
