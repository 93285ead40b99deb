"""Tests t5x_lite/perf/hlo.py on text as a TPU's compiler writes it, and on programs compiled here."""

import jax
import jax.numpy as jnp
import pytest

from t5x_lite.perf.hlo import parse

# A loop from 2 to 11 in steps of 3, whose body calls a fusion; layouts have parentheses, S(1) is fast memory.
LOOP = """HloModule jit_f, is_scheduled=true

%fused (p: f32[4,8]) -> f32[4,8] {
  %p = f32[4,8]{1,0:T(8,128)} parameter(0)
  ROOT %n = f32[4,8]{1,0:T(8,128)S(1)} negate(%p)
}

%body (t: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %t = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  %x = f32[4,8]{1,0:T(8,128)} get-tuple-element(%t), index=1
  %three = s32[]{:T(128)} constant(3)
  %next = s32[]{:T(128)} add(%i, %three)
  %y = f32[4,8]{1,0:T(8,128)} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/neg"}
  ROOT %r = (s32[]{:T(128)}, /*index=1*/f32[4,8]{1,0:T(8,128)}) tuple(%next, %y)
}

%cond (t.1: (s32[], f32[4,8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(11)
  %t.1 = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%t.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0:T(8,128)} parameter(0)
  %two = s32[]{:T(128)} constant(2)
  %start = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)}) tuple(%two, %a)
  %loop = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)}) while(%start), condition=%cond, body=%body
  ROOT %out = f32[4,8]{1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""


def test_instructions_have_their_arrays_operands_and_attributes():
    module = parse(LOOP)
    fusion = module.computations["body"].find("y")
    assert fusion is not None
    assert (fusion.opcode, fusion.operands, fusion.attribute("kind")) == ("fusion", ("x",), "kLoop")
    assert [array.num_bytes for array in fusion.arrays] == [4 * 8 * 4]
    assert module.called(fusion) == ["fused"]
    assert [array.is_in_fast_memory for array in module.computations["fused"].root.arrays] == [True]
    assert [array.num_bytes for array in module.computations["body"].root.arrays] == [4, 4 * 8 * 4]


def test_a_loop_without_a_count_runs_as_often_as_its_counter_says():
    assert {computation.name: times for computation, times in parse(LOOP).runs()} == {"main": 1, "body": 3}


def test_a_count_that_is_given_is_taken():
    text = LOOP.replace("body=%body\n", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}\n')
    assert ("body", 7) in [(computation.name, times) for computation, times in parse(text).runs()]


def test_a_limit_passed_into_the_loop_is_resolved():
    text = LOOP.replace("%limit = s32[]{:T(128)} constant(11)", "%limit = s32[] get-tuple-element(%t.1), index=2")
    text = text.replace("tuple(%two, %a)", "tuple(%two, %a, %end)").replace(
        "%two = s32[]{:T(128)} constant(2)", "%two = s32[] constant(2)\n  %end = s32[]{:T(128)} constant(20)"
    )
    assert ("body", 6) in [(computation.name, times) for computation, times in parse(text).runs()]


@pytest.mark.parametrize(("outer", "inner"), [(5, 3)])
def test_loops_in_loops_multiply_in_a_program_compiled_here(outer, inner):
    def body(x, _):
        return jax.lax.scan(lambda x, _: (jnp.sin(x) @ x, None), x, length=inner)[0], None

    program = jax.jit(lambda x: jax.lax.scan(body, x, length=outer)[0]).lower(jnp.zeros((64, 64))).compile()
    assert {times for _, times in parse(program.as_text() or "").runs()} == {1, outer, outer * inner}
