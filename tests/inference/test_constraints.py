"""Tests t5x_lite/inference/constraints.py: the oracle is each rule in plain Python, as in transformers.

Shape letters: B examples, K sequences, T tokens, V vocabulary.
"""

import jax
import numpy as np
import pytest

from t5x_lite.config import GenerationConfig
from t5x_lite.inference.constraints import constrained, ends, forced_token, within_vocabulary
from t5x_lite.inference.filters import MASKED
from t5x_lite.inference.params import make_controls, make_plan

B, K, T, V = 4, 3, 9, 13
EOS = 1
apply = jax.jit(constrained, static_argnames="plan")


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


def check(configs, vocab_size=V, highest=5):
    """Compares every number of tokens so far; of few different ones, so that they repeat."""
    rng = np.random.default_rng(0)
    controls = make_controls(configs, range(B), eos_id=EOS)
    plan = make_plan(configs, vocab_size=vocab_size, num_steps=T)
    changed = 0
    for count in range(T + 1):
        logits_BKV = rng.normal(size=(B, K, V)).astype(np.float32)
        tokens_BKT = rng.integers(0, highest, (B, K, T), dtype=np.int32)
        tokens_BKT[:, :, count:] = 0
        found_BKV = np.asarray(apply(logits_BKV, tokens_BKT, np.int32(count), controls, plan))
        for b, k in np.ndindex(B, K):
            decoded = tokens_BKT[b, k, :count].tolist()
            expected_V = naive(logits_BKV[b, k], decoded, configs[b], vocab_size)
            # A division may be rounded otherwise.
            np.testing.assert_allclose(found_BKV[b, k], expected_V, rtol=2e-7, err_msg=f"{b} {k} {decoded}")
            changed += np.sum(expected_V != logits_BKV[b, k])
    return changed


def configs(field, *values):
    return [GenerationConfig(**{field: value}) for value in values]


def test_nothing_changes_where_nothing_is_asked_for():
    assert check([GenerationConfig()] * B) == 0


def test_tokens_that_occurred_and_the_first_are_penalized_by_each_example_s_factor():
    assert check(configs("repetition_penalty", 1.3, 1, 0.6, 2.5)) > B * K * T


def test_the_token_that_starts_a_decoder_is_penalized_where_no_other_is_0():
    config = GenerationConfig(repetition_penalty=2.0)
    plan, controls = make_plan([config], vocab_size=V, num_steps=3), make_controls([config], [0], eos_id=EOS)
    found_11V = apply(np.ones((1, 1, V), np.float32), np.int32([[[5, 7, 5]]]), np.int32(3), controls, plan)
    assert np.flatnonzero(np.asarray(found_11V) == 0.5).tolist() == [0, 5, 7]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_token_completes_an_ngram_that_has_occurred(size):
    assert check(configs("no_repeat_ngram_size", *[size] * B), highest=2) > 10


@pytest.mark.parametrize("size", [T + 1, T + 6])
def test_an_ngram_longer_than_all_there_is_room_for_forbids_nothing(size):
    assert check(configs("no_repeat_ngram_size", *[size] * B), highest=1) == 0


def test_an_ngram_is_of_what_was_decoded_and_not_of_the_zeros_behind_it():
    config = GenerationConfig(no_repeat_ngram_size=2)
    plan, controls = make_plan([config], vocab_size=V, num_steps=5), make_controls([config], [0], eos_id=EOS)
    logits_11V = np.zeros((1, 1, V), np.float32)
    for decoded, masked in (([7, 0, 0, 0, 0], []), ([7, 0, 7, 0, 0], [0]), ([0, 0, 0, 0, 0], [0])):
        count = 3 if decoded[2] or not decoded[0] else 1
        tokens_11T = np.array([[decoded]], np.int32)
        found_V = np.asarray(apply(logits_11V, tokens_11T, np.int32(count), controls, plan))[0, 0]
        assert np.flatnonzero(found_V == MASKED).tolist() == masked


def test_each_example_bans_tokens_of_its_own():
    assert check(configs("banned_tokens", (0, V - 1, 6), (), (4,), (2, 3, 5, 7, 11))) == (3 + 0 + 1 + 5) * K * (T + 1)


def test_a_banned_id_beyond_the_vocabulary_bans_nothing_else():
    assert check_banned((V, V + 200)) == []
    assert check_banned((V, 3)) == [3]


def check_banned(ids):
    config = GenerationConfig(banned_tokens=ids)
    plan, controls = make_plan([config], vocab_size=None, num_steps=T), make_controls([config], [0], eos_id=EOS)
    found_11V = apply(np.ones((1, 1, V), np.float32), np.zeros((1, 1, T), np.int32), np.int32(0), controls, plan)
    return np.flatnonzero(np.asarray(found_11V) == MASKED).tolist()


def test_nothing_ends_before_each_example_s_fewest_tokens():
    stops = ((), (3, 8), (), (V - 1,))
    given = [GenerationConfig(min_new_tokens=n, stop_tokens=s) for n, s in zip((0, 3, 5, 7), stops, strict=True)]
    assert check(given) == (0 * 1 + 3 * 3 + 5 * 1 + 7 * 2) * K


def test_rows_that_pad_the_embedding_are_not_chosen():
    assert check([GenerationConfig()] * B, vocab_size=10) == 3 * B * K * (T + 1)


def test_a_vocabulary_that_is_not_known_or_larger_than_the_embedding_masks_nothing():
    logits_BKV = np.random.default_rng(1).normal(size=(B, K, V)).astype(np.float32)
    for vocab_size in (None, V, V + 4):
        np.testing.assert_array_equal(within_vocabulary(logits_BKV, vocab_size), logits_BKV)


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
    np.testing.assert_array_equal(ends(tokens_BK, stop_BW), [[True, False, True], [False, True, False]])


def test_the_tokens_of_a_forced_prefix_come_one_after_the_other_and_then_any():
    forced_BF = np.array([[5, 6, 7, 8], [9, 0, 0, 0], [0, 0, 0, 0]], np.int32)
    by_step = [np.asarray(forced_token(forced_BF, np.int32(count))).tolist() for count in range(6)]
    assert by_step == [[5, 9, 0], [6, 0, 0], [7, 0, 0], [8, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_nothing_is_forced_where_there_is_no_prefix():
    np.testing.assert_array_equal(forced_token(np.zeros((B, 0), np.int32), np.int32(2)), np.zeros(B))
