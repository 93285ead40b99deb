"""Tests t5x_lite/data/objectives/iid_denoising.py"""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.iid_denoising import IidDenoising, iid_noise_mask, iid_room, limit_noise
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.data.objectives.reconstruction import fill_in, without_padding


def from_task(sentinels=100, density=0.15, inputs_length=512, targets_length=None):
    task = TaskConfig(objective="iid_denoising", noise_density=density)
    tokenizer = ByteTokenizer(sentinels)
    return IidDenoising.from_task(task, tokenizer, inputs_length=inputs_length, targets_length=targets_length, seed=5)


def masks(*rows):
    return np.array([[letter == "X" for letter in row] for row in rows])


def test_each_place_is_removed_at_the_given_rate():
    mask_BL = iid_noise_mask(7, np.arange(20_000), length=31, noise_density=0.15)
    deviation = math.sqrt(0.15 * 0.85 / 20_000)
    np.testing.assert_allclose(mask_BL.mean(axis=0), 0.15, atol=5 * deviation)
    assert iid_noise_mask(7, np.arange(50), length=31, noise_density=0.95).mean() > 0.9


def test_neighbours_are_removed_independently():
    mask_BL = iid_noise_mask(7, np.arange(4_000), length=41, noise_density=0.3)
    both = (mask_BL[:, 1:] & mask_BL[:, :-1]).mean()
    assert abs(both - 0.09) < 5 * math.sqrt(0.09 * 0.91 / (4_000 * 40)) * 1.5  # pairs overlap, and are not independent


def test_a_row_of_which_nothing_was_drawn_loses_one_token():
    mask_BL = iid_noise_mask(7, np.arange(500), length=5, noise_density=0.001)
    assert (mask_BL.sum(axis=1) == 1).mean() > 0.98
    assert mask_BL.any(axis=1).all()
    assert mask_BL.any(axis=0).all()


@pytest.mark.parametrize(("length", "density"), [(511, 0.15), (127, 0.5), (255, 0.3)])
def test_room_is_the_mean_and_three_standard_deviations(length, density):
    drawn = np.random.default_rng(0).random((8_000, length)) < density
    starts = drawn[:, 0].astype(int) + (drawn[:, 1:] & ~drawn[:, :-1]).sum(axis=1)
    spans, targets = iid_room(length, density)
    for room, needed in ((spans, starts), (targets - 1, starts + drawn.sum(axis=1))):
        expected = needed.mean() + 3 * needed.std()
        assert expected - 0.5 < room < expected + 1.5
        assert (needed > room).mean() < 0.002


def test_room_is_never_more_than_the_most_there_can_be():
    assert iid_room(3, 0.5) == (2, 5)  # every other token of three: two spans, and four places and EOS
    assert iid_room(4, 0.9) == (2, 6)  # all four in one span: five places and EOS


def test_the_last_removed_tokens_stay_where_there_are_too_many_spans_or_targets():
    mask_BL = masks("XX.X.XXX", "...XX.X.", "........")
    spans = limit_noise(mask_BL, max_spans=2, max_targets=99)
    np.testing.assert_array_equal(spans, masks("XX.X....", "...XX.X.", "........"))
    targets = limit_noise(mask_BL, max_spans=9, max_targets=8)  # each span takes a place for its sentinel
    np.testing.assert_array_equal(targets, masks("XX.X.XX.", "...XX.X.", "........"))
    np.testing.assert_array_equal(limit_noise(mask_BL, max_spans=3, max_targets=9), mask_BL)


def test_neighbours_share_a_sentinel_and_each_span_follows_its_own(monkeypatch):
    rows = masks("XX..X.", ".X.X.X", "......", "XXXXXX")
    monkeypatch.setattr("t5x_lite.data.objectives.iid_denoising.iid_noise_mask", lambda *_, **__: rows)
    objective = IidDenoising(
        inputs_length=7, targets_length=8, chunk_length=6, noise_density=0.15, num_sentinels=4, first_sentinel=999
    )
    batch = objective(np.tile(np.arange(10, 16, dtype=np.uint16), (4, 1)), np.arange(4))
    assert batch["inputs"].tolist() == [
        [999, 12, 13, 998, 15, 1, 0],  # T5's published example
        [10, 999, 12, 998, 14, 997, 1],
        [10, 11, 12, 13, 14, 15, 1],
        [999, 1, 0, 0, 0, 0, 0],
    ]
    assert batch["targets"].tolist() == [
        [999, 10, 11, 998, 14, 1, 0, 0],
        [999, 11, 998, 13, 997, 15, 1, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
        [999, 10, 11, 12, 13, 14, 15, 1],
    ]


@hypothesis.settings(max_examples=60, derandomize=True)
@hypothesis.given(
    chunk_length=st.integers(2, 70),
    targets_length=st.integers(3, 40),
    density=st.floats(0.01, 0.95),
    num_sentinels=st.integers(1, 12),
    seed=st.integers(0, 2**31 - 1),
    index=st.integers(0, 2**48),
)
def test_nothing_is_lost_however_few_places_and_sentinels_there_are(
    chunk_length, targets_length, density, num_sentinels, seed, index
):
    objective = IidDenoising(
        inputs_length=chunk_length + 1, targets_length=targets_length, chunk_length=chunk_length,
        noise_density=density, num_sentinels=num_sentinels, first_sentinel=7_000, seed=seed,
    )  # fmt: skip
    tokens_BL = np.random.default_rng(seed).integers(3, 6_000, (5, chunk_length))
    batch = objective(tokens_BL, index + np.arange(5))
    assert batch["inputs"].shape == (5, chunk_length + 1)
    assert batch["targets"].shape == (5, targets_length)
    for tokens_L, inputs_S, targets_T in zip(tokens_BL, batch["inputs"], batch["targets"], strict=True):
        inputs, targets = without_padding(inputs_S), without_padding(targets_T)
        assert targets[0] == 7_000
        assert fill_in(inputs, targets, 7_000, num_sentinels) == tokens_L.tolist()


def test_the_objective_of_a_run_takes_t5s_chunks():
    objective = from_task()
    assert (objective.inputs_length, objective.chunk_length, objective.noise_density) == (512, 511, 0.15)
    assert (objective.first_sentinel, objective.num_sentinels, objective.eos_id, objective.seed) == (258, 100, 1, 5)
    assert objective.targets_length == iid_room(511, 0.15)[1]
    assert from_task(targets_length=300).targets_length == 300


def test_what_does_not_fit_a_run_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"train.targets_length is 184, but train.inputs_length 512 yields 185"):
        from_task(targets_length=184)
    fields = r"inputs_length 512 .*noise_density 0.15 needs 85 sentinels, .*num_sentinels is 84: use more"
    with pytest.raises(ValueError, match=fields):
        from_task(sentinels=84)
    with pytest.raises(ValueError, match=r"train.inputs_length is 2: iid_denoising needs 3 or more"):
        from_task(inputs_length=2)
    assert from_task(sentinels=85, inputs_length=512).num_sentinels == 85
    assert from_task(inputs_length=3).chunk_length == 2
