"""Figures that are read from a compiled module."""

# Protocol buffers make their classes when they are imported.
# pyright: reportAttributeAccessIssue=false

import pytest
from tensorflow.compiler.xla.service import hlo_pb2

from tpu.aot import hlo

parser = pytest.importorskip("jaxlib._hlo")

LOOPS = """HloModule loops, is_scheduled=true

%inner.condition (p: (s32[], f32[4])) -> pred[] {
  %p = (s32[], f32[4]{0:T(128)}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %zero = s32[] constant(0)
  ROOT %more = pred[] compare(%i, %zero), direction=GE
}

%inner.body (p.1: (s32[], f32[4])) -> (s32[], f32[4]) {
  ROOT %p.1 = (s32[], f32[4]{0:T(128)}) parameter(0)
}

%fused (a: s32[], b: pred[]) -> pred[] {
  %a = s32[] parameter(0)
  %b = pred[] parameter(1)
  %limit = s32[]{:T(128)} constant(7)
  %before = pred[] compare(%a, %limit), direction=LT
  ROOT %both = pred[] and(%before, %b)
}

%outer.condition (q: (s32[], pred[])) -> pred[] {
  %q = (s32[], pred[]) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  %alive = pred[] get-tuple-element(%q), index=1
  ROOT %go = pred[] fusion(%j, %alive), kind=kLoop, calls=%fused
}

%outer.body (q.1: (s32[], pred[])) -> (s32[], pred[]) {
  %q.1 = (s32[], pred[]) parameter(0)
  %last = s32[] constant(9)
  %x = f32[4]{0:T(128)} constant({1, 2, 3, 4})
  %state = (s32[], f32[4]{0:T(128)}) tuple(%last, %x)
  %turn = (s32[], f32[4]{0:T(128)}) while(%state), \
condition=%inner.condition, body=%inner.body
  ROOT %k = (s32[], pred[]) tuple(%last, %last)
}

%odd.condition (r: (s32[], s32[])) -> pred[] {
  %r = (s32[], s32[]) parameter(0)
  %m = s32[] get-tuple-element(%r), index=0
  %n = s32[] get-tuple-element(%r), index=1
  ROOT %less = pred[] compare(%m, %n), direction=LT
}

%odd.body (r.1: (s32[], s32[])) -> (s32[], s32[]) {
  ROOT %r.1 = (s32[], s32[]) parameter(0)
}

ENTRY %main (given: s32[], alive.1: pred[]) -> (s32[], pred[]) {
  %given = s32[] parameter(0)
  %alive.1 = pred[] parameter(1)
  %two = s32[] constant(2)
  %copied = s32[] copy(%two)
  %start = (s32[], pred[]) tuple(%copied, %alive.1)
  %unknown = (s32[], s32[]) tuple(%two, %given)
  %odd = (s32[], s32[]) while(%unknown), condition=%odd.condition, \
body=%odd.body
  ROOT %loop = (s32[], pred[]) while(%start), condition=%outer.condition, \
body=%outer.body
}
"""

TRANSFERS = """HloModule transfers

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

ENTRY %main (x: f32[8,16], y: bf16[4], z: s32[2,2]) -> f32[8,16] {
  %x = f32[8,16]{1,0:T(8,128)} parameter(0)
  %y = bf16[4]{0} parameter(1)
  %z = s32[2,2]{1,0} parameter(2)
  %sum = f32[8,16]{1,0:T(8,128)} all-reduce(%x), replica_groups={}, \
to_apply=%add
  %begin = (f32[8,16]{1,0:T(8,128)}, \
f32[32,16]{1,0:T(8,128)}) all-gather-start(%sum), dimensions={0}, \
replica_groups={{0,1,2,3}}
  %end = f32[32,16]{1,0:T(8,128)} all-gather-done(%begin)
  %pair = (bf16[4]{0}, s32[2,2]{1,0}) all-reduce-start(%y, %z), \
replica_groups={}, to_apply=%add
  %asked = f32[4]{0} custom-call(%x), \
custom_call_target="xla_ffi_python_cpu_callback"
  %fine = f32[4]{0} custom-call(%x), \
custom_call_target="AssumeGatherIndicesInBound"
  %after = token[] after-all()
  %put = token[] outfeed(%x, %after), outfeed_shape=f32[8,16]{1,0}
  ROOT %far = f32[8,16]{1,0:T(8,128)S(5)} copy(%sum)
}
"""
TYPES = """HloModule types

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

ENTRY %main (x: TYPE) -> TYPE {
  %x = TYPE parameter(0)
  ROOT %sum = TYPE all-reduce(%x), replica_groups={}, to_apply=%add
}
"""


def module(text):
    parsed = parser.hlo_module_from_text(text)
    return hlo.Module(parsed.as_serialized_hlo_module_proto())


def test_loops_are_found_with_how_often_they_run():
    counts = {loop.body: loop.trip_count for loop in module(LOOPS).loops()}
    assert counts == {"odd.body": None, "outer.body": 5, "inner.body": 10}


def test_what_a_single_count_leaves_out_grows_with_every_turn():
    parts = {}

    def cost(serialized):
        part = hlo_pb2.HloModuleProto.FromString(serialized)
        entry = part.entry_computation_name
        parts[entry] = {each.name for each in part.computations}
        return {"odd.body": 1, "inner.body": 10, "outer.body": 100}[entry], 7

    # The outer body holds the inner one: 4 turns more of it, and 5 times 9
    # more of the inner alone. A loop of unknown length counts once.
    assert module(LOOPS).loop_excess(cost) == [
        4 * 100 + 5 * 9 * 10,
        4 * 7 + 5 * 9 * 7,
    ]
    # Each part is a module of its own, with all that its entry calls.
    assert parts == {
        "odd.body": {"odd.body"},
        "inner.body": {"inner.body"},
        "outer.body": {"outer.body", "inner.body", "inner.condition"},
    }


def test_a_module_without_loops_leaves_nothing_out():
    assert module(TRANSFERS).loop_excess(lambda part: (1,)) is None


def test_collectives_are_counted_by_kind():
    assert module(TRANSFERS).collectives() == {
        "all-reduce": (2, 8 * 16 * 4 + 4 * 2 + 4 * 4),
        "all-gather": (1, 32 * 16 * 4),
    }
    assert module(LOOPS).collectives() == {}


def test_what_the_host_must_do_is_named():
    assert module(TRANSFERS).host_operations() == [
        "copy far",
        "custom-call asked",
        "outfeed put",
    ]
    assert module(LOOPS).host_operations() == []


@pytest.mark.parametrize(
    "array, expected",
    [
        ("f32[2,3]", 24),
        ("bf16[5]", 10),
        ("pred[3]", 3),
        ("s8[<=4]", 4),
        ("s4[6]", 3),
        ("f8e5m2[6]", 6),
        ("s32[]", 4),
    ],
)
def test_bytes_of_types(array, expected):
    found = module(TYPES.replace("TYPE", array)).collectives()
    assert found == {"all-reduce": (1, expected)}
