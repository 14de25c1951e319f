import pytest

from dsdenseunet.memory.planner.hlo import LOSS, REST, Traffic, instructions, stage_of, traffic

PROGRAM = """HloModule step

%slice_of (p0: f32[8,4], p1: s32[]) -> f32[4] {
  %p0 = f32[8,4]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  ROOT %ds = f32[1,4]{1,0} dynamic-slice(%p0, %p1), dynamic_slice_sizes={1,4}
}

%update (p0: f32[8,4], p1: f32[1,4], p2: s32[]) -> f32[8,4] {
  %p0 = f32[8,4]{1,0} parameter(0)
  %p1 = f32[1,4]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  ROOT %dus = f32[8,4]{1,0} dynamic-update-slice(%p0, %p1, %p2)
}

%body (t: (f32[8,4], s32[])) -> (f32[8,4], s32[]) {
  %t = (f32[8,4]{1,0}, s32[]) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%t), index=0
  %i = s32[] get-tuple-element(%t), index=1
  %row = f32[1,4]{1,0} fusion(%x, %i), kind=kLoop, calls=%slice_of
  %new = f32[8,4]{1,0} fusion(%x, %row, %i), kind=kLoop, calls=%update
  ROOT %r = (f32[8,4]{1,0}, s32[]) tuple(%new, %i)
}

%condition (t: (f32[8,4], s32[])) -> pred[] {
  %t = (f32[8,4]{1,0}, s32[]) parameter(0)
  ROOT %c = pred[] constant(true)
}

ENTRY %main (a: f32[8,4], b: bf16[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = bf16[8,4]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %conv = (f32[8,4]{1,0}, u8[0]{0}) custom-call(%a, %b), custom_call_target="__cudnn$convForward"
  %y = f32[8,4]{1,0} get-tuple-element(%conv), index=0
  %start = (f32[8,4]{1,0}, s32[]) tuple(%y, %zero)
  %loop = (f32[8,4]{1,0}, s32[]) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%loop), index=0
}
"""


def test_instructions_by_hand():
    """A fusion without a name has that of most of its parts; what calls others moves nothing itself."""
    named = PROGRAM.replace(
        "dynamic_slice_sizes={1,4}", 'dynamic_slice_sizes={1,4}, metadata={op_name="a/b"}'
    )
    found = instructions(named)
    assert (found["row"].bytes, found["row"].scope()) == (36, "a/b")
    assert (found["new"].bytes, found["new"].scope()) == (36, "")
    assert found["conv"].bytes == 128 + 64 + 128
    assert found["loop"].bytes == 0
    assert found["row"].operands == ("x", "i")
    assert found["out"].operands == ("loop{0}",)


def test_each_result_of_a_fusion_has_its_own_name():
    """Where one has none, that of the whole; quotes are written as Python has them."""
    text = r"""
%two (p0: f32[4]) -> (f32[4], f32[4]) {
  %p0 = f32[4]{0} parameter(0)
  %up = f32[4]{0} sine(%p0), metadata={op_name="a/up"}
  %down = f32[4]{0} cosine(%p0)
  ROOT %t = (f32[4]{0}, f32[4]{0}) tuple(%up, %down)
}

ENTRY %main (w: f32[4]) -> f32[4] {
  %w = f32[4]{0} parameter(0), metadata={op_name="state.params[\'stem\']"}
  %both = (f32[4]{0}, f32[4]{0}) fusion(%w), kind=kLoop, calls=%two, metadata={op_name="a/whole"}
  ROOT %out = f32[4]{0} get-tuple-element(%both), index=1
}
"""
    found = instructions(text)
    assert found["both"].scopes == ("a/up", "a/whole")
    assert found["w"].scope() == "state.params['stem']"


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("jit(train_step)/jvp(Net)/block1/layer2/conv/dot", ("block1", False)),
        ("jit(train_step)/transpose(jvp(Net))/jvp(Net)/checkpoint/up1/norm/mul", ("up1", True)),
        ("jit(train_step)/transpose(jvp(Net))/block2/while/body/conv/add", ("block2", True)),
        ("jit(train_step)/jvp(Net)/slice", ("the network's own", False)),
        ("jit(train_step)/jvp()/reduce_sum", (LOSS, False)),
        ("jit(train_step)/transpose(jvp(jit(_where)))/select_n", (LOSS, True)),
        ("jit(train_step)/mul;jit(train_step)/jvp(Net)/head/add", (REST, False)),
        ("", (REST, False)),
    ],
)
def test_stages_by_the_names_that_flax_gives(scope, expected):
    assert stage_of(scope) == expected


def test_traffic_by_hand():
    # The convolution: 128 + 64 read, 128 written. A round: 16 + 4 read, 16 written; 16 + 4 read, 16 written.
    assert traffic(PROGRAM) == Traffic(bytes=128 + 64 + 128 + 5 * (36 + 36), kernels=1 + 5 * 2)
