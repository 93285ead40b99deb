"""Tests t5x_lite/decode/filters.py; the tables are those of T5X's `binary_search_test.py`."""

import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.decode.filters import BLOCK, MASKED, draw, keep_min_p, keep_top_k, keep_top_p

X = np.array([[1.4, 7.9, -4.3, 100, 71, 6, -1e4], [8.3, 1.2, 1.3, 1.2, 1.2, 9.7, -100]], np.float32)
TOP_K = {
    1: ([100], [9.7]),
    2: ([100, 71], [8.3, 9.7]),
    3: ([7.9, 100, 71], [8.3, 1.3, 9.7]),
    4: ([7.9, 100, 71, 6], [8.3, 1.2, 1.3, 1.2, 1.2, 9.7]),  # three are as high as the fourth
    5: ([1.4, 7.9, 100, 71, 6], [8.3, 1.2, 1.3, 1.2, 1.2, 9.7]),
    6: ([1.4, 7.9, -4.3, 100, 71, 6], [8.3, 1.2, 1.3, 1.2, 1.2, 9.7]),
    7: (X[0], X[1]),
}
SHARES = np.array([[0.0, 0.7, 0.04, 0.06, 0.2, 0.0], [0.0, 0.2, 0.2, 0.2, 0.3, 0.1]])
TOP_P = {
    0.1: ([0.7], [0.3]),
    0.3: ([0.7], [0.3]),
    0.4: ([0.7], [0.2, 0.2, 0.2, 0.3]),
    0.8: ([0.7, 0.2], [0.2, 0.2, 0.2, 0.3]),
    0.95: ([0.7, 0.06, 0.2], [0.2, 0.2, 0.2, 0.3, 0.1]),
}


def kept(logits_BKV):
    return [row[row > MASKED] for row in np.asarray(logits_BKV)[:, 0]]


def each(value, dtype=np.float32):
    return jnp.asarray([value, value], dtype)


@pytest.mark.parametrize("k", TOP_K)
@pytest.mark.parametrize("most", [7, None])
def test_the_k_highest_are_kept_ties_included(k, most):
    for row, expected in zip(kept(keep_top_k(X[:, None], each(k, np.int32), most=most or k)), TOP_K[k], strict=True):
        np.testing.assert_array_equal(row, np.float32(expected))


def test_each_example_has_its_own_k_and_0_keeps_all():
    rows = kept(keep_top_k(X[:, None], jnp.asarray([0, 2]), most=4))
    assert [len(row) for row in rows] == [7, 2]


@pytest.mark.parametrize("p", TOP_P)
def test_the_fewest_that_have_a_share_p_together_are_kept_ties_included(p):
    logits_BV = np.log(np.maximum(SHARES, 1e-30)).astype(np.float32)
    for row, expected in zip(kept(keep_top_p(logits_BV[:, None], each(p))), TOP_P[p], strict=True):
        np.testing.assert_allclose(np.exp(row), expected, rtol=1e-6)


def test_each_example_has_its_own_p_and_1_keeps_all():
    logits_BV = np.log(np.maximum(SHARES, 1e-30)).astype(np.float32)
    assert [len(row) for row in kept(keep_top_p(logits_BV[:, None], jnp.asarray([1.0, 0.25])))] == [6, 1]


def test_top_p_keeps_what_sorting_keeps():
    logits_BKV = 3 * np.random.default_rng(0).normal(size=(5, 2, 301)).astype(np.float32)
    top_p_B = np.array([0.01, 0.3, 0.5, 0.9, 0.99], np.float32)
    filtered_BKV = np.asarray(keep_top_p(logits_BKV, top_p_B))
    for b, k in np.ndindex(5, 2):
        shares_V = np.exp(logits_BKV[b, k].astype(np.float64))
        order_V = np.argsort(-shares_V)
        number = np.searchsorted(np.cumsum(shares_V[order_V]) / shares_V.sum(), top_p_B[b]) + 1
        assert set(np.flatnonzero(filtered_BKV[b, k] > MASKED)) == set(order_V[:number])


def test_tokens_a_share_as_probable_as_the_most_probable_are_kept():
    logits_BV = np.log(np.maximum(SHARES, 1e-30)).astype(np.float32)
    rows = kept(keep_min_p(logits_BV[:, None], jnp.asarray([0.2, 0.0])))
    np.testing.assert_allclose(np.exp(rows[0]), [0.7, 0.2], rtol=1e-6)
    assert len(rows[1]) == 6


def test_numbers_from_0_to_1_draw_the_tokens_in_proportion():
    shares = [0.5, 0.0, 0.25, 0.25]
    logits_BKV = np.log(np.maximum(shares, 1e-30))[None, None].astype(np.float32)
    logits_BKV[0, 0, 1] = MASKED
    uniform = [0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2**-24]
    drawn = [int(draw(logits_BKV, jnp.full((1, 1), number))[0, 0]) for number in uniform]
    assert drawn == [0, 0, 2, 2, 3, 3]


def test_what_is_masked_is_never_drawn_whatever_the_block():
    V = 2 * BLOCK + 37
    logits_V = np.full(V, MASKED, np.float32)
    allowed = [BLOCK - 1, BLOCK, 2 * BLOCK + 20]
    logits_V[allowed] = np.log([0.2, 0.5, 0.3])
    uniform_1K = np.linspace(0, 1 - 2**-24, 1001, dtype=np.float32)[None]
    drawn_K = np.asarray(draw(np.broadcast_to(logits_V, (1, 1001, V)), uniform_1K))[0]
    counts = np.bincount(drawn_K, minlength=V)
    np.testing.assert_allclose(counts[allowed] / 1001, [0.2, 0.5, 0.3], atol=2e-3)
    assert counts.sum() == counts[allowed].sum()
    assert (drawn_K[0], drawn_K[-1]) == (allowed[0], allowed[-1])
