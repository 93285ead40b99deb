"""Tests t5x_lite/data/examples.py"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.examples import Chunks, Pairs, spread
from t5x_lite.data.objectives.span_corruption import SpanCorruption, span_corruption_lengths
from t5x_lite.data.packing import PackedPairs
from tests.tokens import ArrayTokens

S = 32
L, T = span_corruption_lengths(S, 0.15, 3.0)


def make_objective(seed=13):
    return SpanCorruption(
        inputs_length=S, targets_length=T, chunk_length=L, noise_density=0.15, mean_span_length=3.0,
        first_sentinel=9_999, seed=seed,
    )  # fmt: skip


def make_pairs(rows, inputs_length=6, targets_length=4, **options):
    """Pairs of lists of ids."""
    sides = [np.asarray(side, np.uint16) for row in rows for side in row]
    ends_E2 = np.cumsum([len(side) for side in sides]).reshape(-1, 2)
    return Pairs(ArrayTokens(np.concatenate(sides)), ends_E2, inputs_length, targets_length, **options)


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


def test_pairs_end_with_eos_and_are_padded():
    pairs = make_pairs([([7, 8, 9], [5]), ([], [4, 3, 6])])
    batch = pairs(np.array([1, 0, 1]), np.arange(3))
    assert batch["inputs"].tolist() == [[1, 0, 0, 0, 0, 0], [7, 8, 9, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert batch["targets"].tolist() == [[4, 3, 6, 1], [5, 1, 0, 0], [4, 3, 6, 1]]
    assert {ids.dtype for ids in batch.values()} == {np.dtype(np.int32)}


def test_a_pair_that_is_cut_keeps_its_eos():
    batch = make_pairs([([2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12])], eos_id=99)(np.array([0]), np.array([0]))
    assert batch["inputs"].tolist() == [[2, 3, 4, 5, 6, 99]]
    assert batch["targets"].tolist() == [[9, 10, 11, 99]]


def test_the_lengths_of_pairs_count_the_eos():
    assert make_pairs([([7, 8], [5]), ([], [4, 3, 6])]).lengths().tolist() == [[3, 2], [1, 4]]


@given(st.lists(st.tuples(*[st.lists(st.integers(2, 60_000), max_size=9)] * 2), min_size=1, max_size=7), st.data())
def test_every_pair_is_found_whatever_the_others_are(rows, data):
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5))
    batch = make_pairs(rows, 12, 10)(np.array(numbers), np.zeros(len(numbers), int))
    for side, name in enumerate(("inputs", "targets")):
        found = [[id_ for id_ in ids.tolist() if id_ > 1] for ids in batch[name]]
        assert found == [rows[number][side] for number in numbers]


def test_packed_pairs_are_all_pairs_several_a_row():
    rows = [([7, 8, 5], [3, 9]), ([8, 4, 9, 3], [4]), ([6] * 30, [2] * 30), ([5], [5])]
    pairs = make_pairs(rows, 10, 7)
    packed = PackedPairs(pairs, "first_fit")
    batch = packed(np.array([1, 0]), np.zeros(2, int))
    assert batch["inputs"].tolist() == [[6] * 9 + [1], [7, 8, 5, 1, 8, 4, 9, 3, 1, 0]]
    assert batch["targets"].tolist() == [[2] * 6 + [1], [3, 9, 1, 4, 1, 0, 0]]
    assert batch["targets_segment_ids"].tolist() == [[1] * 7, [1, 1, 1, 2, 2, 0, 0]]
    third = packed(np.array([2]), np.zeros(1, int))
    assert third["inputs"].tolist() == [[5, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert (len(packed), packed.inputs_length, packed.targets_length) == (3, 10, 7)


@pytest.mark.parametrize("length", [1, 2, 3, 10, 97, 1_000])
def test_spread_numbers_are_all_numbers_and_neighbours_are_far_apart(length):
    numbers = spread(np.arange(length), length)
    assert sorted(numbers.tolist()) == list(range(length))
    if length > 9:
        assert (np.abs(np.diff(numbers)) > length / 4).all()
