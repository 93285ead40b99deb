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
    recommend,
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


def test_candidates_are_around_the_length_that_fills_inputs_and_targets_alike():
    pairs = np.tile([[4, 8]], (20, 1))
    tried = candidates(pairs, 16)  # four inputs a row
    assert [candidate.targets_length for candidate in tried] == [16, 20, 24, 28, 32, 40, 48, 56, 64]
    best = min(tried, key=lambda candidate: candidate.padding.both)
    assert (best.targets_length, best.padding.num_rows, best.padding.both) == (32, 5, 0.0)
    assert tried[0].padding.num_rows == 10
    assert tried[0].padding.inputs == pytest.approx(0.5)


def test_inputs_count_for_candidates_as_they_are_cut():
    tried = candidates(np.tile([[400, 8]], (20, 1)), 16)  # rows of one pair: twice what fills one is enough to try
    assert [candidate.targets_length for candidate in tried] == [8, 10, 12, 14, 16]


@pytest.mark.parametrize(("num_long", "shortest"), [(1, 8), (2, 64)])
def test_a_candidate_cuts_one_target_in_a_hundred_at_most(num_long, shortest):
    pairs = np.array([[90, 8]] * (100 - num_long) + [[90, 60]] * num_long)
    tried = candidates(pairs, 90)
    assert tried[0].targets_length == shortest
    assert tried[0].num_cut == (1 if num_long == 1 else 0)


def test_the_shortest_lengths_that_hold_a_quantile_are_recommended():
    pairs = np.array([[90, 7]] * 95 + [[93, 17]] * 3 + [[300, 9]] + [[10, 400]])
    advice = recommend(pairs, 0.98)
    assert (advice.inputs_length, advice.targets_length) == (96, 24)
    assert {side: (cut.limit, cut.num_examples) for side, cut in advice.cut.items()} == {
        "inputs": (96, 1),
        "targets": (24, 1),
    }
    whole = recommend(pairs, 1.0)
    assert (whole.inputs_length, whole.targets_length) == (304, 400)
    assert [cut.num_examples for cut in whole.cut.values()] == [0, 0]


def test_the_packing_with_the_least_padding_at_these_lengths_is_recommended():
    pairs = np.array([[2, 2], [2, 2], [5, 5], [6, 6], [6, 6]])
    advice = recommend(pairs, 1.0)
    assert {method: made.num_rows for method, made in advice.padding.items()} == {
        "unpacked": 5,
        "first_fit": 4,
        "best_fit": 3,
    }
    assert advice.packing == "best_fit"
    assert advice.padding["best_fit"].both == pytest.approx(1 - 21 / 24)


def test_packing_that_helps_nobody_is_not_recommended():
    assert recommend(np.tile([[8, 8]], (5, 1)), 0.99).packing == "none"


def test_for_classifiers_only_the_inputs_count():
    advice = recommend(np.array([[3, 1], [19, 1]]), 1.0, has_labels=True)
    assert (advice.inputs_length, advice.targets_length, list(advice.cut)) == (24, None, ["inputs"])
    assert (advice.padding, advice.packing) == ({}, None)
