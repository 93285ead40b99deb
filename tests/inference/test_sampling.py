"""Tests t5x_lite/inference/sampling.py; the numbers of the toys are those of T5X's `decoding_test.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import GenerationConfig
from t5x_lite.inference.filters import MASKED
from t5x_lite.inference.sampling import advance, choose, filtered, start
from tests.inference.toys import NO_STEPS, constant, told

TWO = [[-1e7, -1e7, 0, -1e7], [-1e7, -1e7, -1e7, 0]]  # certain of 2, and of 3
SHARES = [-1.2, -1e7, -2.3, -0.51]  # about 0.3, 0, 0.1, 0.6


def decode(logits_BV, controls, plan, until=99):
    state = start(np.zeros(len(logits_BV), np.int32), NO_STEPS, plan)
    return advance(constant(logits_BV), state, controls, plan, until)


def tokens(logits_BV, controls, plan, until=99):
    return np.asarray(decode(logits_BV, controls, plan, until).tokens_BKT)


def sampled(num, **fields):
    return [GenerationConfig(**({"max_new_tokens": 20, "temperature": 1.0} | fields))] * num


def test_each_example_takes_its_most_probable_token():
    assert tokens(TWO, *told(2, num_steps=3)).tolist() == [[[2, 2, 2]], [[3, 3, 3]]]


def test_logits_that_are_large_and_close_are_told_apart():
    logits_BV = [[1700.47, 1700.48, 1700.51, 1700.45], [3.2, 4.8, -5.3, 5.6]]
    assert tokens(logits_BV, *told(2, num_steps=3)).tolist() == [[[2, 2, 2]], [[3, 3, 3]]]


def test_a_prefix_of_each_length_is_forced():
    assert tokens(TWO, *told(2, num_steps=5, forced=[[5, 6, 7], [8, 9]])).tolist() == [
        [[5, 6, 7, 2, 2]],
        [[8, 9, 3, 3, 3]],
    ]


def test_eos_in_a_forced_prefix_ends_nothing():
    assert tokens(TWO, *told(2, num_steps=5, forced=[[5, 6, 1], [8, 1]])).tolist() == [
        [[5, 6, 1, 2, 2]],
        [[8, 1, 3, 3, 3]],
    ]


def test_log_probabilities_are_the_models_and_0_where_tokens_are_forced():
    logits_BV = [[-1e7, -1e7, np.log(0.6), np.log(0.4)]]
    state = decode(logits_BV, *told(1, num_steps=5, forced=[[2, 2, 3]], scores=True))
    assert state.tokens_BKT.tolist() == [[[2, 2, 3, 2, 2]]]
    np.testing.assert_allclose(state.log_probs_BKT.sum(-1), [[-1.02165125]], rtol=1e-6)
    np.testing.assert_array_equal(state.log_probs_BKT[0, 0, :3], 0)


def test_with_top_k_1_what_is_drawn_from_is_certain():
    controls, plan = told(sampled(1, top_k=1), num_steps=20)
    log_probs = jax.nn.log_softmax(filtered(jnp.asarray([[SHARES]]), controls, plan))
    assert log_probs[0, 0, 3] == 0.0


@pytest.mark.parametrize("fields", [{"top_p": 0.55}, {"temperature": 0.8, "top_p": 0.63}])
def test_below_the_highest_probability_top_p_is_greedy(fields):
    assert tokens([SHARES], *told(sampled(1, **fields), num_steps=20)).tolist() == [[[3] * 20]]


def test_temperature_is_applied_before_top_p():
    controls, plan = told(sampled(1, temperature=1.4, top_p=0.7), num_steps=20)
    left = filtered(jnp.asarray([[[-1.2, -1e7, -2.3, -0.51]]]), controls, plan)
    np.testing.assert_allclose(left[0, 0], [-0.85714293, MASKED, MASKED, -0.36428571], rtol=1e-6)


def test_examples_of_a_batch_have_temperatures_of_their_own():
    logits_BV = [SHARES, [-0.51, -1.2, -1e7, -2.3], [-1.2, -1e7, -0.51, -2.3], [-1.2, -0.51, -1e7, -2.3]]
    configs = [
        GenerationConfig(max_new_tokens=20, temperature=temperature, top_p=0.63 if temperature else 1.0)
        for temperature in (0.5, 0, 0.3, 0.2)
    ]
    expected = [[3] * 20, [0] * 20, [2] * 20, [1] + [0] * 19]  # 1 is EOS
    assert tokens(logits_BV, *told(configs, num_steps=20))[:, 0].tolist() == expected


def test_examples_of_a_batch_have_limits_of_their_own():
    configs = [GenerationConfig(max_new_tokens=number) for number in (4, 9)]
    assert tokens([SHARES, SHARES], *told(configs, num_steps=12)).tolist() == [
        [[3] * 4 + [0] * 8],
        [[3] * 9 + [0] * 3],
    ]


def test_a_loop_ends_when_every_sequence_has_ended():
    state = decode([[0, 5, 1]], *told(1, num_steps=7))
    assert (state.count, state.cache.count) == (1, 1)
    assert state.tokens_BKT.tolist() == [[[1, 0, 0, 0, 0, 0, 0]]]


def test_a_stop_token_ends_a_sequence_as_eos_does():
    configs = [GenerationConfig(max_new_tokens=3, stop_tokens=(2,)), GenerationConfig(max_new_tokens=3)]
    assert tokens([TWO[0], TWO[0]], *told(configs, num_steps=3)).tolist() == [[[2, 0, 0]], [[2, 2, 2]]]


def test_a_decoding_goes_on_where_it_stopped():
    controls, plan = told(sampled(2, max_new_tokens=8), num_steps=8)
    logits_BV = np.random.default_rng(0).normal(size=(2, 50))
    at_once = tokens(logits_BV, controls, plan)
    state = start(np.zeros(2, np.int32), NO_STEPS, plan)
    for until in (1, 3, 8):
        state = advance(constant(logits_BV), state, controls, plan, until)
        assert (np.asarray(state.tokens_BKT)[:, :, until:] == 0).all()
    np.testing.assert_array_equal(state.tokens_BKT, at_once)


def test_what_is_drawn_depends_on_seed_and_stream_and_on_no_other_example():
    logits_BV = np.zeros((3, 300))
    configs, streams = sampled(3), [4, 5, 6]
    together = tokens(logits_BV, *told(configs, num_steps=20, streams=streams))
    backwards = tokens(logits_BV, *told(configs, num_steps=20, streams=streams[::-1]))
    alone = tokens(logits_BV[:1], *told(configs[:1], num_steps=20, streams=streams[1:2]))
    np.testing.assert_array_equal(together, backwards[::-1])
    np.testing.assert_array_equal(together[1], alone[0])
    other = tokens(logits_BV[:1], *told(sampled(1, seed=1), num_steps=20, streams=streams[1:2]))
    assert len({tuple(row) for row in [*together[:, 0].tolist(), *other[:, 0].tolist()]}) == 4


def test_samples_of_one_example_differ():
    drawn = tokens(np.zeros((2, 300)), *told(sampled(2, num_return_sequences=3), num_steps=20))
    assert drawn.shape == (2, 3, 20)
    assert len({tuple(row) for row in drawn.reshape(6, 20).tolist()}) == 6


FILTERS = {
    "nothing": {},
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 9},
    "top_p": {"top_p": 0.6},
    "min_p": {"min_p": 0.2},
    "all": {"temperature": 1.5, "top_k": 40, "top_p": 0.9, "min_p": 0.05},
}


@pytest.mark.parametrize("name", FILTERS)
def test_tokens_are_drawn_with_the_probabilities_that_are_left(name):
    logits_V, fields = 1.5 * np.random.default_rng(1).normal(size=150), FILTERS[name]
    expected_V = probabilities_left(logits_V, **fields)
    num = 20_000
    controls, plan = told(sampled(num // 4, num_return_sequences=4, **fields), num_steps=20)
    logits_BKV = jnp.broadcast_to(jnp.asarray(logits_V, jnp.float32), (num // 4, 4, 150))
    drawn_BK = jax.jit(choose, static_argnums=3)(logits_BKV, jnp.asarray(3), controls, plan)
    counts_V = np.bincount(np.asarray(drawn_BK).ravel(), minlength=150)
    assert not counts_V[expected_V == 0].any()
    expected, counts = num * expected_V[expected_V > 0], counts_V[expected_V > 0]
    degrees = len(expected) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    # The 99.9% quantile of chi-square, by Wilson and Hilferty's approximation.
    assert statistic < degrees * (1 - 2 / (9 * degrees) + 3.09 * (2 / (9 * degrees)) ** 0.5) ** 3


def probabilities_left(logits_V, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Sorted and cut, one filter after the other."""
    shares_V = np.exp(logits_V / temperature) / np.exp(logits_V / temperature).sum()
    order_V = np.argsort(-shares_V)
    if top_k:
        shares_V[order_V[top_k:]] = 0
        shares_V /= shares_V.sum()
    if top_p < 1:
        shares_V[order_V[np.searchsorted(np.cumsum(shares_V[order_V]), top_p) + 1 :]] = 0
        shares_V /= shares_V.sum()
    shares_V[shares_V < min_p * shares_V.max()] = 0
    return shares_V / shares_V.sum()
