"""Tests t5x_lite/optim/schedules.py: the published points of T5X's schedule, and the ends of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim.schedules import make_schedule

NUM_STEPS, WARMUP, PEAK, FINAL = 70, 20, 0.03, 0.1
AFTER_WARMUP = {"linear", "cosine", "constant"}


def schedule(name, **fields):
    defaults = {"learning_rate": PEAK, "warmup_steps": WARMUP, "final_fraction": FINAL}
    return make_schedule(OptimizerConfig(schedule=name, **(defaults | fields)), NUM_STEPS)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.01), (1, 0.01), (10_000, 0.01), (40_000, 0.005), (1_000_000, 0.001)]
)
def test_rsqrt_has_the_learning_rates_of_t5x(step, expected):
    rate = schedule("rsqrt", learning_rate=0.01, warmup_steps=10_000)(step)
    np.testing.assert_allclose(rate, expected, rtol=2e-7)


@pytest.mark.parametrize("name", sorted(AFTER_WARMUP))
def test_warmup_climbs_in_a_line_from_zero_to_exactly_the_peak(name):
    rates = [np.asarray(schedule(name)(step)) for step in (0, 5, WARMUP)]
    np.testing.assert_allclose(rates, [0, PEAK / 4, PEAK], rtol=1e-7)
    assert rates[-1] == np.float32(PEAK)


@pytest.mark.parametrize("name", sorted(AFTER_WARMUP))
def test_without_warmup_the_first_step_has_exactly_the_peak(name):
    assert schedule(name, warmup_steps=0)(0) == np.float32(PEAK)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_end_is_exactly_the_final_fraction_and_stays_there(name):
    for final in (0.0, FINAL):
        rates = [schedule(name, final_fraction=final)(step) for step in (NUM_STEPS, 3 * NUM_STEPS)]
        assert rates == [np.float32(PEAK) * np.float32(final)] * 2


def test_linear_and_cosine_are_a_line_and_half_a_cosine_between_peak_and_end():
    steps = np.arange(WARMUP, NUM_STEPS + 1)
    progress = (steps - WARMUP) / (NUM_STEPS - WARMUP)
    for name, left in (("linear", 1 - progress), ("cosine", np.cos(progress * np.pi) / 2 + 0.5)):
        np.testing.assert_allclose(schedule(name)(steps), PEAK * (FINAL + (1 - FINAL) * left), rtol=1e-6)


def test_constant_stays_at_the_peak_whatever_the_number_of_steps():
    assert schedule("constant")(100 * NUM_STEPS) == np.float32(PEAK)
    assert schedule("constant", warmup_steps=10 * NUM_STEPS)(NUM_STEPS) == np.float32(PEAK / 10)


@pytest.mark.parametrize("name", sorted(AFTER_WARMUP | {"rsqrt"}))
def test_a_traced_step_gives_the_same_float32_scalar(name):
    rate = jax.jit(schedule(name))(jnp.int32(33))
    assert (rate.dtype, rate.shape) == (jnp.float32, ())
    np.testing.assert_allclose(rate, schedule(name)(33), rtol=2e-7)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("warmup_steps", [NUM_STEPS, NUM_STEPS + 1])
def test_a_warmup_as_long_as_the_run_is_refused_by_name_and_value(name, warmup_steps):
    message = rf"optimizer\.warmup_steps is {warmup_steps} and train\.num_steps is {NUM_STEPS}"
    with pytest.raises(ValueError, match=message):
        schedule(name, warmup_steps=warmup_steps)
