"""Tests t5x_lite/commands/data_stats/lengths.py"""

import numpy as np
import pytest

from t5x_lite.commands.data_stats import lengths
from t5x_lite.commands.data_stats.lengths import (
    candidates,
    cut_off,
    describe_lengths,
    padding,
    padding_by_packing,
    recommended,
)

PAIRS = np.array([[5, 3], [3, 2], [11, 8]])  # inputs and targets
CAPACITY = (8, 6)


def test_documents_are_as_long_as_their_tokens():
    found = lengths.side_lengths(np.array([[4], [4], [11]]))
    assert {name: side.tolist() for name, side in found.items()} == {"documents": [4, 0, 7]}


def test_sides_of_pairs_count_their_eos():
    found = lengths.side_lengths(np.array([[4, 6], [8, 9]]))
    assert {name: side.tolist() for name, side in found.items()} == {"inputs": [5, 3], "targets": [3, 2]}


def test_quantiles_are_lengths_that_occur():
    found = describe_lengths(np.arange(100, 0, -1) * 10)
    assert found.quantiles == {
        "min": 10, "p5": 50, "p25": 250, "p50": 500, "p75": 750, "p95": 950, "p99": 990, "max": 1000,
    }  # fmt: skip
    assert found.mean == 505.0
    assert describe_lengths(np.array([7])).quantiles == dict.fromkeys(found.quantiles, 7)


def test_a_limit_takes_what_is_beyond_it():
    cut = cut_off(np.array([3, 8, 9, 15]), 8)
    assert (cut.limit, cut.num_examples, cut.num_tokens) == (8, 2, 1 + 7)


def test_padding_is_the_share_of_the_places_without_a_token():
    found = padding(np.array([[5, 3], [3, 2]]), CAPACITY, 2)
    assert (found.num_rows, found.inputs, found.targets) == (2, 1 - 8 / 16, 1 - 5 / 12)
    assert found.both == pytest.approx(1 - 13 / 28)


def test_packing_is_compared_with_one_pair_a_row():
    found = padding_by_packing(PAIRS, CAPACITY)  # the first two fill one row's inputs, the third is cut to a row
    assert {method: made.num_rows for method, made in found.items()} == {"unpacked": 3, "first_fit": 2, "best_fit": 2}
    assert found["unpacked"].inputs == pytest.approx(1 - 16 / 24)
    assert found["unpacked"].targets == pytest.approx(1 - 11 / 18)
    for method in ("first_fit", "best_fit"):
        assert found[method].inputs == 0
        assert found[method].targets == pytest.approx(1 - 11 / 12)


def test_the_two_packings_are_told_apart():
    found = padding_by_packing(np.array([[3, 1], [5, 1], [5, 1], [3, 1], [2, 1]]), (8, 6))
    assert found["first_fit"].num_rows == 3
    found = padding_by_packing(np.array([[2, 1], [2, 1], [5, 1], [6, 1], [6, 1]]), (8, 6))
    assert (found["first_fit"].num_rows, found["best_fit"].num_rows) == (4, 3)


def test_of_many_pairs_a_sample_stands_for_all(monkeypatch):
    monkeypatch.setattr(lengths, "PACKED_PAIRS", 10)
    pairs = np.tile([[4, 3], [2, 2]], (50, 1))
    found = padding_by_packing(pairs, (6, 9))
    assert found["unpacked"].num_rows == 100
    assert found["best_fit"].num_rows == 100  # all of the sample, every tenth pair, are of the first kind
    assert found["best_fit"].inputs == pytest.approx(1 - 4 / 6)


def test_the_recommended_length_fills_inputs_and_targets_alike():
    pairs = np.tile([[4, 8]], (20, 1))
    tried = candidates(pairs, 16)  # four inputs a row
    assert [candidate.targets_length for candidate in tried] == [16, 20, 24, 28, 32, 40, 48, 56, 64]
    best = recommended(tried)
    assert (best.targets_length, best.padding.num_rows, best.padding.both) == (32, 5, 0.0)
    assert tried[0].padding.num_rows == 10
    assert tried[0].padding.inputs == pytest.approx(0.5)


def test_inputs_count_in_a_recommendation_as_they_are_cut():
    tried = candidates(np.tile([[400, 8]], (20, 1)), 16)  # rows of one pair: twice what fills one is enough to try
    assert [candidate.targets_length for candidate in tried] == [8, 10, 12, 14, 16]
    assert recommended(tried).targets_length == 8


@pytest.mark.parametrize(("num_long", "shortest"), [(1, 8), (2, 64)])
def test_a_candidate_cuts_one_target_in_a_hundred_at_most(num_long, shortest):
    pairs = np.array([[90, 8]] * (100 - num_long) + [[90, 60]] * num_long)
    tried = candidates(pairs, 90)
    assert tried[0].targets_length == shortest
    assert tried[0].num_cut == (1 if num_long == 1 else 0)


def test_of_equal_candidates_the_shortest_is_recommended():
    def candidate(length):
        return lengths.Candidate(length, 0, lengths.Padding(1, 0.0, 0.0, 0.25))

    assert recommended([candidate(8), candidate(10)]).targets_length == 8
