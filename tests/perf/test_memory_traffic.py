"""Tests t5x_lite/perf/memory_traffic.py"""

from t5x_lite.perf.hlo import parse
from t5x_lite.perf.memory_traffic import hbm_bytes

PROGRAM = """%slicing (p: f32[6,8], q: s32[]) -> f32[8] {
  %p = f32[6,8]{1,0} parameter(0)
  %q = s32[] parameter(1)
  %s = f32[1,8]{1,0} dynamic-slice(%p, %q), dynamic_slice_sizes={1,8}
  ROOT %n = f32[8]{0} negate(%s)
}

%updating (p.1: f32[6,8], u: f32[1,8]) -> f32[6,8] {
  %p.1 = f32[6,8]{1,0} parameter(0)
  %u = f32[1,8]{1,0} parameter(1)
  ROOT %d = f32[6,8]{1,0} dynamic-update-slice(%p.1, %u)
}

%both (p.2: f32[48], u.2: f32[1,8], r: f32[8]) -> (f32[48], f32[8]) {
  %p.2 = f32[48]{0} parameter(0)
  %u.2 = f32[1,8]{1,0} parameter(1)
  %r = f32[8]{0} parameter(2)
  %b = f32[6,8]{1,0} bitcast(%p.2)
  %d.2 = f32[6,8]{1,0} dynamic-update-slice(%b, %u.2)
  %b.2 = f32[48]{0} bitcast(%d.2)
  %n.2 = f32[8]{0} negate(%r)
  ROOT %t.2 = (f32[48]{0}, f32[8]{0}) tuple(%b.2, %n.2)
}

%around (p.3: f32[6,8], q.3: s32[]) -> f32[8] {
  %p.3 = f32[6,8]{1,0} parameter(0)
  %q.3 = s32[] parameter(1)
  ROOT %f.3 = f32[8]{0} fusion(%p.3, %q.3), kind=kLoop, calls=%slicing
}

%around_updating (p.4: f32[6,8], u.4: f32[1,8]) -> f32[6,8] {
  %p.4 = f32[6,8]{1,0} parameter(0)
  %u.4 = f32[1,8]{1,0} parameter(1)
  ROOT %f.4 = f32[6,8]{1,0} fusion(%p.4, %u.4), kind=kLoop, calls=%updating
}

ENTRY %main (a: f32[6,8]) -> f32[8] {
  %a = f32[6,8]{1,0} parameter(0)
  %i = s32[]{:S(1)} constant(1)
  LINE
}
"""


def moved(line):
    return hbm_bytes(parse(PROGRAM.replace("LINE", line)))


def test_operands_are_read_and_results_written():
    assert moved("ROOT %x = f32[6,8]{1,0} negate(%a)") == 2 * 192


def test_fast_memory_is_no_memory_traffic():
    assert moved("ROOT %x = f32[6,8]{1,0:T(8,128)S(1)} negate(%a)") == 192


def test_a_fusion_that_takes_a_slice_reads_the_slice():
    assert moved("ROOT %x = f32[8]{0} fusion(%a, %i), kind=kLoop, calls=%slicing") == 32 + 32


def test_a_fusion_that_changes_a_part_in_place_writes_the_part():
    line = "%v = f32[1,8]{1,0:S(1)} constant({...})\n  ROOT %x = f32[6,8]{1,0} fusion(%a, %v), calls=%updating"
    assert moved(line) == 32


def test_a_fusion_of_two_results_writes_the_part_of_one_that_it_changes_in_place():
    values = "%v = f32[1,8]{1,0:S(1)} constant({...})\n  %w = f32[8]{0} constant({...})"
    assert moved(f"{values}\n  ROOT %x = (f32[48]{{0}}, f32[8]{{0}}) fusion(%a, %v, %w), calls=%both") == 32 + 32 + 32


def test_a_fusion_in_a_fusion_reads_and_writes_parts_too():
    assert moved("ROOT %x = f32[8]{0} fusion(%a, %i), kind=kOutput, calls=%around") == 32 + 32
    line = "%v = f32[1,8]{1,0:S(1)} constant({...})\n  ROOT %x = f32[6,8]{1,0} fusion(%a, %v), calls=%around_updating"
    assert moved(line) == 32


def test_a_place_that_is_only_reserved_moves_nothing():
    assert moved('%x = f32[6,8]{1,0} custom-call(), custom_call_target="AllocateBuffer"') == 0


def test_a_copy_into_fast_memory_is_counted_where_it_starts():
    line = "%c = (f32[6,8]{1,0:S(1)}, f32[6,8]{1,0}, u32[]) copy-start(%a)"
    assert moved(f"{line}\n  ROOT %x = f32[6,8]{{1,0:S(1)}} copy-done(%c)") == 192


def test_a_slice_that_starts_reads_the_slice():
    line = "%s = ((f32[6,8]{1,0}), f32[2,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:2], [0:8]}"
    assert moved(line) == 64
    assert moved(line.replace(":S(1)", "")) == 64 + 64
    assert moved(line.replace("((f32[6,8]{1,0})", "((f32[6,8]{1,0:S(1)})")) == 0


def test_names_and_tuples_move_nothing():
    assert moved("%t = (f32[6,8]{1,0}) tuple(%a)\n  ROOT %x = f32[6,8]{1,0} get-tuple-element(%t), index=0") == 0


def test_a_collective_that_starts_reads_and_writes_once():
    assert moved("%g = (f32[6,8]{1,0}, f32[12,8]{1,0}) all-gather-start(%a), replica_groups={}") == 192 + 384


def test_a_librarys_place_to_work_in_moves_nothing():
    line = '%x = (f32[6,6]{1,0}, s8[4096]{0}) custom-call(%a, %a), custom_call_target="__cublas$lt$matmul"'
    assert moved(line) == 2 * 192 + 144


def test_a_loop_without_a_trip_count_uses_the_default():
    body = """%body (s: f32[6,8]) -> f32[6,8] {
  %s = f32[6,8]{1,0} parameter(0)
  ROOT %m = f32[6,8]{1,0} negate(%s)
}

%going (c: f32[6,8]) -> pred[] {
  %c = f32[6,8]{1,0} parameter(0)
  ROOT %p = pred[]{:S(1)} constant(true)
}

"""
    text = body + PROGRAM.replace("LINE", "ROOT %w = f32[6,8]{1,0} while(%a), condition=%going, body=%body")
    assert hbm_bytes(parse(text)) == 2 * 192
    assert hbm_bytes(parse(text, default_trip_count=5)) == 5 * 2 * 192
