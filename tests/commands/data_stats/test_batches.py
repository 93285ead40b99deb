"""Tests t5x_lite/commands/data_stats/batches.py"""

import numpy as np
import pytest

from t5x_lite.commands.data_stats import batches
from t5x_lite.commands.data_stats.batches import held_out_padding, measure_batches, num_examples_of, padding_of
from t5x_lite.config import RunConfig, TrainConfig
from t5x_lite.data.examples import PackedPairs, Pairs
from tests.tokens import ArrayTokens


def make_pairs(num_pairs, inputs_length=7, targets_length=5):
    """Pairs of two and one ids, so three and two with EOS."""
    ends_E2 = np.arange(num_pairs)[:, None] * 3 + np.array([2, 3])
    return Pairs(ArrayTokens(np.full(num_pairs * 3, 9)), ends_E2, inputs_length, targets_length)


def config(batch_size):
    return RunConfig(run_dir="unused", train=TrainConfig(batch_size=batch_size))


def test_padding_is_counted_over_all_batches():
    first = {"encoder_input_tokens": np.array([[5, 1, 0]]), "decoder_target_tokens": np.array([[1, 0]])}
    second = {"encoder_input_tokens": np.array([[5, 6, 1]]), "decoder_target_tokens": np.array([[4, 1]])}
    found = padding_of([first, second])
    assert found.num_rows == 2
    assert (found.inputs, found.targets, found.both) == pytest.approx((1 / 6, 1 / 4, 2 / 10))


def test_packed_examples_are_counted_each():
    batch = {
        "encoder_input_tokens": np.ones((2, 4)),
        "encoder_segment_ids": np.array([[1, 2, 2, 3], [1, 1, 0, 0]]),
    }
    assert num_examples_of(batch) == 4
    del batch["encoder_segment_ids"]
    assert num_examples_of(batch) == 2


def test_speeds_are_what_the_batches_hold_by_the_time_they_take():
    found = measure_batches(make_pairs(11), config(4))
    assert found.num_batches == 3
    assert found.padding.num_rows == 12
    assert found.examples_per_second * found.seconds == pytest.approx(12)
    assert found.tokens_per_second * found.seconds == pytest.approx(12 * 5)
    assert (found.padding.inputs, found.padding.targets) == pytest.approx((4 / 7, 3 / 5))


def test_examples_of_packed_rows_count_in_the_speed():
    packed = PackedPairs(make_pairs(12), "first_fit")  # two a row
    found = measure_batches(packed, config(3))
    assert found.num_batches == 2
    assert found.examples_per_second * found.seconds == pytest.approx(12)


def test_no_more_batches_are_made_than_the_measure_needs(monkeypatch):
    monkeypatch.setattr(batches, "MEASURED_ROWS", 10)
    assert measure_batches(make_pairs(500), config(4)).num_batches == 3
    assert measure_batches(make_pairs(500), config(64)).num_batches == 1
    assert held_out_padding(make_pairs(500), 4).num_rows == 8


@pytest.mark.parametrize(("num_pairs", "num_rows"), [(3, 3), (11, 8)])
def test_held_out_rows_are_never_filled_up(num_pairs, num_rows):
    found = held_out_padding(make_pairs(num_pairs), 4)
    assert (found.num_rows, found.inputs) == (num_rows, pytest.approx(4 / 7))
