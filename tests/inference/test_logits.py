"""Tests t5x_lite/inference/logits.py: constraints against plain Python as in transformers, filters against sorting.

Source of the tables: T5X, binary_search_test.py and decoding_test.py (numbers only).

Shape letters: B examples, K sequences, T tokens, V vocabulary.
"""

import jax
import numpy as np
import pytest

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.logits import (
    MASKED,
    constrain,
    forced_token,
    is_stop_token,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    mask_padding_rows,
)
from t5x_lite.inference.params import make_decode_spec, make_sampling_params
from tests.inference.toys import exact_probabilities, params_and_spec

B, K, T, V = 4, 3, 9, 13
EOS = 1
apply = jax.jit(constrain, static_argnames="spec")


def naive(logits_V, decoded, config, vocab_size):
    """The logits of the token after those of a list."""
    logits_V = logits_V.copy()
    if config.repetition_penalty != 1:
        for token in {0, *decoded}:  # 0 starts the decoder
            factor = np.float32(config.repetition_penalty)
            logits_V[token] = logits_V[token] / factor if logits_V[token] > 0 else logits_V[token] * factor
    logits_V[vocab_size:] = MASKED
    if size := config.no_repeat_ngram_size:
        ngrams = [decoded[start : start + size] for start in range(len(decoded) - size + 1)]
        for token in range(V):
            if [*decoded[len(decoded) - size + 1 :], token] in ngrams:
                logits_V[token] = MASKED
    logits_V[list(config.banned_tokens)] = MASKED
    if len(decoded) < config.min_new_tokens:
        logits_V[[EOS, *config.stop_tokens]] = MASKED
    return logits_V


def check(configs, vocab_size=V, highest=5, sizes=None):
    """Compares every number of tokens so far; of few different ones, so that they repeat."""
    rng = np.random.default_rng(0)
    params = make_sampling_params(configs, range(B), eos_id=EOS)
    if sizes is None:
        spec = make_decode_spec(configs, vocab_size=vocab_size, num_steps=T)
    else:
        params = params._replace(no_repeat_ngram_size_B=np.asarray(sizes, np.int32))
        spec = make_decode_spec(configs[:1], vocab_size=vocab_size, num_steps=T)._replace(no_repeat_ngram_size=16)
    changed = 0
    for count in range(T + 1):
        logits_BKV = rng.normal(size=(B, K, V)).astype(np.float32)
        tokens_BKT = rng.integers(0, highest, (B, K, T), dtype=np.int32)
        tokens_BKT[:, :, count:] = 0
        found_BKV = np.asarray(apply(logits_BKV, tokens_BKT, np.int32(count), params, spec))
        for b, k in np.ndindex(B, K):
            decoded = tokens_BKT[b, k, :count].tolist()
            expected_V = naive(logits_BKV[b, k], decoded, configs[b], vocab_size)
            # A division may be rounded otherwise.
            np.testing.assert_allclose(found_BKV[b, k], expected_V, rtol=2e-7, err_msg=f"{b} {k} {decoded}")
            changed += np.sum(expected_V != logits_BKV[b, k])
    return changed


def configs(field, *values):
    return [GenerationConfig(**{field: value}) for value in values]


def test_nothing_changes_by_default():
    assert check([GenerationConfig()] * B) == 0


def test_tokens_that_occurred_and_the_first_are_penalized_by_each_example_s_factor():
    assert check(configs("repetition_penalty", 1.3, 1, 0.6, 2.5)) > B * K * T


def test_the_token_that_starts_a_decoder_is_penalized_where_no_other_is_0():
    config = GenerationConfig(repetition_penalty=2.0)
    params, spec = params_and_spec([config], num_steps=3)
    found_11V = apply(np.ones((1, 1, V), np.float32), np.int32([[[5, 7, 5]]]), np.int32(3), params, spec)
    assert np.flatnonzero(np.asarray(found_11V) == 0.5).tolist() == [0, 5, 7]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_token_completes_an_ngram_that_has_occurred(size):
    assert check(configs("no_repeat_ngram_size", *[size] * B), highest=2) > 10


@pytest.mark.parametrize("sizes", [(0, 1, 2, 3), (2, 2, T, T + 1), (0, 0, 0, 16)], ids=str)
def test_examples_may_have_ngrams_of_different_sizes(sizes):
    assert (check(configs("no_repeat_ngram_size", *sizes), highest=2, sizes=sizes) > 10) == (sizes[2] > 0)


@pytest.mark.parametrize("size", [T + 1, T + 6])
def test_an_ngram_longer_than_the_output_forbids_nothing(size):
    assert check(configs("no_repeat_ngram_size", *[size] * B), highest=1) == 0


def test_ngrams_do_not_include_the_padding():
    config = GenerationConfig(no_repeat_ngram_size=2)
    params, spec = params_and_spec([config], num_steps=5)
    logits_11V = np.zeros((1, 1, V), np.float32)
    for decoded, masked in (([7, 0, 0, 0, 0], []), ([7, 0, 7, 0, 0], [0]), ([0, 0, 0, 0, 0], [0])):
        count = 3 if decoded[2] or not decoded[0] else 1
        tokens_11T = np.array([[decoded]], np.int32)
        found_V = np.asarray(apply(logits_11V, tokens_11T, np.int32(count), params, spec))[0, 0]
        assert np.flatnonzero(found_V == MASKED).tolist() == masked


def test_each_example_bans_tokens_of_its_own():
    assert check(configs("banned_tokens", (0, V - 1, 6), (), (4,), (2, 3, 5, 7, 11))) == (3 + 0 + 1 + 5) * K * (T + 1)


def test_a_banned_id_beyond_the_vocabulary_is_ignored():
    assert check_banned((V, V + 200)) == []
    assert check_banned((V, 3)) == [3]


def check_banned(ids):
    config = GenerationConfig(banned_tokens=ids)
    params, spec = params_and_spec([config], num_steps=T)
    found_11V = apply(np.ones((1, 1, V), np.float32), np.zeros((1, 1, T), np.int32), np.int32(0), params, spec)
    return np.flatnonzero(np.asarray(found_11V) == MASKED).tolist()


def test_no_sequence_ends_before_its_minimum_length():
    stops = ((), (3, 8), (), (V - 1,))
    given = [GenerationConfig(min_new_tokens=n, stop_tokens=s) for n, s in zip((0, 3, 5, 7), stops, strict=True)]
    assert check(given) == (0 * 1 + 3 * 3 + 5 * 1 + 7 * 2) * K


def test_padding_rows_of_the_embedding_are_not_chosen():
    assert check([GenerationConfig()] * B, vocab_size=10) == 3 * B * K * (T + 1)


def test_a_vocabulary_that_is_unknown_or_larger_than_the_embedding_masks_nothing():
    logits_BKV = np.random.default_rng(1).normal(size=(B, K, V)).astype(np.float32)
    for vocab_size in (None, V, V + 4):
        np.testing.assert_array_equal(mask_padding_rows(logits_BKV, vocab_size), logits_BKV)


def test_all_constraints_hold_together():
    shared = {"no_repeat_ngram_size": 2, "max_new_tokens": T}
    given = [
        GenerationConfig(**shared, repetition_penalty=1.7, banned_tokens=(3,)),
        GenerationConfig(**shared, min_new_tokens=4, stop_tokens=(6, 2)),
        GenerationConfig(**shared),
        GenerationConfig(**shared, repetition_penalty=0.8, min_new_tokens=9, banned_tokens=(0, 1)),
    ]
    check(given, vocab_size=11)


def test_a_sequence_ends_by_any_of_its_example_s_stop_tokens():
    tokens_BK = np.array([[1, 5, 7], [7, 1, 0]])
    stop_BW = np.array([[1, 7, -1, -1], [1, 9, 5, -1]])
    np.testing.assert_array_equal(is_stop_token(tokens_BK, stop_BW), [[True, False, True], [False, True, False]])


def test_the_tokens_of_a_forced_prefix_come_one_after_the_other_and_then_any():
    forced_BF = np.array([[5, 6, 0, 8], [9, -1, -1, -1], [-1, -1, -1, -1]], np.int32)
    by_step = [np.asarray(forced_token(forced_BF, np.int32(count))).tolist() for count in range(6)]
    assert by_step == [[5, 9, -1], [6, -1, -1], [0, -1, -1], [8, -1, -1], [-1, -1, -1], [-1, -1, -1]]


def test_nothing_is_forced_where_there_is_no_prefix():
    np.testing.assert_array_equal(forced_token(np.zeros((B, 0), np.int32), np.int32(2)), np.full(B, -1))


TOP_K_ROWS = np.array([[1.4, 7.9, -4.3, 100, 71, 6, -1e4], [8.3, 1.2, 1.3, 1.2, 1.2, 9.7, -100]], np.float32)
TOP_K_KEPT = {
    1: [[100], [9.7]],
    2: [[100, 71], [9.7, 8.3]],
    3: [[100, 71, 7.9], [9.7, 8.3, 1.3]],
    4: [[100, 71, 7.9, 6], [9.7, 8.3, 1.3, 1.2, 1.2, 1.2]],
    5: [[100, 71, 7.9, 6, 1.4], [9.7, 8.3, 1.3, 1.2, 1.2, 1.2]],
    6: [[100, 71, 7.9, 6, 1.4, -4.3], [9.7, 8.3, 1.3, 1.2, 1.2, 1.2]],
    7: [[100, 71, 7.9, 6, 1.4, -4.3, -1e4], [9.7, 8.3, 1.3, 1.2, 1.2, 1.2, -100]],
}
TOP_P_ROWS = np.array([[0, 0.7, 0.04, 0.06, 0.2, 0], [0, 0.2, 0.2, 0.2, 0.3, 0.1]], np.float32)
TOP_P_KEPT = {
    0.1: [[0.7], [0.3]],
    0.3: [[0.7], [0.3]],
    0.4: [[0.7], [0.3, 0.2, 0.2, 0.2]],
    0.8: [[0.7, 0.2], [0.3, 0.2, 0.2, 0.2]],
    0.95: [[0.7, 0.2, 0.06], [0.3, 0.2, 0.2, 0.2, 0.1]],
}

top_k = jax.jit(keep_top_k)
top_p = jax.jit(keep_top_p)
min_p = jax.jit(keep_min_p)


def kept(rows_BV, filtered_B1V):
    """The values of each row that a filter left, the highest first."""
    return [
        sorted(row_V[of_row_V > MASKED].tolist())[::-1]
        for row_V, of_row_V in zip(rows_BV, filtered_B1V[:, 0], strict=True)
    ]


def normal(seed):
    """Logits of 2 examples with 3 sequences each."""
    return np.random.default_rng(seed).normal(size=(2, 3, 203)).astype(np.float32)


def log(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities).astype(np.float32)


@pytest.mark.parametrize("k", TOP_K_KEPT)
def test_top_k_keeps_what_t5x_keeps_ties_included(k):
    found = top_k(TOP_K_ROWS[:, None], np.full(2, k, np.int32))
    assert kept(TOP_K_ROWS, found) == [np.float32(row).tolist() for row in TOP_K_KEPT[k]]


@pytest.mark.parametrize("p", TOP_P_KEPT)
def test_top_p_keeps_what_t5x_keeps_ties_included(p):
    found = top_p(log(TOP_P_ROWS)[:, None], np.full(2, p, np.float32))
    assert kept(TOP_P_ROWS, found) == [np.float32(row).tolist() for row in TOP_P_KEPT[p]]


@pytest.mark.parametrize(
    ("temperature", "p", "left"),
    [(1.4, 0.7, [-0.85714293, MASKED, MASKED, -0.36428571]), (0.8, 0.63, [MASKED, MASKED, MASKED, -0.6375])],
)
def test_top_p_leaves_the_logits_that_t5x_leaves(temperature, p, left):
    logits_11V = np.float32([[[-1.2, -1e7, -2.3, -0.51]]]) / np.float32(temperature)
    np.testing.assert_allclose(top_p(logits_11V, np.float32([p]))[0, 0], left, rtol=1e-6)


def test_each_example_has_a_top_k_of_its_own():
    logits_BKV, k_B = normal(0), np.array([5, 9], np.int32)
    found_BKV = np.asarray(top_k(logits_BKV, k_B))
    lowest_BK1 = [[[np.sort(row_V)[-k]] for row_V in of_example] for of_example, k in zip(logits_BKV, k_B, strict=True)]
    np.testing.assert_array_equal(found_BKV, np.where(logits_BKV >= lowest_BK1, logits_BKV, np.float32(MASKED)))


def test_top_k_compares_signed_zeros_as_equal_and_tells_neighbouring_numbers_apart():
    above = np.nextafter(np.float32(1), np.float32(2))
    rows_BV = np.array([[0.0, -0.0, -2e-38, 2e-38, -np.inf], [1, above, -1, -above, np.inf]], np.float32)
    for k, left in {1: [1, 1], 2: [3, 2], 3: [3, 3], 4: [4, 4], 5: [5, 5]}.items():
        found_B1V = np.asarray(top_k(rows_BV[:, None], np.full(2, k, np.int32)))
        assert np.sum(found_B1V != np.float32(MASKED), axis=-1)[:, 0].tolist() == left


def test_each_example_has_a_top_p_of_its_own():
    logits_BKV, p_B = normal(1), np.array([0.35, 0.9], np.float32)
    found_BKV = np.asarray(top_p(logits_BKV, p_B))
    for b, k in np.ndindex(logits_BKV.shape[:2]):
        expected_V = exact_probabilities(logits_BKV[b, k], top_p=p_B[b])
        np.testing.assert_array_equal(found_BKV[b, k] > MASKED, expected_V > 0)


def test_top_p_distinguishes_probabilities_that_differ_in_their_last_bits():
    second_B = np.linspace(-0.28, -0.05, 20, dtype=np.float32)
    logits_BV = np.stack([0 * second_B, second_B, second_B - np.float32(3e-7)], axis=1)
    kept_B1V = np.asarray(top_p(logits_BV[:, None], np.full(20, 0.5, np.float32))) > MASKED
    assert kept_B1V[:, 0].tolist() == [[True, True, False]] * 20


def test_each_example_has_a_min_p_of_its_own():
    logits_BKV, p_B = normal(2), np.array([0.05, 0.4], np.float32)
    found_BKV = np.asarray(min_p(logits_BKV, p_B))
    for b, k in np.ndindex(logits_BKV.shape[:2]):
        expected_V = exact_probabilities(logits_BKV[b, k], min_p=p_B[b])
        np.testing.assert_array_equal(found_BKV[b, k], np.where(expected_V > 0, logits_BKV[b, k], np.float32(MASKED)))


def test_an_example_without_a_filter_keeps_all_tokens_beside_one_with_a_filter():
    # Tokens so improbable that their probability is 0 in single precision are kept too.
    logits_BKV = 100 * normal(3)
    for found in (
        top_k(logits_BKV, np.array([4, 0], np.int32)),
        top_p(logits_BKV, np.array([0.5, 1], np.float32)),
        min_p(logits_BKV, np.array([0.5, 0], np.float32)),
    ):
        assert np.all(np.sum(np.asarray(found[0]) > MASKED, axis=-1) < 5)
        np.testing.assert_array_equal(found[1], logits_BKV[1])


def test_a_top_k_above_the_vocabulary_keeps_all():
    logits_B1V = normal(4)[:, :1, :7]
    np.testing.assert_array_equal(top_k(logits_B1V, np.array([8, 500], np.int32)), logits_B1V)


def test_masked_tokens_stay_masked():
    logits_11V = np.float32([[[0.3, MASKED, 0.2, MASKED, -4]]])
    for found in (
        top_k(logits_11V, np.array([5], np.int32)),
        top_p(logits_11V, np.array([0.999], np.float32)),
        min_p(logits_11V, np.array([1e-6], np.float32)),
    ):
        np.testing.assert_array_equal(found, logits_11V)
