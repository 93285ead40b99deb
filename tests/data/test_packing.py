"""Tests t5x_lite/data/packing.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data import packing
from t5x_lite.data.packing import best_fit, fill_rows, first_fit

CAPACITY = (10, 7)
LENGTHS = st.lists(st.tuples(st.integers(1, CAPACITY[0]), st.integers(1, CAPACITY[1])), min_size=1, max_size=40)


def rows(plan):
    return [plan.row(number).tolist() for number in range(len(plan.ends_R))]


@pytest.mark.parametrize("fit", [first_fit, best_fit])
@given(LENGTHS)
def test_every_example_is_in_one_row_that_has_room_for_it(fit, lengths):
    lengths_E2 = np.array(lengths)
    plan = fit(lengths_E2, CAPACITY)
    assert sorted(plan.example_E.tolist()) == list(range(len(lengths)))
    for row in rows(plan):
        assert row
        assert row == sorted(row)
        assert (lengths_E2[row].sum(axis=0) <= CAPACITY).all()


def test_first_fit_takes_the_first_row_with_room_for_both_sides():
    lengths = np.array([[6, 2], [6, 2], [4, 6], [4, 5], [3, 1]])
    # The third has room beside the first in its inputs, and not in its targets.
    assert rows(first_fit(lengths, CAPACITY)) == [[0, 3], [1, 4], [2]]


def test_best_fit_begins_with_the_largest_and_takes_what_suits_it():
    lengths = np.array([[2, 1], [5, 1], [8, 1], [5, 1]])
    assert rows(best_fit(lengths, CAPACITY)) == [[0, 2], [1, 3]]
    assert rows(first_fit(lengths, CAPACITY)) == [[0, 1], [2], [3]]


def test_best_fit_puts_long_inputs_beside_long_targets():
    lengths = np.array([[8, 1], [2, 6], [8, 1], [2, 6]])
    assert sorted(sum(row) % 2 for row in rows(best_fit(lengths, CAPACITY))) == [1, 1]


def test_best_fit_wastes_less_than_first_fit_and_never_beats_what_is_possible():
    rng = np.random.default_rng(0)
    lengths_E2 = np.minimum(rng.geometric((0.1, 0.2), (300, 2)) + 1, (60, 35))
    least = np.ceil((lengths_E2.sum(axis=0) / (60, 35)).max())
    first, best = (len(fit(lengths_E2, (60, 35)).ends_R) for fit in (first_fit, best_fit))
    assert least <= best < first


@pytest.mark.parametrize("fit", [first_fit, best_fit])
def test_nothing_is_lost_when_there_are_many_examples(fit, monkeypatch):
    for name, few in (("MOST_OPEN_ROWS", 2), ("BLOCK_EXAMPLES", 13), ("NUM_TRIED", 3)):
        monkeypatch.setattr(packing, name, few)
    lengths_E2 = np.random.default_rng(0).integers(1, CAPACITY, (60, 2))
    plan = fit(lengths_E2, CAPACITY)
    assert sorted(plan.example_E.tolist()) == list(range(60))
    assert all((lengths_E2[row].sum(axis=0) <= CAPACITY).all() for row in rows(plan))


def test_rows_of_several_examples_have_segments_and_positions():
    """The packed arrays of SeqIO's own test."""
    examples = [
        {"inputs": np.array([7, 8, 5, 1]), "targets": np.array([3, 9, 1])},
        {"inputs": np.array([8, 4, 9, 3, 1]), "targets": np.array([4, 1])},
    ]
    filled = fill_rows([examples], {"inputs": 10, "targets": 7})
    assert {name: ids.tolist() for name, ids in filled.items()} == {
        "inputs": [[7, 8, 5, 1, 8, 4, 9, 3, 1, 0]],
        "inputs_segment_ids": [[1, 1, 1, 1, 2, 2, 2, 2, 2, 0]],
        "inputs_positions": [[0, 1, 2, 3, 0, 1, 2, 3, 4, 0]],
        "targets": [[3, 9, 1, 4, 1, 0, 0]],
        "targets_segment_ids": [[1, 1, 1, 2, 2, 0, 0]],
        "targets_positions": [[0, 1, 2, 0, 1, 0, 0]],
    }
    assert {ids.dtype for ids in filled.values()} == {np.dtype(np.int32)}


def test_a_row_without_room_is_refused():
    with pytest.raises(ValueError, match="the targets of a row have 4 tokens, but there is room for 3"):
        fill_rows([[{"targets": np.arange(2)}] * 2], {"targets": 3})
