"""Tests t5x_lite/serving/programs.py"""

import functools
import gc
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.serving import programs as programs_module
from t5x_lite.serving.programs import (
    FILTERED,
    GREEDY,
    MOST_PENDING,
    SAMPLING,
    TOP_P,
    Compiler,
    Program,
    Programs,
    chooser_of,
)
from tests.serving.models import SECONDS

NEEDED = Program(4, "t5x", False, 128, 4, 32)


def jitted():
    """A function like those of programs, whose compiled forms are known to no one else."""

    @functools.partial(jax.jit, static_argnames="factor")
    def scale(model, values, *, factor):
        return model * values * factor

    return scale


@pytest.fixture
def scale(monkeypatch):
    function = jitted()
    monkeypatch.setattr(programs_module, "decode_until", function)
    return function


@pytest.mark.parametrize(
    ("more", "covers"),
    [
        ({}, True),
        ({"num_rows": 16}, True),
        ({"num_steps": 512}, True),
        ({"length": 512}, True),
        ({"length": 1024}, False),  # too wasteful
        ({"length": 64}, False),
        ({"num_rows": 1}, False),
        ({"num_steps": 16}, False),
        ({"penalises": True, "chooser": TOP_P, "num_top": 5}, True),
        ({"num_sequences": 8}, False),
        ({"beam_variant": "hf"}, False),
        ({"scores_as_sampled": True}, False),
    ],
    ids=str,
)
def test_a_program_covers_what_needs_less(more, covers):
    assert NEEDED._replace(**more).covers(NEEDED) == covers


def test_settings_need_the_simplest_chooser_that_has_them():
    def of(**given):
        return chooser_of(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0} | given)

    assert [of(temperature=0.0), of(), of(top_p=0.9), of(min_p=0.1)] == [GREEDY, SAMPLING, TOP_P, FILTERED]
    assert [of(top_k=k) for k in (1, 64, 30_000)] == [FILTERED] * 3
    specs = [NEEDED._replace(chooser=it).spec(vocab_size=3000, pad_id=0, start_id=0) for it in range(FILTERED + 1)]
    assert [(it.samples, it.has_top_p, it.has_top_k, it.has_min_p) for it in specs] == [
        (False, False, False, False),
        (True, False, False, False),
        (True, True, False, False),
        (True, True, True, True),
    ]


def test_the_smallest_program_that_covers_a_batch_is_found(scale):
    programs = Programs(9)
    larger = [NEEDED._replace(num_rows=rows, num_steps=steps) for rows, steps in ((16, 64), (4, 512), (4, 64), (1, 32))]
    assert programs.find(NEEDED) is None
    for number, program in enumerate(larger):
        programs.call(program, scale, 2.0, np.ones(3), factor=number)
    assert programs.find(NEEDED) == larger[2]
    assert programs.ready() == larger


def test_a_program_is_compiled_once_for_each_shape_and_static_value(scale):
    programs = Programs(9)
    for shape, factor in ((3, 1), (3, 1), (4, 1), (3, 2)):
        result = programs.call(NEEDED, scale, jnp.float32(5), np.ones(shape), factor=factor)
        np.testing.assert_allclose(result, np.full(shape, 5.0 * factor))
    assert programs.num_compiled == len(programs) == 3


def test_programs_beyond_the_limit_are_freed_those_not_used_for_longest_first(scale):
    programs, client = Programs(2), jax.devices()[0].client
    kept = []
    for factor in (1, 2, 1, 3, 4):
        programs.call(NEEDED, scale, jnp.float32(5), np.ones(3), factor=factor)
        kept.append([key[-1][1] for key in programs._kept])
    assert kept == [[1], [1, 2], [2, 1], [1, 3], [3, 4]]
    gc.collect()
    before = len(client.live_executables())
    for factor in range(10, 30):
        programs.call(NEEDED, scale, jnp.float32(5), np.ones(3), factor=factor)
    gc.collect()
    assert len(client.live_executables()) <= before + 1  # the last to be freed is so at the next compilation


class Compiling:
    """A compiler whose programs are compiled when the gate is opened."""

    def __init__(self, fails=False):
        self.changed, self.gate, self.compiled = threading.Condition(), threading.Event(), []

        def compile_one(program):
            assert self.gate.wait(SECONDS)
            if fails:
                raise RuntimeError("no memory")
            self.compiled.append(program)

        self.compiler = Compiler(compile_one, self.changed)

    def request(self, number):
        with self.changed:
            return self.compiler.request(NEEDED._replace(num_rows=number))

    def finish(self):
        self.gate.set()
        with self.changed:
            assert self.changed.wait_for(lambda: not self.compiler._pending, SECONDS)
            self.compiler.close()
        self.compiler.join(SECONDS)
        assert not self.compiler._thread.is_alive()


def test_programs_are_compiled_in_order_and_once():
    compiling = Compiling()
    assert [compiling.request(number) for number in (1, 2, 1, 3, 2)] == [True] * 5
    compiling.finish()
    assert [program.num_rows for program in compiling.compiled] == [1, 2, 3]


def test_few_programs_may_wait_to_be_compiled():
    compiling = Compiling()
    asked = [compiling.request(number) for number in range(MOST_PENDING + 2)]
    assert asked == [True] * MOST_PENDING + [False] * 2
    assert compiling.request(0)  # is queued already
    compiling.finish()


def test_a_program_that_fails_to_compile_is_known_and_not_tried_again(caplog):
    compiling = Compiling(fails=True)
    assert compiling.request(1)
    compiling.finish()
    assert compiling.compiler.has_failed(NEEDED._replace(num_rows=1))
    assert not compiling.request(1)
    assert "no memory" in caplog.text
