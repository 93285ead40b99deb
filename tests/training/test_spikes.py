"""Tests t5x_lite/training/spikes.py"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.training.spikes import MIN_NORMS, W, no_spikes, watch

FACTOR = 3.0


@functools.cache
def compiled():
    return jax.jit(functools.partial(watch, factor=FACTOR))


def spikes_of(norms):
    """Whether each norm is a spike, and the state after them."""
    state, found = no_spikes(), []
    for norm in norms:
        is_spike, state = compiled()(state, jnp.float32(norm), jnp.isfinite(norm))
        found.append(bool(is_spike))
    return found, state


def test_norms_are_compared_with_the_median_of_the_last_ones():
    norms = np.random.default_rng(0).lognormal(0, 1, 3 * W).astype(np.float32)
    expected = [
        i >= MIN_NORMS and norm > np.float32(FACTOR) * np.median(norms[max(0, i - W) : i])
        for i, norm in enumerate(norms)
    ]
    found, state = spikes_of(norms)
    assert found == expected
    assert 5 < state.num_skipped == sum(expected)


def test_the_first_steps_are_never_spikes():
    found, _ = spikes_of([1.0] * (MIN_NORMS - 1) + [100.0, 100.0])
    assert found == [False] * MIN_NORMS + [True]


@pytest.mark.parametrize("norm", [np.nan, np.inf])
def test_norms_that_are_not_finite_are_left_to_the_other_check(norm):
    found, state = spikes_of([1.0] * W + [norm])
    assert not any(found)
    assert np.isfinite(state.norms_W).all()
    assert state.num_norms == W


def test_a_new_level_becomes_the_median():
    found, _ = spikes_of([1.0] * W + [10.0] * W)
    assert found[W : W + 10] == [True] * 10
    assert found[-10:] == [False] * 10
