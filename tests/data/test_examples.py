"""Tests t5x_lite/data/examples.py"""

import dataclasses

import numpy as np
import pytest

from t5x_lite.data.examples import Chunks, spread
from t5x_lite.data.objectives.span_corruption import SpanCorruption, span_corruption_lengths
from tests.tokens import ArrayTokens

S = 32
L, T = span_corruption_lengths(S, 0.15, 3.0)


def make_objective(seed=13):
    return SpanCorruption(
        inputs_length=S, targets_length=T, chunk_length=L, noise_density=0.15, mean_span_length=3.0,
        first_sentinel=9_999, seed=seed,
    )  # fmt: skip


def test_too_few_tokens_for_one_chunk_are_refused_with_both_numbers_where_leftovers_are_dropped():
    message = f"there are {L - 1} tokens, but an example with train.inputs_length {S} needs {L}"
    with pytest.raises(ValueError, match=message):
        Chunks(ArrayTokens(np.arange(L - 1)), make_objective(), keep_leftover=False)
    with pytest.raises(ValueError, match="there are 0 tokens"):
        Chunks(ArrayTokens(np.arange(0)), make_objective())


def with_length(chunk_length):
    return dataclasses.replace(make_objective(), chunk_length=chunk_length)


@pytest.mark.parametrize(
    ("chunk_length", "lengths"), [(30, [30, 30, 30, 10]), (1_000, [100]), (99, [99, 1]), (50, [50] * 2)]
)
def test_100_tokens_in_chunks_are_all_seen_as_in_t5(chunk_length, lengths):
    objective = dataclasses.replace(with_length(chunk_length), inputs_length=1_000, targets_length=400)
    chunks = Chunks(ArrayTokens(np.arange(100) + 2), objective)
    assert len(chunks) == len(lengths)
    rows = chunks(np.arange(len(lengths)), np.arange(len(lengths)))
    found = np.concatenate([rows["inputs"], rows["targets"]], axis=1)
    starts = np.cumsum([0, *lengths])
    for row, start, length in zip(found, starts, lengths, strict=False):
        assert sorted(row[(row > 1) & (row < 102)].tolist()) == list(range(2 + start, 2 + start + length))
    assert (rows["targets"] > 0).sum(axis=1).min() >= 2  # a sentinel or a token, and EOS


def test_rows_with_leftovers_are_those_of_each_chunk_alone_in_any_order():
    chunks = Chunks(ArrayTokens(np.arange(4 * L + 7) + 2), make_objective())
    number_B, index_B = np.array([4, 1, 4, 0, 3, 4]), np.array([9, 2, 6, 0, 7, 1])
    together = chunks(number_B, index_B)
    alone = [chunks(number_B[b : b + 1], index_B[b : b + 1]) for b in range(6)]
    for name, rows in together.items():
        np.testing.assert_array_equal(rows, np.concatenate([one[name] for one in alone]))
    leftovers = chunks(np.array([4, 4]), np.array([6, 9]))
    np.testing.assert_array_equal(leftovers["inputs"], together["inputs"][[2, 0]])


def test_whole_chunks_are_the_same_whether_or_not_leftovers_are_kept():
    tokens = ArrayTokens(np.arange(4 * L + 7) + 2)
    kept, dropped = Chunks(tokens, make_objective()), Chunks(tokens, make_objective(), keep_leftover=False)
    assert (len(kept), len(dropped)) == (5, 4)
    for name, rows in dropped(np.arange(4), np.arange(4)).items():
        np.testing.assert_array_equal(kept(np.arange(4), np.arange(4))[name], rows)


@pytest.mark.parametrize("length", [1, 2, 3, 10, 97, 1_000])
def test_spread_numbers_are_all_numbers_and_neighbours_are_far_apart(length):
    numbers = spread(np.arange(length), length)
    assert sorted(numbers.tolist()) == list(range(length))
    if length > 9:
        assert (np.abs(np.diff(numbers)) > length / 4).all()
