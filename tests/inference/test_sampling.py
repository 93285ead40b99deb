"""Tests t5x_lite/inference/sampling.py; the numbers of the toys are those of T5X's `decoding_test.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.logits import MASKED, keep_min_p, keep_top_k, keep_top_p
from t5x_lite.inference.sampling import advance, apply_filters, choose, sample, start
from tests.inference.toys import NO_STEPS, constant, exact_probabilities, params_and_spec, surprise

TWO = [[-1e7, -1e7, 0, -1e7], [-1e7, -1e7, -1e7, 0]]  # certain of 2, and of 3
SHARES = [-1.2, -1e7, -2.3, -0.51]  # about 0.3, 0, 0.1, 0.6
B, K, V = 2, 3, 203  # V: more than a block, and no multiple of one
NUM_DRAWS = 20_000
SETTINGS = {
    "nothing": {},
    "a temperature": {"temperature": 0.8},
    "top_k": {"top_k": 17},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.2},
    "all of them": {"temperature": 1.4, "top_k": 90, "top_p": 0.7, "min_p": 0.3},
}


@jax.jit
def drawn(logits_BV, uniform_BN):
    """A token for each number [B, N]; what does not depend on the number is computed once."""

    def of_one(uniform_B):
        return sample(logits_BV[:, None], uniform_B[:, None])[:, 0]

    return jax.vmap(of_one, in_axes=1, out_axes=1)(uniform_BN)


def normal(seed, *shape, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def decode(logits_BV, params, spec, until=99):
    state = start(np.zeros(len(logits_BV), np.int32), NO_STEPS, spec)
    return advance(constant(logits_BV), state, params, spec, until)


def tokens(logits_BV, params, spec, until=99):
    return np.asarray(decode(logits_BV, params, spec, until).tokens_BKT)


def sampled(num, **fields):
    return [GenerationConfig(**({"max_new_tokens": 20, "temperature": 1.0} | fields))] * num


def test_each_example_takes_its_most_probable_token():
    assert tokens(TWO, *params_and_spec(2, num_steps=3)).tolist() == [[[2, 2, 2]], [[3, 3, 3]]]


def test_large_logits_that_differ_slightly_are_distinguished():
    logits_BV = [[1700.47, 1700.48, 1700.51, 1700.45], [3.2, 4.8, -5.3, 5.6]]
    assert tokens(logits_BV, *params_and_spec(2, num_steps=3)).tolist() == [[[2, 2, 2]], [[3, 3, 3]]]


def test_a_prefix_of_each_length_is_forced():
    assert tokens(TWO, *params_and_spec(2, num_steps=5, forced=[[5, 6, 7], [8, 9]])).tolist() == [
        [[5, 6, 7, 2, 2]],
        [[8, 9, 3, 3, 3]],
    ]


def test_eos_in_a_forced_prefix_ends_nothing():
    assert tokens(TWO, *params_and_spec(2, num_steps=5, forced=[[5, 6, 1], [8, 1]])).tolist() == [
        [[5, 6, 1, 2, 2]],
        [[8, 1, 3, 3, 3]],
    ]


def test_log_probabilities_are_the_models_and_0_where_tokens_are_forced():
    logits_BV = [[-1e7, -1e7, np.log(0.6), np.log(0.4)]]
    state = decode(logits_BV, *params_and_spec(1, num_steps=5, forced=[[2, 2, 3]], scores=True))
    assert state.tokens_BKT.tolist() == [[[2, 2, 3, 2, 2]]]
    np.testing.assert_allclose(state.log_probs_BKT.sum(-1), [[-1.02165125]], rtol=1e-6)
    np.testing.assert_array_equal(state.log_probs_BKT[0, 0, :3], 0)


# t5x/decoding_test.py, test_greedy_decoding_topk_sample_log_probs with rescale_log_probs
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "top_k": 1}])
def test_of_one_token_left_the_sampled_log_probability_is_0_as_published(how):
    config = GenerationConfig(max_new_tokens=5, scores_as="sampled", **how)
    logits_BV = [[-1e7, -1e7, np.log(0.6), np.log(0.4)]]
    state = decode(logits_BV, *params_and_spec([config], num_steps=5, forced=[[2, 2, 2]], scores=True))
    assert state.tokens_BKT.tolist() == [[[2] * 5]]
    np.testing.assert_allclose(state.log_probs_BKT, 0, atol=1e-6)


def test_sampled_log_probabilities_are_those_of_the_distribution_drawn_from():
    how = {"temperature": 0.7, "top_k": 3, "top_p": 0.9}
    batch = [
        GenerationConfig(max_new_tokens=40, num_return_sequences=2, scores_as="sampled", **how),
        GenerationConfig(max_new_tokens=40, num_return_sequences=2, scores_as="sampled", temperature=1.5),
    ]
    logits_V = np.array([-9.0, -9.0, 0.3, 1.0, 0.8, -0.5], np.float32)
    state = decode([logits_V] * 2, *params_and_spec(batch, num_steps=40, scores=True))
    for b, filters in enumerate((how, {"temperature": 1.5})):
        with np.errstate(divide="ignore"):
            expected_V = np.log(exact_probabilities(logits_V, **filters))
        length = (np.asarray(state.tokens_BKT[b]) > 0).sum(axis=1).min()
        tokens_KT = np.asarray(state.tokens_BKT[b])[:, :length]
        assert len(set(tokens_KT.ravel().tolist())) > 1
        np.testing.assert_allclose(state.log_probs_BKT[b][:, :length], expected_V[tokens_KT], rtol=1e-4)


def test_top_k_1_is_deterministic():
    params, spec = params_and_spec(sampled(1, top_k=1), num_steps=20)
    log_probs = jax.nn.log_softmax(apply_filters(jnp.asarray([[SHARES]]), params, spec))
    assert log_probs[0, 0, 3] == 0.0


@pytest.mark.parametrize("fields", [{"top_p": 0.55}, {"temperature": 0.8, "top_p": 0.63}])
def test_below_the_highest_probability_top_p_is_greedy(fields):
    assert tokens([SHARES], *params_and_spec(sampled(1, **fields), num_steps=20)).tolist() == [[[3] * 20]]


def test_temperature_is_applied_before_top_p():
    params, spec = params_and_spec(sampled(1, temperature=1.4, top_p=0.7), num_steps=20)
    left = apply_filters(jnp.asarray([[[-1.2, -1e7, -2.3, -0.51]]]), params, spec)
    np.testing.assert_allclose(left[0, 0], [-0.85714293, MASKED, MASKED, -0.36428571], rtol=1e-6)


def test_examples_of_a_batch_have_temperatures_of_their_own():
    logits_BV = [SHARES, [-0.51, -1.2, -1e7, -2.3], [-1.2, -1e7, -0.51, -2.3], [-1.2, -0.51, -1e7, -2.3]]
    configs = [
        GenerationConfig(max_new_tokens=20, temperature=temperature, top_p=0.63 if temperature else 1.0)
        for temperature in (0.5, 0, 0.3, 0.2)
    ]
    expected = [[3] * 20, [0] * 20, [2] * 20, [1] + [0] * 19]  # 1 is EOS
    assert tokens(logits_BV, *params_and_spec(configs, num_steps=20))[:, 0].tolist() == expected


def test_examples_of_a_batch_have_limits_of_their_own():
    configs = [GenerationConfig(max_new_tokens=number) for number in (4, 9)]
    assert tokens([SHARES, SHARES], *params_and_spec(configs, num_steps=12)).tolist() == [
        [[3] * 4 + [0] * 8],
        [[3] * 9 + [0] * 3],
    ]


def test_a_loop_ends_when_every_sequence_has_ended():
    state = decode([[0, 5, 1]], *params_and_spec(1, num_steps=7))
    assert (state.count, state.cache.count) == (1, 1)
    assert state.tokens_BKT.tolist() == [[[1, 0, 0, 0, 0, 0, 0]]]


def test_a_stop_token_ends_a_sequence_as_eos_does():
    configs = [GenerationConfig(max_new_tokens=3, stop_tokens=(2,)), GenerationConfig(max_new_tokens=3)]
    assert tokens([TWO[0], TWO[0]], *params_and_spec(configs, num_steps=3)).tolist() == [[[2, 0, 0]], [[2, 2, 2]]]


def test_decoding_in_steps_equals_decoding_at_once():
    params, spec = params_and_spec(sampled(2, max_new_tokens=8), num_steps=8)
    logits_BV = np.random.default_rng(0).normal(size=(2, 50))
    at_once = tokens(logits_BV, params, spec)
    state = start(np.zeros(2, np.int32), NO_STEPS, spec)
    for until in (1, 3, 8):
        state = advance(constant(logits_BV), state, params, spec, until)
        assert (np.asarray(state.tokens_BKT)[:, :, until:] == 0).all()
    np.testing.assert_array_equal(state.tokens_BKT, at_once)


def test_samples_depend_on_seed_and_stream_alone():
    logits_BV = np.zeros((3, 300))
    configs, streams = sampled(3), [4, 5, 6]
    together = tokens(logits_BV, *params_and_spec(configs, num_steps=20, streams=streams))
    backwards = tokens(logits_BV, *params_and_spec(configs, num_steps=20, streams=streams[::-1]))
    alone = tokens(logits_BV[:1], *params_and_spec(configs[:1], num_steps=20, streams=streams[1:2]))
    np.testing.assert_array_equal(together, backwards[::-1])
    np.testing.assert_array_equal(together[1], alone[0])
    other = tokens(logits_BV[:1], *params_and_spec(sampled(1, seed=1), num_steps=20, streams=streams[1:2]))
    assert len({tuple(row) for row in [*together[:, 0].tolist(), *other[:, 0].tolist()]}) == 4


def test_samples_of_one_example_differ():
    drawn = tokens(np.zeros((2, 300)), *params_and_spec(sampled(2, num_return_sequences=3), num_steps=20))
    assert drawn.shape == (2, 3, 20)
    assert len({tuple(row) for row in drawn.reshape(6, 20).tolist()}) == 6


@pytest.mark.parametrize("name", SETTINGS)
def test_choose_samples_with_the_probabilities_left_by_the_filters(name):
    logits_V, fields = normal(1, V, scale=0.6), SETTINGS[name]
    params, spec = params_and_spec(
        sampled(NUM_DRAWS // 4, num_return_sequences=4, **{"temperature": 1.0} | fields), num_steps=20
    )
    logits_BKV = jnp.broadcast_to(jnp.asarray(logits_V), (NUM_DRAWS // 4, 4, V))
    chosen_BK = jax.jit(choose, static_argnums=3)(logits_BKV, jnp.asarray(3), params, spec)
    counts_V = np.bincount(np.asarray(chosen_BK).ravel(), minlength=V)
    assert surprise(counts_V, exact_probabilities(logits_V, **fields)) < 1


@pytest.fixture(scope="module")
def draws():
    """Logits, the numbers, and the tokens that were drawn with each of the settings."""
    logits_V = normal(5, V, scale=0.6)

    def numbers(name, nothing, dtype=np.float32):
        return np.array([setting.get(name, nothing) for setting in SETTINGS.values()], dtype)

    logits_B1V = logits_V / numbers("temperature", 1)[:, None, None]
    logits_B1V = keep_top_k(logits_B1V, numbers("top_k", 0, np.int32))
    logits_B1V = keep_min_p(keep_top_p(logits_B1V, numbers("top_p", 1)), numbers("min_p", 0))
    uniform_BN = np.random.default_rng(10).random((len(SETTINGS), NUM_DRAWS), np.float32)
    tokens_BN = np.asarray(drawn(logits_B1V[:, 0], uniform_BN))
    return logits_V, dict(zip(SETTINGS, zip(uniform_BN, tokens_BN, strict=True), strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_are_sampled_with_their_probabilities_with(name, draws):
    logits_V, drawn_with = draws
    assert surprise(np.bincount(drawn_with[name][1], minlength=V), exact_probabilities(logits_V, **SETTINGS[name])) < 1


@pytest.mark.parametrize("name", SETTINGS)
def test_samples_equal_those_of_double_precision_with(name, draws):
    logits_V, drawn_with = draws
    uniform_N, tokens_N = drawn_with[name]
    sums_V = np.cumsum(exact_probabilities(logits_V, **SETTINGS[name]))
    assert np.mean(np.searchsorted(sums_V, uniform_N, side="right") != tokens_N) < 2e-4  # but at borders, by rounding


def test_the_statistic_detects_a_distribution_that_is_nearly_right(draws):
    logits_V, drawn_with = draws
    counts_V = np.bincount(drawn_with["nothing"][1], minlength=V)
    assert surprise(counts_V, exact_probabilities(logits_V, temperature=1.15)) > 1
    assert surprise(counts_V, np.roll(exact_probabilities(logits_V), 1)) > 1


def test_the_first_and_the_last_possible_token_are_drawn_at_both_ends():
    below_1 = np.nextafter(np.float32(1), np.float32(0))
    logits_BV = normal(7, B, V)
    logits_BV[0, :130], logits_BV[0, 197:] = MASKED, MASKED
    logits_BV[1, :3], logits_BV[1, 71:] = MASKED, MASKED
    np.testing.assert_array_equal(drawn(logits_BV, np.float32([[0, below_1]] * B)), [[130, 196], [3, 70]])


def test_a_random_number_selects_a_token_by_cumulative_probability():
    logits_V = np.float32([np.log(0.5), MASKED, np.log(0.125), np.log(0.375)])
    numbers_N = np.float32([0.49, 0.51, 0.62, 0.63, 0.99])
    np.testing.assert_array_equal(drawn(logits_V[None], numbers_N[None])[0], [0, 2, 2, 3, 3])


def test_a_random_number_on_a_border_selects_the_next_token():
    numbers_N = np.arange(256, dtype=np.float32) / 256
    np.testing.assert_array_equal(drawn(np.zeros((1, 256), np.float32), numbers_N[None])[0], np.arange(256))


def test_each_sequence_is_drawn_by_its_own_number_from_its_own_logits():
    chosen_BK = np.array([[5, 150, 77], [202, 0, 128]])
    logits_BKV = np.full((B, K, V), MASKED, np.float32)
    np.put_along_axis(logits_BKV, chosen_BK[..., None], 0.5, axis=-1)
    np.testing.assert_array_equal(jax.jit(sample)(logits_BKV, np.full((B, K), 0.5, np.float32)), chosen_BK)


def test_masked_tokens_are_never_sampled_despite_rounding():
    # A token in every 128, most of them masked, and numbers at the borders between those that are not.
    rng = np.random.default_rng(8)
    weights_W = np.exp(2 * rng.normal(size=1004)) * (rng.random(1004) > 0.6)
    logits_V = np.full((1004, 128), MASKED, np.float32)
    logits_V[weights_W > 0, 5] = np.log(weights_W[weights_W > 0])
    border_W = np.asarray(jnp.cumsum(np.float32(weights_W))) / np.float32(weights_W.sum())
    numbers_N = np.concatenate([np.clip(border_W * np.float32(1 + ulp * 2**-24), 0, 0.999999) for ulp in range(-8, 9)])
    tokens_N = np.asarray(drawn(logits_V.reshape(1, -1), numbers_N[None].astype(np.float32)))[0]
    assert logits_V.flat[tokens_N].min() > MASKED


def test_the_last_possible_token_is_sampled_despite_rounding():
    # Of 64 distributions, the sums of some rise among the masked tokens at their ends, beyond what the last one adds.
    rng = np.random.default_rng(9)
    logits_BWV = np.full((64, 1004, 128), MASKED, np.float32)
    logits_BWV[:, 7:750, 5] = rng.normal(size=(64, 743))
    below_1 = np.full((64, 1), np.nextafter(np.float32(1), np.float32(0)))
    assert drawn(logits_BWV.reshape(64, -1), below_1)[:, 0].tolist() == [749 * 128 + 5] * 64


def test_the_first_token_is_sampled_if_all_are_masked():
    np.testing.assert_array_equal(drawn(np.full((1, V), MASKED, np.float32), np.float32([[0, 0.7]])), [[0, 0]])
