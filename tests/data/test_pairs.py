"""Tests t5x_lite/data/pairs.py; tests/data/test_dataset.py has the choice of lengths, packing and what is too long"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from tests.tokens import ArrayTokens


def make_pairs(rows, inputs_length=6, targets_length=4, **options):
    """Pairs of lists of ids."""
    sides = [np.asarray(side, np.uint16) for row in rows for side in row]
    ends_E2 = np.cumsum([len(side) for side in sides]).reshape(-1, 2)
    return Pairs(ArrayTokens(np.concatenate(sides)), ends_E2, inputs_length, targets_length, **options)


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
