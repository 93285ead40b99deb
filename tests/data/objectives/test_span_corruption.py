"""Tests t5x_lite/data/objectives/span_corruption.py"""

import collections
import dataclasses
import itertools
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.span_corruption import (
    SpanCorruption,
    corrupt_spans,
    noise_counts,
    random_spans_noise_mask,
    span_corruption_lengths,
    spans_to_sentinels,
)
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.data.objectives.reconstruction import fill_in, without_padding

T5_LENGTHS = [
    ((512, 0.15, 3), (568, 114)),
    ((1024, 0.15, 3), (1137, 229)),
    ((1024, 0.15, 20), (1193, 189)),
    ((64, 0.2, 2), (70, 22)),
    ((64, 0.2, 1), (63, 27)),
    ((512, 0.15, 8), (588, 100)),
    ((512, 0.5, 3), (766, 512)),
    ((512, 0.5, 8), (908, 512)),
    ((512, 0.15, 64), (600, 92)),
    ((512, 0.5, 64), (1006, 512)),
]


def draw_mask(seed, index_B, length, density=0.15, mean=3.0):
    num_noise, num_spans = noise_counts(length, density, mean)
    return random_spans_noise_mask(seed, np.asarray(index_B), length=length, num_noise=num_noise, num_spans=num_spans)


def span_lengths(mask_L):
    """Lengths of the runs of equal values, kept and removed ones in turn."""
    return [len(list(run)) for _, run in itertools.groupby(mask_L)]


@pytest.mark.parametrize(("asked", "published"), T5_LENGTHS)
def test_lengths_are_t5s(asked, published):
    assert span_corruption_lengths(*asked) == published


@pytest.mark.parametrize("asked", [*[asked for asked, _ in T5_LENGTHS], (301, 0.15, 20), (299, 0.5, 3), (3, 0.15, 3)])
def test_a_chunk_of_that_length_fits_and_the_next_longer_one_does_not(asked):
    inputs_length, density, mean = asked
    chunk_length, targets_length = span_corruption_lengths(*asked)
    tokens_BL = np.arange(2 * chunk_length).reshape(2, -1)
    mask_BL = draw_mask(0, [5, 8], chunk_length, density, mean)
    inputs_BS, targets_BT = corrupt_spans(tokens_BL, mask_BL, first_sentinel=9_999, eos_id=1)
    assert targets_BT.shape == (2, targets_length)
    assert inputs_length - 1 <= inputs_BS.shape[1] <= inputs_length


def test_counts_round_half_to_even_in_float32_and_stay_inside_the_chunk():
    assert noise_counts(568, 0.15, 3.0) == (85, 28)
    assert noise_counts(5, 0.5, 1.0) == (2, 2)  # 2.5 rounds to 2
    assert noise_counts(7, 0.5, 2.0) == (4, 2)  # 3.5 rounds to 4
    assert noise_counts(350, 0.15, 3.0) == (53, 18)  # 52.500004 in float32, 52.5 in float64
    assert noise_counts(2, 0.15, 3.0) == (1, 1)
    assert noise_counts(3, 0.99, 3.0) == (2, 1)


def test_noise_too_dense_to_be_cut_into_spans_is_refused():
    with pytest.raises(ValueError, match=r"task.noise_density 0.9 keeps 10 of 100 .* task.mean_noise_span_length 1.0"):
        noise_counts(100, 0.9, 1.0)
    with pytest.raises(ValueError, match=r"train.inputs_length is 2"):
        span_corruption_lengths(2, 0.15, 3.0)


def test_every_mask_has_t5s_counts_and_alternates_from_a_kept_token_to_a_removed_one():
    mask_BL = draw_mask(3, np.arange(41), 568)
    assert mask_BL.dtype == bool
    for mask_L in mask_BL:
        assert mask_L.sum() == 85
        assert len(span_lengths(mask_L)) == 2 * 28
        assert not mask_L[0]
        assert mask_L[-1]


@pytest.mark.parametrize(("which", "num_items"), [(0, 7), (1, 5)])
def test_all_ways_to_cut_are_equally_likely(which, num_items):
    """Chi-square over the C(items - 1, spans - 1) ways to cut kept (0) and removed (1) tokens into three."""
    mask_BL = random_spans_noise_mask(11, np.arange(6_000), length=12, num_noise=5, num_spans=3)
    counts = collections.Counter(tuple(span_lengths(mask_L)[which::2]) for mask_L in mask_BL)
    ways = math.comb(num_items - 1, 2)
    expected = 6_000 / ways
    assert len(counts) == ways
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < (ways - 1) + 5 * math.sqrt(2 * (ways - 1))


def test_kept_and_removed_tokens_are_cut_independently():
    mask_BL = random_spans_noise_mask(11, np.arange(6_000), length=10, num_noise=5, num_spans=2)
    first_BK = np.array([span_lengths(mask_L)[:2] for mask_L in mask_BL])
    assert abs(np.corrcoef(first_BK.T)[0, 1]) < 5 / math.sqrt(6_000)


def test_a_mask_depends_on_seed_and_index_and_not_on_its_batch():
    index_B = np.array([0, 1, 2**31 + 5, 2**40, 17])
    mask_BL = draw_mask(7, index_B, 100)
    for b, index in enumerate(index_B):
        np.testing.assert_array_equal(mask_BL[b], draw_mask(7, [index], 100)[0])
    np.testing.assert_array_equal(mask_BL[::-1], draw_mask(7, index_B[::-1], 100))
    assert len({mask_L.tobytes() for mask_L in mask_BL}) == len(index_B)
    assert (draw_mask(8, index_B, 100) != mask_BL).any(axis=1).all()


def test_sentinels_are_those_of_t5s_published_example():
    tokens_BL = np.array([[10, 11, 12, 13, 14, 15]])
    mask_BL = np.array([[True, True, False, False, True, False]])
    assert spans_to_sentinels(tokens_BL, mask_BL, 999).tolist() == [[999, 12, 13, 998, 15]]
    # T5 publishes this with 999 for both sentinels, from the function that does not tell spans apart.
    assert spans_to_sentinels(tokens_BL, ~mask_BL, 999).tolist() == [[10, 11, 999, 14, 998]]


def test_targets_hold_the_spans_after_their_sentinels_and_no_final_sentinel():
    tokens_BL = np.array([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]], np.uint16)
    mask_BL = np.array([[0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1]], bool)
    inputs_BS, targets_BT = corrupt_spans(tokens_BL, mask_BL, first_sentinel=999, eos_id=1)
    assert inputs_BS.tolist() == [[10, 11, 999, 14, 998, 1], [20, 999, 22, 23, 998, 1]]
    assert targets_BT.tolist() == [[999, 12, 13, 998, 15, 1], [999, 21, 998, 24, 25, 1]]
    assert inputs_BS.dtype == targets_BT.dtype == np.int32


@hypothesis.settings(max_examples=60, derandomize=True)
@hypothesis.given(
    inputs_length=st.integers(8, 90),
    density=st.floats(0.05, 0.45),
    mean=st.floats(1.0, 9.0),
    seed=st.integers(0, 2**31 - 1),
    index=st.integers(0, 2**48),
)
def test_a_corrupted_pair_reconstructs_the_original(inputs_length, density, mean, seed, index):
    chunk_length, targets_length = span_corruption_lengths(inputs_length, density, mean)
    objective = SpanCorruption(
        inputs_length=inputs_length, targets_length=targets_length, chunk_length=chunk_length,
        noise_density=density, mean_span_length=mean, first_sentinel=7_000, seed=seed,
    )  # fmt: skip
    tokens_BL = np.random.default_rng(seed).integers(3, 6_000, (3, chunk_length))
    batch = objective(tokens_BL, index + np.arange(3))
    assert batch["inputs"].shape == (3, inputs_length)
    assert batch["targets"].shape == (3, targets_length)
    num_spans = noise_counts(chunk_length, density, mean)[1]
    for tokens_L, inputs_S, targets_T in zip(tokens_BL, batch["inputs"], batch["targets"], strict=True):
        inputs, targets = without_padding(inputs_S), without_padding(targets_T)
        assert len(targets) == targets_length - 1
        assert fill_in(inputs, targets, 7_000, num_spans) == tokens_L.tolist()


def test_a_prefix_comes_before_inputs_of_the_same_corruption():
    plain = SpanCorruption(
        inputs_length=27, targets_length=9, chunk_length=29, noise_density=0.15, mean_span_length=3.0,
        first_sentinel=7_000, seed=3,
    )  # fmt: skip
    prefixed = dataclasses.replace(plain, inputs_length=31, prefix_ids=(50, 51, 52))
    tokens_BL = np.arange(100, 158).reshape(2, 29)
    batch, longer = plain(tokens_BL, np.arange(2)), prefixed(tokens_BL, np.arange(2))
    np.testing.assert_array_equal(longer["inputs"][:, :3], [[50, 51, 52]] * 2)
    np.testing.assert_array_equal(longer["inputs"][:, 3:30], batch["inputs"])
    np.testing.assert_array_equal(longer["inputs"][:, 30:], [[0], [0]])
    np.testing.assert_array_equal(longer["targets"], batch["targets"])


def test_a_seed_goes_on_giving_the_examples_that_it_gave():
    """Stored output: a run that goes on must see what it would have seen."""
    objective = SpanCorruption(
        inputs_length=12, targets_length=8, chunk_length=12, noise_density=0.3, mean_span_length=1.5,
        first_sentinel=999, seed=2**31 - 1,
    )  # fmt: skip
    batch = objective(np.arange(10, 34).reshape(2, 12), np.array([4, 2**40]))
    assert batch["inputs"].tolist() == [
        [10, 11, 12, 13, 999, 15, 16, 17, 998, 19, 997, 1],
        [22, 999, 24, 25, 26, 27, 998, 29, 30, 31, 997, 1],
    ]
    assert batch["targets"].tolist() == [[999, 14, 998, 18, 997, 20, 21, 1], [999, 23, 998, 28, 997, 32, 33, 1]]


def from_task(sentinels=100, inputs_length=512, targets_length=None):
    return SpanCorruption.from_task(
        TaskConfig(), ByteTokenizer(sentinels), inputs_length=inputs_length, targets_length=targets_length, seed=5
    )


def test_the_default_objective_is_t5s():
    objective = from_task()
    assert (objective.inputs_length, objective.targets_length, objective.chunk_length) == (512, 114, 568)
    assert (objective.first_sentinel, objective.eos_id, objective.seed) == (258, 1, 5)


def test_longer_targets_are_padded_and_shorter_ones_refused_with_the_right_number():
    objective = from_task(targets_length=128)
    targets_BT = objective(np.full((3, 568), 9), np.arange(3))["targets"]
    assert targets_BT.shape == (3, 128)
    assert (targets_BT[:, 113] == 1).all()
    assert (targets_BT[:, 114:] == 0).all()
    with pytest.raises(ValueError, match=r"train.targets_length is 113, but train.inputs_length 512 yields 114"):
        from_task(targets_length=113)


def test_more_spans_than_sentinels_are_refused():
    assert from_task(sentinels=28).first_sentinel == 258
    fields = r"inputs_length 512 .*noise density 0.15 .*span length 3 needs 28 sentinels, .*num_sentinels is 27"
    with pytest.raises(ValueError, match=fields):
        from_task(sentinels=27)
