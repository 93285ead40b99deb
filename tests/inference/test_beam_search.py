"""Tests t5x_lite/inference/beam_search.py; the toys are those of T5X's `decoding_test.py`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference import beam_search
from tests.inference.toys import NO_STEPS, Steps, constant, params_and_spec

LOW = -1e7


def search(step, batch_size, num_steps, *, eos_id=1, forced=None, **fields):
    config = GenerationConfig(**({"max_new_tokens": num_steps, "num_beams": 2, "length_penalty": 0.0} | fields))
    params, spec = params_and_spec([config] * batch_size, num_steps=num_steps, eos_id=eos_id, forced=forced)

    @jax.jit
    def run(params):
        beams = beam_search.start(np.zeros(batch_size, np.int32), NO_STEPS, spec)
        return beam_search.best(beam_search.advance(step, beams, params, spec, num_steps), spec)

    return tuple(map(np.asarray, run(params)))


def test_both_best_paths_of_a_markov_chain_are_found():
    # States: 0 padding, 1 A, 2 B, 3 START, 4 END. The potentials of A and B, step after step:
    same, other = [[1, -1], [-1, 1]], [[-1, 1], [1, -1]]
    edges = np.full((7, 5, 5), LOW)
    edges[0, :, 3] = 0  # START comes first, whatever was there
    edges[1, 3, 1:3] = 0
    for step, potentials in enumerate((same, other, same, other), start=2):
        edges[step, 1:3, 1:3] = potentials
    edges[6, 1:3, 4] = 0

    def chain(tokens_BK, cache):
        return jnp.asarray(edges, jnp.float32)[cache.count][tokens_BK], Steps(cache.count + 1)

    tokens_BKT, scores_BK = search(chain, 2, 7, eos_id=4)
    names = np.array(["", "A", "B", "START-", "-END"])
    for tokens_KT, scores_K in zip(tokens_BKT, scores_BK, strict=True):
        found = {"".join(names[tokens_T]) for tokens_T in tokens_KT}
        assert found == {"START-AABBA-END", "START-BBAAB-END"}
        assert scores_K[0] == scores_K[1]


PREFERENCES = [[LOW, -1e10, -0.1, -0.9, -1e4, -1e4, -1e4, -1e4], [LOW, -1e10, -0.9, -0.1, -1e4, -1e4, -1e4, -1e4]]


def test_a_forced_prefix_has_probability_1_and_the_search_starts_after_it():
    tokens_BKT, scores_BK = search(constant(PREFERENCES), 2, 4, forced=[[7], [4, 5]])
    assert tokens_BKT[:, 0].tolist() == [[7, 2, 2, 2], [4, 5, 3, 3]]
    # Of what comes second, all orders are as probable: T5X has these tokens too.
    assert np.sort(tokens_BKT[:, 1]).tolist() == [[2, 2, 3, 7], [2, 3, 4, 5]]
    log_probs_BV = np.asarray(jax.nn.log_softmax(np.array(PREFERENCES)))
    for b, prefix in enumerate((1, 2)):
        for tokens_T, score in zip(tokens_BKT[b], scores_BK[b], strict=True):
            np.testing.assert_allclose(score, log_probs_BV[b, tokens_T[prefix:]].sum(), rtol=1e-5)
    assert (np.diff(scores_BK) <= 0).all()


def table_of(seed, B=2, V=5, T=4):
    """Logits that depend on the step and on the last token."""
    return np.random.default_rng(seed).normal(size=(T, V, V)).astype(np.float32) * 2


def by_table(table_TVV):
    def step(tokens_BK, cache):
        return jnp.asarray(table_TVV)[cache.count][tokens_BK], Steps(cache.count + 1)

    return step


def penalty(length, exponent, rules):
    return length**exponent if rules == "hf" else ((5 + length) / 6) ** exponent


@pytest.mark.parametrize("rules", ["t5x", "hf"])
@pytest.mark.parametrize("exponent", [0.0, 0.6, 2.0])
def test_a_search_with_enough_beams_finds_the_best_of_all_sequences(rules, exponent):
    V, T = 4, 3
    table_TVV = table_of(3, V=V, T=T)
    log_probs_TVV = np.asarray(jax.nn.log_softmax(table_TVV)).astype(np.float64)
    scores = {}
    for length in range(1, T + 1):
        for sequence in itertools.product(range(V), repeat=length):
            ends = sequence[-1] == 1
            if 1 in sequence[:-1] or not (ends or (rules == "hf" and length == T)):
                continue
            last, total = 0, 0.0
            for place, token in enumerate(sequence):
                total, last = total + log_probs_TVV[place, last, token], token
            scores[sequence] = total / penalty(length, exponent, rules)
    best = sorted(scores, key=scores.get, reverse=True)
    tokens_BKT, scores_BK = search(
        by_table(table_TVV), 1, T, num_beams=40, length_penalty=exponent, beam_variant=rules, num_return_sequences=5
    )
    for k in range(3):
        assert tuple(tokens_BKT[0, k])[: len(best[k])] == best[k]
        np.testing.assert_allclose(scores_BK[0, k], scores[best[k]], rtol=1e-5)


def test_if_none_has_finished_t5x_returns_live_sequences_with_their_log_probabilities():
    never = np.array([[LOW, -1e10, 0.0, 1.0, 0.5]])
    tokens_BKT, scores_BK = search(constant(never), 1, 3, length_penalty=0.6)
    assert tokens_BKT[0, 0].tolist() == [3, 3, 3]
    np.testing.assert_allclose(scores_BK[0, 0], 3 * np.asarray(jax.nn.log_softmax(never))[0, 3], rtol=1e-5)


@pytest.mark.parametrize("rules", ["t5x", "hf"])
def test_an_examples_result_does_not_depend_on_the_length_of_others(rules):
    table_BTVV = np.stack([table_of(seed, V=6, T=9) for seed in (5, 6)])
    table_BTVV[0, :, :, 1] += 4.0  # ends soon
    table_BTVV[1, :, :, 1] -= 6.0

    def step_of(rows):
        def step(tokens_BK, cache):
            tables = jnp.asarray(table_BTVV[rows])[:, cache.count]
            return jax.vmap(lambda table, tokens: table[tokens])(tables, tokens_BK), Steps(cache.count + 1)

        return step

    fields = {"num_beams": 3, "beam_variant": rules, "length_penalty": 1.0}
    together = search(step_of([0, 1]), 2, 9, **fields)
    alone = search(step_of([0]), 1, 9, **fields)
    np.testing.assert_array_equal(together[0][:1], alone[0])
    np.testing.assert_array_equal(together[1][:1], alone[1])


@pytest.mark.parametrize(("rules", "exponent"), [("t5x", 0.6), ("hf", -1.0)])
@pytest.mark.parametrize("digits", [0, 6])  # with no digits, many scores tie
def test_a_search_with_fewer_beams_than_slots_is_that_of_a_program_for_its_beams(rules, exponent, digits):
    numbers, slots, T = [2, 3, 5, 8], 8, 6
    table_TVV = np.round(table_of(11, V=5, T=T), digits)
    fields = {"max_new_tokens": T, "length_penalty": exponent, "beam_variant": rules}
    configs = [GenerationConfig(**fields, num_beams=slots)] * len(numbers)
    params, spec = params_and_spec(configs, num_steps=T + 2)
    params = params._replace(num_beams_B=np.int32(numbers))
    beams = beam_search.start(np.zeros(len(numbers), np.int32), NO_STEPS, spec)
    found = beam_search.best(beam_search.advance(by_table(table_TVV), beams, params, spec, T), spec)
    for row, number in enumerate(numbers):
        tokens_BKT, scores_BK = search(by_table(table_TVV), 1, T, **fields, num_beams=number)
        np.testing.assert_array_equal(found[0][row, :number, :T], tokens_BKT[0])
        np.testing.assert_array_equal(found[1][row, :number], scores_BK[0])


def test_a_search_ends_once_its_result_is_decided():
    sure = np.array([[LOW, 9.0, 0.0, 0.0]])
    config = GenerationConfig(max_new_tokens=50, num_beams=2)
    params, spec = params_and_spec([config], num_steps=50)
    beams = beam_search.start(np.zeros(1, np.int32), NO_STEPS, spec)
    ended = jax.jit(lambda beams: beam_search.advance(constant(sure), beams, params, spec, 50))(beams)
    assert ended.count < 10


@pytest.mark.parametrize("size", [128 * 40, 128 * 40 + 37, 100])
def test_top_k_in_two_stages_is_top_k_ties_included(size):
    rng = np.random.default_rng(0)
    for scores_BV in (rng.normal(size=(3, size)), rng.integers(0, 4, (3, size)), rng.integers(0, 90, (3, size))):
        scores_BV = scores_BV.astype(np.float32)
        for found, expected in zip(beam_search.top_k(scores_BV, 6), jax.lax.top_k(scores_BV, 6), strict=True):
            np.testing.assert_array_equal(found, expected)
