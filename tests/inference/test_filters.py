"""Tests t5x_lite/inference/filters.py

Source of the tables: T5X, binary_search_test.py and decoding_test.py (numbers only).

Shape letters: B examples, V tokens, N draws.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.inference.filters import MASKED, draw, keep_min_p, keep_top_k, keep_top_p

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

top_k = jax.jit(keep_top_k, static_argnames="most")
top_p = jax.jit(keep_top_p)
min_p = jax.jit(keep_min_p)


@jax.jit
def drawn(logits_BV, uniform_BN):
    """A token for each number [B, N]; what does not depend on the number is computed once."""

    def of_one(uniform_B):
        return draw(logits_BV[:, None], uniform_B[:, None])[:, 0]

    return jax.vmap(of_one, in_axes=1, out_axes=1)(uniform_BN)


def kept(rows_BV, filtered_B1V):
    """The values of each row that a filter left, the highest first."""
    return [
        sorted(row_V[of_row_V > MASKED].tolist())[::-1]
        for row_V, of_row_V in zip(rows_BV, filtered_B1V[:, 0], strict=True)
    ]


def normal(seed, *shape, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def log(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities).astype(np.float32)


def exact(logits_V, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The distribution that is drawn from, by sorting, in double precision."""
    logits_V = logits_V.astype(np.float64) / temperature
    order_V = np.argsort(-logits_V)
    shares_V = np.exp(logits_V[order_V])
    if top_k:
        shares_V[top_k:] = 0
    shares_V /= shares_V.sum()
    shares_V[1 + np.searchsorted(np.cumsum(shares_V), top_p) :] = 0
    shares_V[shares_V < min_p * shares_V[0]] = 0
    probabilities_V = np.zeros(len(logits_V))
    probabilities_V[order_V] = shares_V / shares_V.sum()
    return probabilities_V


def surprise(counts_V, probabilities_V):
    """The chi-square statistic, as a multiple of what it exceeds once in a thousand times (Wilson and Hilferty)."""
    expected_V = probabilities_V[probabilities_V > 0] * counts_V.sum()
    assert expected_V.min() > 5  # else it has another distribution
    assert not counts_V[probabilities_V == 0].any()
    freedom = len(expected_V) - 1
    critical = freedom * (1 - 2 / (9 * freedom) + 3.0902 * np.sqrt(2 / (9 * freedom))) ** 3
    return ((counts_V[probabilities_V > 0] - expected_V) ** 2 / expected_V).sum() / critical


@pytest.mark.parametrize("k", TOP_K_KEPT)
def test_top_k_keeps_what_t5x_keeps_ties_included(k):
    found = top_k(TOP_K_ROWS[:, None], np.full(2, k, np.int32), most=7)
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
    logits_BKV, k_B = normal(0, B, K, V), np.array([5, 9], np.int32)
    found_BKV = np.asarray(top_k(logits_BKV, k_B, most=64))
    lowest_BK1 = [[[np.sort(row_V)[-k]] for row_V in of_example] for of_example, k in zip(logits_BKV, k_B, strict=True)]
    np.testing.assert_array_equal(found_BKV, np.where(logits_BKV >= lowest_BK1, logits_BKV, np.float32(MASKED)))


def test_each_example_has_a_top_p_of_its_own():
    logits_BKV, p_B = normal(1, B, K, V), np.array([0.35, 0.9], np.float32)
    found_BKV = np.asarray(top_p(logits_BKV, p_B))
    for b, k in np.ndindex(B, K):
        expected_V = exact(logits_BKV[b, k], top_p=p_B[b])
        np.testing.assert_array_equal(found_BKV[b, k] > MASKED, expected_V > 0)


def test_top_p_tells_probabilities_that_differ_in_their_last_bits():
    second_B = np.linspace(-0.28, -0.05, 20, dtype=np.float32)
    logits_BV = np.stack([0 * second_B, second_B, second_B - np.float32(3e-7)], axis=1)
    kept_B1V = np.asarray(top_p(logits_BV[:, None], np.full(20, 0.5, np.float32))) > MASKED
    assert kept_B1V[:, 0].tolist() == [[True, True, False]] * 20


def test_each_example_has_a_min_p_of_its_own():
    logits_BKV, p_B = normal(2, B, K, V), np.array([0.05, 0.4], np.float32)
    found_BKV = np.asarray(min_p(logits_BKV, p_B))
    for b, k in np.ndindex(B, K):
        expected_V = exact(logits_BKV[b, k], min_p=p_B[b])
        np.testing.assert_array_equal(found_BKV[b, k], np.where(expected_V > 0, logits_BKV[b, k], np.float32(MASKED)))


def test_an_example_that_asks_for_no_filter_keeps_all_beside_one_that_does():
    # Tokens so improbable that their probability is 0 in single precision are kept too.
    logits_BKV = normal(3, B, K, V, scale=100)
    for found in (
        top_k(logits_BKV, np.array([4, 0], np.int32), most=64),
        top_p(logits_BKV, np.array([0.5, 1], np.float32)),
        min_p(logits_BKV, np.array([0.5, 0], np.float32)),
    ):
        assert np.all(np.sum(np.asarray(found[0]) > MASKED, axis=-1) < 5)
        np.testing.assert_array_equal(found[1], logits_BKV[1])


def test_a_top_k_above_the_vocabulary_keeps_all():
    logits_B1V = normal(4, B, 1, 7)
    np.testing.assert_array_equal(top_k(logits_B1V, np.array([8, 500], np.int32), most=7), logits_B1V)


def test_what_is_masked_stays_masked():
    logits_11V = np.float32([[[0.3, MASKED, 0.2, MASKED, -4]]])
    for found in (
        top_k(logits_11V, np.array([5], np.int32), most=5),
        top_p(logits_11V, np.array([0.999], np.float32)),
        min_p(logits_11V, np.array([1e-6], np.float32)),
    ):
        np.testing.assert_array_equal(found, logits_11V)


@pytest.fixture(scope="module")
def draws():
    """Logits, the numbers, and the tokens that were drawn with each of the settings."""
    logits_V = normal(5, V, scale=0.6)

    def numbers(name, nothing, dtype=np.float32):
        return np.array([setting.get(name, nothing) for setting in SETTINGS.values()], dtype)

    logits_B1V = logits_V / numbers("temperature", 1)[:, None, None]
    logits_B1V = top_k(logits_B1V, numbers("top_k", 0, np.int32), most=128)
    logits_B1V = min_p(top_p(logits_B1V, numbers("top_p", 1)), numbers("min_p", 0))
    uniform_BN = np.random.default_rng(10).random((len(SETTINGS), NUM_DRAWS), np.float32)
    tokens_BN = np.asarray(drawn(logits_B1V[:, 0], uniform_BN))
    return logits_V, dict(zip(SETTINGS, zip(uniform_BN, tokens_BN, strict=True), strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_are_drawn_as_often_as_they_are_probable_with(name, draws):
    logits_V, drawn_with = draws
    assert surprise(np.bincount(drawn_with[name][1], minlength=V), exact(logits_V, **SETTINGS[name])) < 1


@pytest.mark.parametrize("name", SETTINGS)
def test_a_number_draws_the_token_that_double_precision_draws_with(name, draws):
    logits_V, drawn_with = draws
    uniform_N, tokens_N = drawn_with[name]
    sums_V = np.cumsum(exact(logits_V, **SETTINGS[name]))
    assert np.mean(np.searchsorted(sums_V, uniform_N, side="right") != tokens_N) < 2e-4  # but at borders, by rounding


def test_the_statistic_tells_a_distribution_that_is_nearly_right(draws):
    logits_V, drawn_with = draws
    counts_V = np.bincount(drawn_with["nothing"][1], minlength=V)
    assert surprise(counts_V, exact(logits_V, temperature=1.15)) > 1
    assert surprise(counts_V, np.roll(exact(logits_V), 1)) > 1


def test_the_first_and_the_last_possible_token_are_drawn_at_both_ends():
    below_1 = np.nextafter(np.float32(1), np.float32(0))
    logits_BV = normal(7, B, V)
    logits_BV[0, :130], logits_BV[0, 197:] = MASKED, MASKED
    logits_BV[1, :3], logits_BV[1, 71:] = MASKED, MASKED
    np.testing.assert_array_equal(drawn(logits_BV, np.float32([[0, below_1]] * B)), [[130, 196], [3, 70]])


def test_a_number_says_which_token_by_the_cumulated_probability():
    probabilities_V = np.float32([0.5, 0, 0.125, 0.375])
    numbers_N = np.float32([0.49, 0.51, 0.62, 0.63, 0.99])
    np.testing.assert_array_equal(drawn(log(probabilities_V)[None], numbers_N[None])[0], [0, 2, 2, 3, 3])


def test_a_number_on_a_border_is_the_token_s_behind_it():
    numbers_N = np.arange(256, dtype=np.float32) / 256
    np.testing.assert_array_equal(drawn(np.zeros((1, 256), np.float32), numbers_N[None])[0], np.arange(256))


def test_each_sequence_is_drawn_by_its_own_number_from_its_own_logits():
    chosen_BK = np.array([[5, 150, 77], [202, 0, 128]])
    logits_BKV = np.full((B, K, V), MASKED, np.float32)
    np.put_along_axis(logits_BKV, chosen_BK[..., None], 0.5, axis=-1)
    np.testing.assert_array_equal(jax.jit(draw)(logits_BKV, np.full((B, K), 0.5, np.float32)), chosen_BK)


def test_what_has_no_probability_is_never_drawn_however_sums_are_rounded():
    # A token in every 128, most of them masked, and numbers at the borders between those that are not.
    rng = np.random.default_rng(8)
    weights_W = np.exp(2 * rng.normal(size=1004)) * (rng.random(1004) > 0.6)
    logits_V = np.full((1004, 128), MASKED, np.float32)
    logits_V[weights_W > 0, 5] = np.log(weights_W[weights_W > 0])
    border_W = np.asarray(jnp.cumsum(np.float32(weights_W))) / np.float32(weights_W.sum())
    numbers_N = np.concatenate([np.clip(border_W * np.float32(1 + ulp * 2**-24), 0, 0.999999) for ulp in range(-8, 9)])
    tokens_N = np.asarray(drawn(logits_V.reshape(1, -1), numbers_N[None].astype(np.float32)))[0]
    assert logits_V.flat[tokens_N].min() > MASKED


def test_the_last_possible_token_is_drawn_where_sums_are_rounded_to_more():
    # Of 64 distributions, the sums of some rise among the masked tokens at their ends, beyond what the last one adds.
    rng = np.random.default_rng(9)
    logits_BWV = np.full((64, 1004, 128), MASKED, np.float32)
    logits_BWV[:, 7:750, 5] = rng.normal(size=(64, 743))
    below_1 = np.full((64, 1), np.nextafter(np.float32(1), np.float32(0)))
    assert drawn(logits_BWV.reshape(64, -1), below_1)[:, 0].tolist() == [749 * 128 + 5] * 64


def test_where_nothing_is_possible_the_first_token_is_drawn():
    np.testing.assert_array_equal(drawn(np.full((1, V), MASKED, np.float32), np.float32([[0, 0.7]])), [[0, 0]])
