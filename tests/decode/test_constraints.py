"""Tests t5x_lite/decode/constraints.py against the rules of transformers, written naively."""

import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import GenerationConfig
from t5x_lite.decode.constraints import constrained, ends, forced_token, within_vocabulary
from t5x_lite.decode.filters import MASKED
from tests.decode.toys import told

B, K, T, V = 2, 3, 8, 11


def history(seed, vocabulary=5):
    return np.random.default_rng(seed).integers(2, vocabulary, (B, K, T)).astype(np.int32)


def logits():
    return np.random.default_rng(9).normal(size=(B, K, V)).astype(np.float32)


def result(count, tokens_BKT, **fields):
    controls, plan = told([GenerationConfig(max_new_tokens=T, **fields)] * B, num_steps=T)
    so_far_BKT = np.where(np.arange(T) < count, tokens_BKT, 0)
    return np.asarray(constrained(jnp.asarray(logits()), so_far_BKT, jnp.asarray(count), controls, plan))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_tokens_that_occurred_become_less_probable_the_start_among_them(count):
    tokens_BKT, expected_BKV = history(0), logits()
    for b, k in np.ndindex(B, K):
        for token in {0, *tokens_BKT[b, k, :count].tolist()}:
            logit = expected_BKV[b, k, token]
            expected_BKV[b, k, token] = logit / 1.5 if logit > 0 else logit * 1.5
    np.testing.assert_allclose(result(count, tokens_BKT, repetition_penalty=1.5), expected_BKV, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 7])
def test_no_n_tokens_in_a_row_are_repeated(size, count):
    for seed in range(4):
        tokens_BKT, expected_BKV = history(seed), logits()
        for b, k in np.ndindex(B, K):
            so_far = tokens_BKT[b, k, :count].tolist()
            for token in range(V):
                new = [*so_far, token][-size:]
                if len(new) == size and any(so_far[i : i + size] == new for i in range(count - size + 1)):
                    expected_BKV[b, k, token] = MASKED
        np.testing.assert_array_equal(result(count, tokens_BKT, no_repeat_ngram_size=size), expected_BKV)


def test_banned_tokens_are_never_chosen():
    banned_BKV = result(2, history(0), banned_tokens=(3, 10, 7))
    assert (banned_BKV[:, :, [3, 7, 10]] == MASKED).all()
    rest = np.delete(np.arange(V), [3, 7, 10])
    np.testing.assert_array_equal(banned_BKV[:, :, rest], logits()[:, :, rest])


def test_a_sequence_has_at_least_so_many_tokens_before_what_ends_it():
    for count, is_masked in ((0, True), (2, True), (3, False), (6, False)):
        # As transformers has it: EOS is masked while fewer than 3 tokens are there, EOS not counted.
        early_BKV = result(count, history(0), min_new_tokens=3, stop_tokens=(8,))
        assert (early_BKV[:, :, [1, 8]] == MASKED).all() == is_masked
        np.testing.assert_array_equal(early_BKV[:, :, 2:8], logits()[:, :, 2:8])


def test_ids_the_tokenizer_does_not_have_are_never_chosen():
    assert (np.asarray(within_vocabulary(logits(), 9))[:, :, 9:] == MASKED).all()
    for vocab_size in (None, V, V + 5):
        np.testing.assert_array_equal(within_vocabulary(logits(), vocab_size), logits())


def test_what_ends_a_sequence_is_of_its_example():
    tokens_BK = np.array([[1, 5, 7], [5, 1, 0]])
    ended_BK = ends(tokens_BK, np.array([[1, 5], [1, -1]]))
    assert ended_BK.tolist() == [[True, True, False], [False, True, False]]


def test_a_prefix_is_forced_token_by_token_and_then_any_may_come():
    forced_BF = np.array([[4, 3, 0, 0], [5, 6, 7, 8]], np.int32)
    found = [forced_token(forced_BF, jnp.asarray(count)).tolist() for count in range(6)]
    assert found == [[4, 5], [3, 6], [0, 7], [0, 8], [0, 0], [0, 0]]
    assert forced_token(np.zeros((2, 0), np.int32), jnp.asarray(0)).tolist() == [0, 0]
