"""Tests t5x_lite/data/mixing.py"""

import numpy as np
import pytest

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.mixing import Mixed, example_rates
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from tests.tokens import ArrayTokens

ONE = TaskConfig(source="a.txt")


def pairs(count, first_id, inputs_length=6, targets_length=4):
    """So many pairs of one token a side, each its own id."""
    ids = np.repeat(np.arange(count) + first_id, 2)
    ends_E2 = np.arange(1, 2 * count + 1).reshape(-1, 2)
    return Pairs(ArrayTokens(ids), ends_E2, inputs_length, targets_length)


def epoch(mixed, number=0):
    """The first input id of every row of an epoch."""
    rows = mixed(np.arange(len(mixed)), np.arange(len(mixed)) + number * len(mixed))
    return rows["inputs"][:, 0]


def mixture(**options):
    return TaskConfig(mixture=MixtureConfig(tasks={"a": ONE, "b": ONE, "c": ONE}, **options))


def test_fixed_rates_are_shares():
    rates = example_rates(mixture(rates={"a": 1, "b": 2, "c": 5}), {"a": 10, "b": 10, "c": 10})
    assert rates == {"a": 0.125, "b": 0.25, "c": 0.625}


def test_rates_without_being_given_go_by_the_number_of_examples():
    assert example_rates(mixture(), {"a": 10, "b": 30, "c": 60}) == {"a": 0.1, "b": 0.3, "c": 0.6}


def test_a_cap_and_a_temperature_are_those_of_seqio():
    """SeqIO's rate_num_examples: min(examples, maximum) ** (1 / temperature)."""
    rates = example_rates(mixture(cap=25, temperature=2.0), {"a": 4, "b": 16, "c": 1_000})
    np.testing.assert_allclose([rates[name] for name in "abc"], np.array([2, 4, 5]) / 11)


def test_a_mixture_in_a_mixture_shares_its_rate():
    inner = MixtureConfig(tasks={"x": ONE, "y": ONE}, rates={"x": 1, "y": 3})
    outer = MixtureConfig(tasks={"a": ONE, "b": TaskConfig(mixture=inner)}, rates={"a": 1, "b": 1})
    counts = {"a": 7, "b/x": 5, "b/y": 5}
    assert example_rates(TaskConfig(mixture=outer), counts) == {"a": 0.5, "b/x": 0.125, "b/y": 0.375}
    by_size = MixtureConfig(tasks={"a": ONE, "b": TaskConfig(mixture=inner)})
    np.testing.assert_allclose(
        list(example_rates(TaskConfig(mixture=by_size), {"a": 10, "b/x": 10, "b/y": 20}).values()),
        [0.25, 0.1875, 0.5625],
    )


def test_a_task_by_itself_is_all():
    assert example_rates(ONE, {"": 10}) == {"": 1.0}


def test_an_epochs_counts_match_the_rates():
    mixed = Mixed([pairs(30, 100), pairs(50, 200), pairs(20, 300)], [0.5, 0.3, 0.2], seed=1)
    assert len(mixed) == 100
    ids = epoch(mixed)
    assert [int(((ids >= first) & (ids < first + 100)).sum()) for first in (100, 200, 300)] == [50, 30, 20]


def test_rates_that_do_not_divide_are_rounded_to_the_nearest_whole():
    assert Mixed([pairs(5, 100), pairs(5, 200)], [1, 2], seed=1).count_M.tolist() == [3, 7]
    assert Mixed([pairs(5, 100), pairs(5, 200)], [1, 10_000], seed=1).count_M.tolist() == [1, 10]


def test_a_member_with_a_high_rate_repeats_all_its_examples_alike():
    mixed = Mixed([pairs(4, 100), pairs(8, 200)], [2, 1], seed=1)
    _, counts = np.unique(epoch(mixed)[epoch(mixed) < 200], return_counts=True)
    assert counts.tolist() == [2, 2, 2, 2]


def test_a_member_with_a_low_rate_goes_on_in_the_next_epoch():
    mixed = Mixed([pairs(12, 100), pairs(4, 200)], [1, 3], seed=1)
    seen = [set(epoch(mixed, number)[epoch(mixed, number) < 200].tolist()) for number in range(3)]
    assert [len(ids) for ids in seen] == [4, 4, 4]
    assert set.union(*seen) == set(range(100, 112))


def test_a_row_depends_on_its_number_and_place_alone():
    mixed = Mixed([pairs(12, 100), pairs(4, 200)], [1, 3], seed=1)
    whole = mixed(np.arange(16), np.arange(16) + 32)
    part = mixed(np.array([11, 2]), np.array([43, 34]))
    for name in whole:
        np.testing.assert_array_equal(part[name], whole[name][[11, 2]])


def test_packed_and_single_rows_have_the_same_features():
    packed = PackedPairs(pairs(6, 100), "first_fit")
    mixed = Mixed([packed, pairs(5, 200)], [1, 1], seed=1)
    rows = mixed(np.arange(len(mixed)), np.arange(len(mixed)))
    assert set(rows) == {
        *("inputs", "inputs_segment_ids", "inputs_positions", "targets", "targets_segment_ids", "targets_positions"),
        "loss_weights",
    }
    single = rows["inputs"][:, 0] >= 200
    assert rows["inputs_segment_ids"][single].tolist() == [[1, 1, 0, 0, 0, 0]] * single.sum()
    assert rows["inputs_positions"][single].tolist() == [[0, 1, 0, 0, 0, 0]] * single.sum()
    assert rows["targets_segment_ids"][~single].max() == 2
    np.testing.assert_array_equal(rows["loss_weights"], rows["targets"] > 0)


def test_members_of_different_widths_are_padded_to_the_widest():
    mixed = Mixed([pairs(3, 100, 6, 4), pairs(3, 200, 6, 9)], [1, 1], seed=1)
    rows = mixed(np.arange(6), np.arange(6))
    assert rows["targets"].shape == (6, 9)
    assert (mixed.inputs_length, mixed.targets_length) == (6, 9)
    assert not rows["targets"][rows["inputs"][:, 0] < 200][:, 4:].any()


@pytest.mark.parametrize("rates", [[1, 1], [5, 1]])
def test_every_batch_has_the_same_features_whoever_is_in_it(rates):
    mixed = Mixed([PackedPairs(pairs(6, 100), "first_fit"), pairs(5, 200)], rates, seed=1)
    features = {
        tuple(sorted((name, ids.shape) for name, ids in mixed(np.array([i]), np.array([i])).items()))
        for i in range(len(mixed))
    }
    assert len(features) == 1
